"""The log in one SQLite file: durable, for as many people as one machine can serve.

One thread writes and commits in groups (``writer``), a few read (``readers``), and the reactor thread never
waits for the disk. With durability ``full`` an entry that was acknowledged survives the loss of power; with
``relaxed`` it survives the end of the process in any way, but the last seconds may go with the power: of what
people said and how far they have read, and not of what must not happen twice or be undone (keys that were
handed out, codes, letters, bans, roles, who is in a room). In neither can what is there be half of something.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from zope.interface import implementer

from encchat.core.interfaces import PASSING, Draft, Findings, IRoomLog, Item, Outcome, Slice, Unavailable
from encchat.core.relay.keeping import IStore
from encchat.errors import StorageError
from encchat.logs import backup, changes, queries
from encchat.logs.files import DirectoryLock, prepare_directory
from encchat.logs.hints import Hints
from encchat.logs.indexing import IDLE
from encchat.logs.letters import SqliteKeys, SqliteMail
from encchat.logs.numbering import check_bounds, check_drafts
from encchat.logs.partials import clear
from encchat.logs.readers import Readers
from encchat.logs.schema import UPGRADES, Connect, Durability, Upgrade, connect, open_writer
from encchat.logs.verify import index_problem_of, problems
from encchat.logs.writer import Writer
from encchat.messages import Position

#: Seconds that a probe may take: up to the first the log is ok, past the second it is down.
SLOW, DOWN = 1.0, 10.0
#: Seconds after which a thread that needs the interpreter is let in, for the whole process.
SWITCH_INTERVAL = 0.0005
#: Problems that one check tells at most.
MAX_PROBLEMS = 1000


def open_sqlite_log(
    path: Path,
    reactor: Any,  # IReactorFromThreads and IReactorTime in one object
    *,
    durability: Durability = "full",
    upgrades: Sequence[Upgrade] = UPGRADES,
    connect: Connect = connect,
    index_after: float = IDLE,
) -> SqliteLog:
    """Open the log in the file ``path``, made if there is none, in a directory that is ours alone.

    :param index_after: seconds without a send, after which the search index is worked at.

    It starts threads: open it in the process that uses it, so after ``twistd`` went to the background.

    :raises ConfigError: the directory or file cannot be used, or another server uses it; says what to do.
    :raises BackupFailed: the file is of an earlier version, and the backup before its upgrade failed.
    """
    # The threads take the interpreter lock back after each call of SQLite. From a busy reactor thread they
    # get it only after this interval; at the usual 5 ms a commit took 300 ms then, at this one 25.
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL))
    prepare_directory(path.parent)
    lock = DirectoryLock(path.parent)
    clear(path.parent)
    try:
        writer = open_writer(path, durability, upgrades, connect)
    except BaseException:
        lock.release()
        raise
    (log_id,) = writer.execute("SELECT log_id FROM log").fetchone()
    hints = Hints()
    return SqliteLog(
        log_id,
        Writer(writer, path, reactor, hints.tell, index_after),
        Readers(path, reactor, connect),
        hints,
        lock,
        reactor,
    )


@implementer(IRoomLog, IStore)
class SqliteLog:
    """Made by :func:`open_sqlite_log`. To be used on the reactor thread, and closed before it stops."""

    def __init__(
        self, log_id: bytes, writer: Writer, readers: Readers, hints: Hints, lock: DirectoryLock, reactor: Any
    ) -> None:
        self.log_id = log_id
        self._writer = writer
        self._readers = readers
        self._hints = hints
        self._lock = lock
        self._reactor = reactor
        self.mail = SqliteMail(writer, readers)
        self.keys = SqliteKeys(writer)

    @property
    def commits(self) -> int:
        """How many transactions were committed since the log was opened."""
        return self._writer.commits

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Outcome | StorageError]:
        check_drafts(drafts)
        return await self._writer.append(drafts)

    async def read(self, room: str, after: int, limit: int, size: int) -> Slice:
        check_bounds(after, limit)
        return await self._readers.run(lambda c: queries.read(c, room, after, limit, size))

    async def read_back(self, room: str, before: int, limit: int, size: int) -> Slice:
        check_bounds(before, limit)
        return await self._readers.run(lambda c: queries.read_back(c, room, before, limit, size))

    async def search(self, room: str, words: frozenset[str], before: int, limit: int, size: int) -> Findings:
        check_bounds(before, limit)
        return await self._readers.search(lambda c: queries.search(c, room, words, before, limit, size))

    async def head(self, room: str) -> Position:
        return await self._readers.run(lambda c: queries.head(c, room))

    async def position(self, room: str, seq: int) -> Position:
        check_bounds(seq, 1)
        return await self._readers.run(lambda c: queries.position(c, room, seq))

    async def rooms(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        check_bounds(0, limit)
        return await self._readers.run(lambda c: queries.rooms(c, after, limit))

    async def trim(self, room: str, before: int) -> Position:
        check_bounds(before, 1)
        more = True
        while more:
            position, more = await self._writer.change(
                lambda c: changes.trim(c, room, before), room, sure=False
            )
        found: Position = position
        return found

    def hints(self, callback: Callable[[str, int], None]) -> None:
        self._hints.add(callback)

    async def state(self) -> str:
        asked = self._reactor.seconds()
        probed = Deferred.fromCoroutine(self._writer.change(changes.probe, sure=False))
        try:
            await probed.addTimeout(DOWN, self._reactor)
        except (Unavailable, DeferredTimeout):
            return "down"
        return "ok" if self._reactor.seconds() - asked <= SLOW else "degraded"

    async def close(self) -> None:
        await self._readers.close()
        await self._writer.close()
        self._lock.release()

    async def get(self, kind: str, key: str) -> Item | None:
        return await self._readers.run(lambda c: queries.get(c, kind, key))

    async def put(self, kind: str, key: str, value: bytes, expected: int) -> int:
        revision: int = await self._writer.change(
            lambda c: changes.put(c, kind, key, value, expected), sure=kind not in PASSING
        )
        return revision

    async def delete(self, kind: str, key: str, expected: int) -> None:
        await self._writer.change(lambda c: changes.delete(c, kind, key, expected))

    async def scan(self, kind: str, after: str = "", limit: int = 1000) -> Mapping[str, Item]:
        check_bounds(0, limit)
        return await self._readers.run(lambda c: queries.scan(c, kind, after, limit))

    async def index(self) -> None:
        """Bring the search index up to date now; what cannot be done is logged, and done later."""
        await self._writer.index()

    async def backup(self, path: Path) -> None:
        """Copy the log, as it is at this moment, to the new file ``path``; sends go on meanwhile.

        :raises BackupFailed: it cannot be written, or is there already.
        """
        await self._readers.run_long(partial(backup.copy, target=path))

    async def verify(self) -> list[str]:
        """Recompute every chain, and return a line for each problem, at most ``MAX_PROBLEMS``; then also what
        is wrong with the search index."""
        found = await self._readers.run_long(lambda c: list(islice(problems(c), MAX_PROBLEMS)))
        of_index = await self._readers.run_long(index_problem_of)
        return found if of_index is None else [*found, of_index]
