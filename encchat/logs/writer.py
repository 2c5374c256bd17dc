"""The one thread that writes to the SQLite log, and its group commit.

Whatever waits when the thread is free becomes one transaction: the disk is awaited once for all of it, and
only then is anybody answered, on the reactor thread. When SQLite cannot write (disk full, I/O error,
read-only), the transaction is rolled back and all of it is ``Unavailable``; the next one tries anew, so that
nothing has to be done once there is room again. But once the disk has failed to keep what it was given, or
the file was taken away, nothing that it says is believed, and nobody is told of anything that it is stored.
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

from encchat.core.interfaces import Damaged, Draft, Unavailable
from encchat.errors import StorageError
from encchat.logs.appender import Answer, Appender
from encchat.logs.indexing import IDLE, Indexer
from encchat.logs.trust import Lost, Place, is_damage, is_failed_sync

#: Drafts and changes that may wait at once; past that, one is told to try again.
MAX_WAITING = 100_000
#: Drafts in one transaction, about: so that nobody waits for the disk to take everything that queued.
MAX_BATCH = 4000
#: The write-ahead log's size, in bytes, from which readers are no longer given way to at a checkpoint.
MAX_WAL = 64 * 1024 * 1024
#: The PRAGMA synchronous that waits for the disk at each commit.
FULL = 2
#: Transactions between two looks at its size.
WAL_LOOK = 64

Change: TypeAlias = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class _Job:
    """An append, a change of something else, or a step of the search index; and who waits for it. ``room`` is
    one whose rows the change touches; a ``sure`` one outlives the loss of power, whatever the log was asked
    to do."""

    drafts: Sequence[Draft] = ()
    change: Change | None = None
    room: str | None = None
    index: bool = False
    sure: bool = False
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
        self._indexer = Indexer(connection, index_after, self._judge)
        self._place = Place(path)
        #: Why the file is not believed any more.
        self._lost: Lost | None = None
        (self._synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
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

    async def append(self, drafts: Sequence[Draft]) -> list[Answer]:
        """The outcomes, once all of it is durable."""
        outcomes: list[Answer] = await self._submit(_Job(drafts))
        return outcomes

    async def change(self, change: Change, room: str | None = None, *, sure: bool = True) -> Any:
        """What ``change(connection)`` returned, once it is durable; or raise what it raised. Where the log is
        relaxed, a change that is not ``sure`` is as durable as what people say."""
        return await self._submit(_Job((), change, room, sure=sure))

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
            self._check_trust()
            results, heads = self._transact(jobs)
            self._check_place()
        except Lost as error:
            results, heads = [Failure(error) for _ in jobs], {}
        except sqlite3.OperationalError as error:
            self._judge(error)
            self._log.warn("the log cannot be written: {error}", error=str(error))
            results = [Failure(Unavailable(reason=str(error))) for _ in jobs]
        except Exception as error:  # whatever it is, somebody waits for an answer
            if len(jobs) > 1:
                for job in jobs:
                    self._write([job])
                return
            results = [self._failure(error)]
            if isinstance(results[0].value, Damaged) and len({draft.room for draft in jobs[0].drafts}) > 1:
                answers, heads = self._write_by_room(jobs[0].drafts)
                results = [answers]
        self._reactor.callFromThread(self._deliver, list(zip(jobs, results, strict=True)), heads)
        self._bound_wal()

    def _check_trust(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _check_place(self) -> None:
        problem = self._place.problem()
        if problem is not None:
            self._lose(problem)
            self._check_trust()

    def _judge(self, error: sqlite3.Error) -> None:
        """Something went wrong: whether the file can be believed any more."""
        if is_failed_sync(error):
            self._lose(f"the disk failed to keep what was written ({error})")

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = Lost(reason=reason)
            self._log.critical("{error}", error=str(self._lost))

    def _write_by_room(self, drafts: Sequence[Draft]) -> tuple[list[Any], dict[str, int]]:
        """An append for which some page cannot be written: a transaction for each of its rooms."""
        answers: dict[int, Any] = {}
        heads: dict[str, int] = {}
        for room in dict.fromkeys(draft.room for draft in drafts):
            places = [place for place, draft in enumerate(drafts) if draft.room == room]
            try:
                ((*outcomes,),), head = self._transact([_Job([drafts[place] for place in places])])
            except (sqlite3.Error, StorageError) as error:
                outcomes, head = [self._failure(error).value] * len(places), {}
            answers.update(zip(places, outcomes, strict=True))
            heads |= head
        return [answers[place] for place in range(len(drafts))], heads

    def _transact(self, jobs: list[_Job]) -> tuple[list[Any], dict[str, int]]:
        connection = self._connection
        synchronous = max(self._synchronous, FULL if any(job.sure for job in jobs) else 0)
        try:
            if synchronous != self._synchronous:
                connection.execute(f"PRAGMA synchronous = {synchronous}")
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
        finally:
            if synchronous != self._synchronous and not connection.in_transaction:
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
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
            problem = Damaged if is_damage(error) else Unavailable
            return Failure(problem(reason=str(error)))
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
