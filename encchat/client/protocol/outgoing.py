"""What goes out of a session as messages: the outbox, the server's rate, and which msgids are ours.

Pure; the time is handed in. A refusal that time may cure holds everything back until it has passed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator

from encchat.client import events as e
from encchat.client.protocol.outbox import Item, Outbox
from encchat.client.protocol.pace import Pace
from encchat.messages import Error

#: Own msgids that are remembered, to know our messages when they come back.
MAX_OWN = 4096


class Outgoing:
    """``add`` what is to be sent, ``take`` what may go now, and tell how each ended."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self._pace = Pace(0, 1, 0.0)
        self._held_until = 0.0
        self._own: OrderedDict[bytes, None] = OrderedDict()

    def admitted(self, rate: int, burst: int, now: float) -> None:
        """The server said how fast it takes messages."""
        self._pace = Pace(rate, burst, now)
        self._held_until = now

    def add(self, item: Item) -> None:
        """Send it when its room, the window and the rate let it."""
        self._own[item.msgid] = None
        if len(self._own) > MAX_OWN:
            self._own.popitem(last=False)
        self.outbox.add(item)

    def is_own(self, msgid: bytes) -> bool:
        """Whether this was sent by this session, not too long ago."""
        return msgid in self._own

    def take(self, rooms: Collection[str], now: float) -> Iterator[Item]:
        """What may go to ``rooms`` now; each is in flight from now on."""
        if self._held_until > now:
            return
        while self._pace.ready_at(now) <= now and (item := self.outbox.take(rooms)) is not None:
            self._pace.spend()
            yield item

    def due(self, rooms: Collection[str], now: float) -> float | None:
        """When there will be something to take; None: not by time alone."""
        if not self.outbox.waiting(rooms):
            return None
        return max(self._held_until, self._pace.ready_at(now))

    def refused(self, msgid: bytes, error: Error, wait: float | None, now: float) -> tuple[e.Event, ...]:
        """The server does not take an item: not within ``wait`` seconds, or (None) never."""
        if wait is None:
            item = self.outbox.done(msgid)
            return () if item is None else (e.NotSent(item, error.code, error.text),)
        if msgid not in self.outbox:
            return ()
        again = self._held_until > now
        self._held_until = max(self._held_until, now + wait)
        self.outbox.rewind()
        return () if again else (e.Delayed(error.code, error.text, wait),)
