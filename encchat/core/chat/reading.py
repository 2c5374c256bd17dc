"""How a session that was not pushed everything reads on from the log, until it has caught up.

One page at a time, and the next when the transport has taken it. Where protecting what is written takes
the whole server's time (a ``dear`` session: every byte RSA), pages are small and one such session reads at a
time, so that nobody else waits for more than one of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from encchat import messages as m
from encchat.core.chat.lock import Lock
from encchat.core.chat.positions import position_from
from encchat.core.interfaces import Damaged, ITurn, Promise, Trimmed
from encchat.errors import StorageError

if TYPE_CHECKING:
    from encchat.core.chat.rooms import Membership
    from encchat.core.chat.session import Session

#: Bytes of history that are read and written at a time; and to a dear session.
PAGE_BYTES, DEAR_PAGE_BYTES = 128 * 1024, 16 * 1024
#: Bytes that one turn pushes to dear sessions, all together, about: 4 ms of RSA.
DEAR_BYTES = 16 * 1024


class DearShare:
    """What dear sessions may have of a turn: ``spend`` it, until it is ``renewed``. Who finds nothing left
    reads from the log, in a turn of its own, one after the other with ``lock``."""

    def __init__(self, turn: ITurn) -> None:
        self.lock = Lock(turn)
        self._turn = turn
        self._left = DEAR_BYTES

    def renew(self) -> None:
        """A turn begins."""
        self._left = DEAR_BYTES

    def spend(self, size: int) -> bool:
        """Whether there is something left; if so, ``size`` bytes of it, or all, are spent."""
        if self._left <= 0:
            return False
        self._left -= size
        return True

    @asynccontextmanager
    async def alone(self, session: Session) -> AsyncIterator[None]:
        """Answer within this what may be large: to dear sessions one such answer at a time, and the next in
        another turn."""
        if not session.dear:
            yield
            return
        async with self.lock:
            yield
            session.flush()
            ended: Promise[None] = self._turn.promise()
            self._turn.soon(lambda: ended.resolve(None))
            await ended


class Reading:
    """One session's."""

    __slots__ = ("_running", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._running = False

    def go_on(self) -> None:
        """Start reading what was not pushed, unless that is under way or the peer takes nothing."""
        session = self._session
        if self._running or session.congested or not session.is_admitted:
            return
        behind = session.behind()
        if behind:
            self._running = True
            session.hub.turn.spawn(self._run(behind), session)

    async def _run(self, behind: list[Membership]) -> None:
        session = self._session
        damaged = False
        try:
            for membership in behind:
                try:
                    await self._read_on(membership)
                except Damaged as error:  # which keeps nobody from reading other rooms
                    session.outlet.note(error)
                    damaged = True
        except StorageError as error:  # the hub's next tick tries again
            session.outlet.note(error)
            return
        finally:
            self._running = False
        if not damaged:
            session.catch_up()

    async def _read_on(self, membership: Membership) -> None:
        session, room = self._session, membership.room
        while self._is_behind(membership):
            await self._step(membership)
        if membership.stale and session.takes(membership):
            membership.stale = False
            session.answer(m.Members(0, room.name, room.members()))

    def _is_behind(self, membership: Membership) -> bool:
        return self._session.takes(membership) and membership.cursor < membership.room.announced

    async def _step(self, membership: Membership) -> None:
        if not self._session.dear:
            await self._page(membership, PAGE_BYTES)
            return
        async with self._session.hub.dear.lock:
            if self._is_behind(membership):
                await self._page(membership, DEAR_PAGE_BYTES)

    async def _page(self, membership: Membership, size: int) -> None:
        session = self._session
        log, room, before = session.hub.log, membership.room.name, membership.cursor
        try:
            found = await log.read(room, before, m.MAX_PAGE, size)
        except Trimmed as trimmed:
            start = await position_from(log, room, trimmed.first)
            if session.takes(membership) and membership.cursor == before:
                membership.cursor = start.seq
                session.answer(m.Page(0, room, start, (), True))
            return
        if not session.takes(membership):
            return
        fresh = found.frames[membership.cursor - before :]  # a flush may have pushed some meanwhile
        if not found.frames:
            raise Damaged(reason=f"{room} ends before entry {membership.room.announced}")
        membership.cursor = max(membership.cursor, before + len(found.frames))
        session.push(b"".join(fresh))
        session.flush()
