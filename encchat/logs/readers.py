"""Reading the SQLite log: a few threads, each query with a connection of its own for its time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from encchat.core.interfaces import Damaged, Unavailable
from encchat.logs.pool import Workers
from encchat.logs.schema import Connect, open_reader
from encchat.logs.trust import is_damage

#: Threads, and so connections. SQLite's reads are short; long are a backup and a check, one at a time. What
#: people search for has a thread of its own, so that no number of searches keeps anybody from reading.
THREADS, SEARCHERS = 3, 1
#: Steps of SQLite's machine between two looks at whether the log is closing.
PROGRESS = 100_000
#: Why nothing is read any more.
CLOSED = "the log is closed"

_T = TypeVar("_T")


class Readers:
    """Threads that start when there is something to read, until :meth:`close`."""

    def __init__(self, path: Path, reactor: Any, connect: Connect) -> None:
        self._path = path
        self._connect = connect
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._long: set[sqlite3.Connection] = set()
        self._workers = Workers(reactor, THREADS, "encchat-log-readers", CLOSED)
        self._searchers = Workers(reactor, SEARCHERS, "encchat-log-searchers", CLOSED)

    async def run(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """What ``query(connection)`` returns, in a thread; closing the log waits for it.

        :raises Unavailable: SQLite cannot read, or the log is closed.
        """
        return await self._run(self._workers, query)

    async def search(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """The same for one that takes some time, one after the other; those that still wait for others when
        the log closes are not begun."""

        def unless_closed(connection: sqlite3.Connection) -> _T:
            if self._searchers.closing:
                raise Unavailable(reason=CLOSED)
            return query(connection)

        return await self._run(self._searchers, unless_closed)

    async def _run(self, workers: Workers, query: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return await workers.run(self._query, query)
        except sqlite3.Error as error:
            problem = Damaged if is_damage(error) else Unavailable
            raise problem(reason=str(error)) from None

    async def run_long(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """The same for a query that may take long: closing the log interrupts it."""

        def interruptible(connection: sqlite3.Connection) -> _T:
            self._long.add(connection)
            # Asked while statements run, so that an interruption between two of them is not lost.
            connection.set_progress_handler(lambda: self._workers.closing, PROGRESS)
            try:
                return query(connection)
            finally:
                connection.set_progress_handler(None, 0)
                self._long.discard(connection)

        return await self.run(interruptible)

    async def close(self) -> None:
        """Wait for what is being read, then end the threads."""
        ends = [Deferred.fromCoroutine(workers.close()) for workers in (self._workers, self._searchers)]
        for connection in tuple(self._long):
            connection.interrupt()
        for end in ends:
            await end
        while not self._idle.empty():
            self._idle.get().close()

    def _query(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = open_reader(self._path, self._connect)
        try:
            result = query(connection)
        except sqlite3.Error:
            connection.close()
            raise
        except BaseException:
            self._idle.put(connection)
            raise
        self._idle.put(connection)
        return result
