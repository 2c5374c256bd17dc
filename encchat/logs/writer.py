"""The one thread that writes to the SQLite log, and its group commit.

Whatever waits when the thread is free becomes one transaction: the disk is awaited once for all of it, and
only then is anybody answered, on the reactor thread. When SQLite cannot write (disk full, I/O error,
read-only), the transaction is rolled back and all of it is ``Unavailable``; the next one tries anew, so that
nothing has to be done once there is room again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from encchat.core.interfaces import Draft, Outcome, Unavailable
from encchat.errors import StorageError
from encchat.logs.appender import Appender
from encchat.logs.indexing import IDLE, Indexer

#: Drafts and changes that may wait at once; past that, one is told to try again.
MAX_WAITING = 100_000
#: Drafts in one transaction, about: so that nobody waits for the disk to take everything that queued.
MAX_BATCH = 4000
#: The write-ahead log's size, in bytes, from which readers are no longer given way to at a checkpoint.
MAX_WAL = 64 * 1024 * 1024
#: Transactions between two looks at its size.
WAL_LOOK = 64

Change: TypeAlias = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class _Job:
    """An append, a change of something else, or a step of the search index; and who waits for it. ``room`` is
    one whose rows the change touches."""

    drafts: Sequence[Draft] = ()
    change: Change | None = None
    room: str | None = None
    index: bool = False
    answer: Deferred[Any] = field(default_factory=Deferred)

    @property
    def weight(self) -> int:
        return len(self.drafts) or 1


class Writer:
    """Runs from construction until :meth:`close`.

    :param connection: the writer's own; closed at the end.
    :param path: the file, to see how large its write-ahead log is.
    :param reactor: ``callFromThread`` and ``callLater``.
    :param announce: called on the reactor thread with the new heads of rooms, after the answers.
    :param index_after: seconds without a send, after which the search index is worked at.
    """

    _log = Logger()

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        reactor: Any,  # IReactorFromThreads and IReactorTime in one object
        announce: Callable[[Mapping[str, int]], None],
        index_after: float = IDLE,
    ) -> None:
        self._connection = connection
        self._indexer = Indexer(connection, index_after)
        self._wal = path.with_name(path.name + "-wal")
        self._max_wal = MAX_WAL
        self._reactor = reactor
        self._announce = announce
        self._appender: Appender | None = None
        #: Transactions that were committed.
        self.commits = 0
        self._queue: SimpleQueue[list[_Job] | None] = SimpleQueue()
        self._turn: list[_Job] = []
        self._waiting = 0
        self._closed: Deferred[None] | None = None
        self._thread = Thread(target=self._run, name="encchat-log-writer", daemon=True)
        self._thread.start()

    # -------------------------------------------------------------------------- on the reactor thread

    async def append(self, drafts: Sequence[Draft]) -> list[Outcome]:
        """The outcomes, once all of it is durable."""
        outcomes: list[Outcome] = await self._submit(_Job(drafts))
        return outcomes

    async def change(self, change: Change, room: str | None = None) -> Any:
        """What ``change(connection)`` returned, once it is durable; or raise what it raised."""
        return await self._submit(_Job((), change, room))

    async def index(self) -> None:
        """Bring the search index up to date now."""
        while await self._submit(_Job(index=True)):
            pass

    async def close(self) -> None:
        """Write what waits, bring it all into the one file, and end the thread."""
        if self._closed is None:
            self._closed = Deferred()
            self._flush()
            self._queue.put(None)
        done: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: done.callback(None))
        await done

    def _submit(self, job: _Job) -> Deferred[Any]:
        if self._closed is not None:
            raise Unavailable(reason="the log is closed")
        if self._waiting + job.weight > MAX_WAITING and self._waiting:
            raise Unavailable(reason="too many messages wait for the disk")
        self._waiting += job.weight
        if not self._turn:
            # What one reactor turn brings goes over together: the thread wakes once, for all of it.
            self._reactor.callLater(0, self._flush)
        self._turn.append(job)
        return job.answer

    def _flush(self) -> None:
        if self._turn:
            self._queue.put(self._turn)
            self._turn = []

    def _deliver(self, done: list[tuple[_Job, Any]], heads: dict[str, int]) -> None:
        for job, result in done:
            self._waiting -= job.weight
            job.answer.callback(result)
        self._announce(heads)

    def _ended(self) -> None:
        self._thread.join()
        assert self._closed is not None
        self._closed.callback(None)

    # --------------------------------------------------------------------------- on the writer's thread

    def _run(self) -> None:
        jobs: list[_Job] = []
        more = True
        while more or jobs:
            more = self._gather(jobs) if more else False
            count = weight = 0
            while count < len(jobs) and weight < MAX_BATCH:
                weight += jobs[count].weight
                count += 1
            if count:
                self._write(jobs[:count])
                del jobs[:count]
                self._indexer.keep_up()
        self._finish()

    def _gather(self, jobs: list[_Job]) -> bool:
        """Add all that has queued, after waiting for something to do; False at the end."""
        try:
            while (more := self._queue.get(not jobs, self._indexer.due())) is not None:
                jobs += more
        except Empty:
            if not jobs:
                self._indexer.step()
            return True
        return False

    def _write(self, jobs: list[_Job]) -> None:
        """One transaction for all; but when something unforeseen befalls it, one for each, so that
        what one job brings about harms no other."""
        steps = [(job, self._indexer.step()) for job in jobs if job.index]
        if steps:
            self._reactor.callFromThread(self._deliver, steps, {})
            jobs = [job for job in jobs if not job.index]
        if not jobs:
            return
        heads: dict[str, int] = {}
        try:
            results, heads = self._transact(jobs)
        except sqlite3.OperationalError as error:
            self._log.warn("the log cannot be written: {error}", error=str(error))
            results = [Failure(Unavailable(reason=str(error))) for _ in jobs]
        except Exception as error:  # whatever it is, somebody waits for an answer
            if len(jobs) > 1:
                for job in jobs:
                    self._write([job])
                return
            results = [self._failure(error)]
        self._reactor.callFromThread(self._deliver, list(zip(jobs, results, strict=True)), heads)
        self._bound_wal()

    def _transact(self, jobs: list[_Job]) -> tuple[list[Any], dict[str, int]]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            if self._appender is None:
                self._appender = Appender(connection)
            changed = {id(job): self._run_change(job) for job in jobs if job.change}
            appends = [job for job in jobs if not job.change]
            outcomes, heads = self._appender.append([job.drafts for job in appends])
            appended = dict(zip(map(id, appends), outcomes, strict=True))
            connection.execute("COMMIT")
            self.commits += 1
            self._indexer.grown(self._appender.begun)
            self._appender.begun.clear()
            if any(job.room for job in jobs):
                self._indexer.shrunk()
        except BaseException:
            self._appender = None
            self._roll_back()
            raise
        return [appended[id(job)] if not job.change else changed[id(job)] for job in jobs], heads

    def _run_change(self, job: _Job) -> Any:
        """A change's result, or the refusal with which it ended before it changed anything."""
        assert job.change is not None
        assert self._appender is not None
        if job.room is not None:
            self._appender.forget(job.room)
        try:
            return job.change(self._connection)
        except StorageError as refused:
            return Failure(refused)

    def _roll_back(self) -> None:
        # SQLite has done so itself after some errors.
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._log.error("a transaction cannot be rolled back: {error}", error=str(error))

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, StorageError):
            return Failure(error)
        if isinstance(error, sqlite3.Error):
            self._log.error("the log cannot be used: {error}", error=str(error))
            return Failure(Unavailable(reason=str(error)))
        return Failure(error)

    def _bound_wal(self) -> None:
        """SQLite brings the write-ahead log into the file by itself, as far as readers let it. With
        readers at all times it would grow without end: then wait for them, once in ``MAX_WAL`` bytes."""
        if self.commits % WAL_LOOK:
            return
        try:
            size = self._wal.stat().st_size
            if size > self._max_wal:
                (busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._max_wal = MAX_WAL + (size if busy else 0)
        except (OSError, sqlite3.Error) as error:
            self._log.warn("the write-ahead log cannot be shortened: {error}", error=str(error))

    def _finish(self) -> None:
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._log.warn("the write-ahead log stays until the next start: {error}", error=str(error))
        self._connection.close()
        self._reactor.callFromThread(self._ended)
