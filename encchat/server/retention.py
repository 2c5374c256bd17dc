"""Lets old entries go: those above a number in a room, and those that are older than some days; as the server
or the room has it. Sealed rooms are left alone.

It looks at every room when the service starts and once an hour, a page at a time, so that nobody who talks
waits for it. Age is what the entries say of themselves, from the oldest on: it stops at the first one that
is young enough, so that entries written while the clock was wrong are kept too long rather than lost. While
the service runs a clock that is set forward changes nothing either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from encchat.core.chat.positions import position_from, read_from
from encchat.core.expiry import Expiry
from encchat.core.interfaces import IRoomLog, ITurn
from encchat.core.names import BadRoom, is_open, parse_room
from encchat.errors import EncchatError, UsageError
from encchat.wire import decode_entry

#: Seconds between two looks.
INTERVAL = 3600.0
#: Entries and bytes that are looked at at once.
PAGE, PAGE_BYTES = 500, 1024 * 1024
DAY = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays of a room: entries of the last ``days``, and the last ``entries``; 0: all of them."""

    days: int = 0
    entries: int = 0

    def __bool__(self) -> bool:
        return bool(self.days or self.entries)


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays of which room: the room's own numbers, and where it has none the server's."""

    server: Keep = Keep()
    days: Mapping[str, int] = field(default_factory=dict)
    entries: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((*self.days.values(), *self.entries.values(), self.server))

    def of(self, room: str) -> Keep:
        """What stays of this room; of a sealed one everything, as its members find out who else is one only
        by reading it from its first entry on."""
        if not is_open(room):
            return Keep()
        return Keep(self.days.get(room, self.server.days), self.entries.get(room, self.server.entries))


def parse_rules(days: Sequence[str], entries: Sequence[str]) -> Rules:
    """The rules that ``--retain`` and ``--retain-entries`` give: a number for the server, ``ROOM=NUMBER`` for
    a room, each at most once.

    :raises UsageError: one is not of this form, or is given twice.
    """
    of_days, of_entries = _numbers("--retain", days), _numbers("--retain-entries", entries)
    return Rules(Keep(of_days.pop("", 0), of_entries.pop("", 0)), of_days, of_entries)


def _numbers(option: str, given: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in given:
        room, equals, number = text.rpartition("=")
        if equals:
            try:
                room = parse_room(room)
            except BadRoom as error:
                raise UsageError(reason=f"{option} {text}: {error}") from None
            if not is_open(room):
                raise UsageError(
                    reason=f"{option} {text}: {room} is sealed, and its members have to read it from the "
                    "first entry on; nothing leaves it"
                )
        if not re.fullmatch(r"[0-9]{1,9}", number):
            raise UsageError(
                reason=f"{option} {text}: write a whole number for the server, or ROOM=NUMBER for a room, "
                f"such as {option} +ops=30; 0 keeps everything"
            )
        if room in found:
            raise UsageError(reason=f"{option} is given twice for {room or 'the server'}: {text}")
        found[room] = int(number)
    return found


@dataclass(slots=True)
class Gone:
    """What left a room in one look: how many entries, and up to which."""

    count: int = 0
    last: int = 0


class Retention:
    """Works from :meth:`start` to :meth:`stop`, on the reactor thread.

    :param reactor: ``IReactorTime``, for the hourly look.
    :param turn: tells the time.
    """

    log = Logger(namespace="encchat")

    def __init__(self, log: IRoomLog, rules: Rules, reactor: Any, turn: ITurn) -> None:
        self._rooms = log
        self._rules = rules
        self._expiry = Expiry(turn)
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
        keep = self._rules.of(room)
        gone = Gone()
        try:
            if keep.entries:
                await self._trim_many(room, keep.entries, gone)
            if keep.days:
                await self._trim_old(room, keep.days, gone)
        except EncchatError as error:
            self.log.warn("retention of {room} has to wait: {error}", room=room, error=str(error))
        if gone.count:
            self.log.info(
                "retention let {count} {entries} of {room} go: those up to number {last}",
                count=gone.count,
                entries="entry" if gone.count == 1 else "entries",
                room=room,
                last=gone.last,
            )

    async def _trim(self, room: str, after: int, last: int, gone: Gone) -> None:
        await self._rooms.trim(room, last + 1)
        gone.count += last - after
        gone.last = last

    async def _trim_many(self, room: str, entries: int, gone: Gone) -> None:
        at = (await position_from(self._rooms, room, 0)).seq
        last = (await self._rooms.head(room)).seq - entries
        while at < last and not self._stopping:
            after, at = at, min(last, at + PAGE)
            await self._trim(room, after, at, gone)

    async def _trim_old(self, room: str, days: int, gone: Gone) -> None:
        oldest = self._expiry.milliseconds() - days * DAY * 1000
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
                await self._trim(room, page.start.seq, at, gone)
