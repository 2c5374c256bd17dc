"""Peers that send without pause, and go on where they were when the service comes back.

Each numbers its lines and sends a few at once; what is not acknowledged when a connection ends is sent
again, under the same msgid and before anything new. They keep what was acknowledged, as which entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater

from encchat import messages as m
from encchat.wire import FrameSplitter, decode_server
from tests.process.harness import reactor
from tests.process.wire_peer import FramePeer, connect_frames

ROOM = "+lobby"
#: Seconds until a line that was refused for now is sent again: sooner than the service asks for.
AGAIN = 0.1


class Listener(FramePeer):
    """A peer that hands its messages to whoever owns it, and keeps none."""

    def __init__(self, hear: Callable[[Any], None]) -> None:
        super().__init__()
        self._hear = hear
        self._frames = FrameSplitter()

    def dataReceived(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            self._hear(decode_server(frame))
        self.look()


class Place:
    """Where the service is; talkers wait here while there is none."""

    def __init__(self) -> None:
        self.port: int | None = None
        self._waiting: list[Deferred[None]] = []

    def opened(self, port: int) -> None:
        """It listens."""
        self.port = port
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def closed(self) -> None:
        """It is about to be gone."""
        self.port = None

    async def found(self) -> int:
        """Its port, once there is one."""
        while self.port is None:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        return self.port


class Talker:
    """One of them.

    :param window: lines that are on their way at once. With one, a line that is refused for now delays
        those behind it, so that they stay in order.
    """

    def __init__(self, number: int, home: Path, place: Place, cipher: str, window: int) -> None:
        self.name = f"talker{number}"
        self.acknowledged: dict[int, int] = {}
        self.finishing = False
        #: Times that the service said it could not store a line.
        self.refusals = 0
        self.faults: list[str] = []
        self._home = home / self.name
        self._place = place
        self._cipher = cipher
        self._window = window
        self._last = 0
        self._waiting: dict[int, m.Send] = {}
        self._peer: FramePeer | None = None
        self._in_room = False
        self._goals: list[tuple[int, Deferred[None]]] = []

    @staticmethod
    def line(sender: str, number: int) -> bytes:
        """The text of a line: of many sizes, and always the same."""
        return b"%d " % number + sender.encode() * (number * 7 % 40)

    async def run(self) -> None:
        """Talk until :meth:`finish` was called and all is acknowledged."""
        while not self._done:
            port = await self._place.found()
            self._in_room = False
            try:
                self._peer = peer = await connect_frames(
                    port, self._home, self._cipher, lambda: Listener(self._hear)
                )
            except ConnectError:
                continue
            if not peer.lost:
                peer.send(m.Hello((1,), self.name))
            await peer.until(lambda p=peer: p.lost or self._done, "end")
            if self._done:
                peer.transport.abortConnection()
                await peer.closed()

    def finish(self) -> None:
        """Say nothing new; end once all is acknowledged."""
        self.finishing = True
        if self._peer is not None:
            self._peer.look()

    async def reach(self, count: int) -> None:
        """Wait until ``count`` lines are acknowledged."""
        if len(self.acknowledged) < count:
            waiting: Deferred[None] = Deferred()
            self._goals.append((count, waiting))
            await waiting

    @property
    def _done(self) -> bool:
        return self.finishing and not self._waiting

    def _hear(self, message: Any) -> None:
        assert self._peer is not None
        match message:
            case m.Welcome():
                self._peer.send(m.Join(0, ROOM))
            case m.Joined():
                self._in_room = True
                self._peer.send(*self._waiting.values())
                self._fill()
            case m.Sent():
                known = self.acknowledged.setdefault(message.id, message.seq)
                if known != message.seq:
                    self.faults.append(f"line {message.id} became {known} and {message.seq}")
                self._waiting.pop(message.id, None)
                self._reached()
                self._fill()
            case m.Error() if message.code == "storage-unavailable" and message.id in self._waiting:
                self.refusals += 1
                again = deferLater(reactor, AGAIN, self._again, self._peer, message.id)
                again.addErrback(lambda failure: self.faults.append(str(failure)))
            case m.Error() | m.Refused():
                self.faults.append(str(message))

    def _again(self, peer: FramePeer, number: int) -> None:
        if peer is self._peer and not peer.lost and number in self._waiting:
            peer.send(self._waiting[number])

    def _fill(self) -> None:
        fresh = []
        while len(self._waiting) < self._window and not self.finishing:
            self._last += 1
            msgid = hashlib.sha256(b"%s %d" % (self.name.encode(), self._last)).digest()[:16]
            send = m.Send(self._last, ROOM, msgid, "text", self.line(self.name, self._last))
            self._waiting[self._last] = send
            fresh.append(send)
        if fresh and self._peer is not None:
            self._peer.send(*fresh)

    def _reached(self) -> None:
        for goal in [goal for goal in self._goals if len(self.acknowledged) >= goal[0]]:
            self._goals.remove(goal)
            goal[1].callback(None)
