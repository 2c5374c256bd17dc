"""Lets old entries go: those above a number in each room, and those that are older than some days.

It looks at every room when the service starts and once an hour, a page at a time, so that nobody who talks
waits for it. Age is what the entries say of themselves, from the oldest on: it stops at the first one that
is young enough, so that entries written while the clock was wrong are kept too long rather than lost. While
the service runs a clock that is set forward changes nothing either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from encchat.core.interfaces import IRoomLog, ITurn
from encchat.core.positions import position_from, read_from
from encchat.errors import EncchatError
from encchat.wire import decode_entry

#: Seconds between two looks.
INTERVAL = 3600.0
#: Entries and bytes that are looked at at once.
PAGE, PAGE_BYTES = 500, 1024 * 1024
DAY = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays: entries of the last ``days``, and the last ``entries`` of each room; 0: all of them."""

    days: int = 0
    entries: int = 0

    def __bool__(self) -> bool:
        return bool(self.days or self.entries)


class Retention:
    """Works from :meth:`start` to :meth:`stop`, on the reactor thread.

    :param reactor: ``IReactorTime``, for the hourly look.
    :param turn: tells the time.
    """

    log = Logger(namespace="encchat")

    def __init__(self, log: IRoomLog, keep: Keep, reactor: Any, turn: ITurn) -> None:
        self._rooms = log
        self._keep = keep
        self._turn = turn
        self._began = turn.wall() - turn.now()
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._loop.clock = reactor
        self._stopping = False
        self._ended: Deferred[None] | None = None

    def start(self) -> None:
        """Look now, and from then on every hour."""
        self._ended = Deferred()
        ended = self._ended
        looking = self._loop.start(INTERVAL)
        looking.addErrback(lambda failure: self.log.failure("retention failed, and ends", failure))
        looking.addCallback(lambda _: ended.callback(None))

    async def stop(self) -> None:
        """Let a look that is under way end, at the next page."""
        self._stopping = True
        if self._loop.running:
            self._loop.stop()
        if self._ended is not None:
            await self._ended

    async def look(self) -> None:
        """Go through all rooms once. What cannot be done is logged, and tried again at the next look."""
        after = ""
        while not self._stopping:
            try:
                names = await self._rooms.rooms(after, PAGE)
            except EncchatError as error:
                self.log.warn("retention has to wait: {error}", error=str(error))
                return
            if not names:
                return
            for name in names:
                if not self._stopping:
                    await self._look_at(name)
            after = names[-1]

    async def _look_at(self, room: str) -> None:
        try:
            if self._keep.entries:
                await self._trim_many(room)
            if self._keep.days:
                await self._trim_old(room)
        except EncchatError as error:
            self.log.warn("retention of {room} has to wait: {error}", room=room, error=str(error))

    async def _trim_many(self, room: str) -> None:
        at = (await position_from(self._rooms, room, 0)).seq
        last = (await self._rooms.head(room)).seq - self._keep.entries
        while at < last and not self._stopping:
            at = min(last, at + PAGE)
            await self._rooms.trim(room, at + 1)

    async def _trim_old(self, room: str) -> None:
        known = min(self._turn.wall(), self._began + self._turn.now())
        oldest = (known - self._keep.days * DAY) * 1000
        at, more = 0, True
        while more and not self._stopping:
            page = await read_from(self._rooms, room, at, PAGE, PAGE_BYTES)
            at, more = page.start.seq, page.more
            for frame in page.frames:
                if decode_entry(frame).time >= oldest:
                    more = False
                    break
                at += 1
            if at > page.start.seq:
                await self._rooms.trim(room, at + 1)
