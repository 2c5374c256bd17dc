"""Reading the SQLite log: a few threads, each query with a connection of its own for its time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from encchat.core.interfaces import Unavailable
from encchat.logs.pool import DaemonPool
from encchat.logs.schema import Connect, open_reader

#: Threads, and so connections. SQLite's reads are short; long are a backup and a check, one at a time. What
#: people search for has a thread of its own, so that no number of searches keeps anybody from reading.
THREADS, SEARCHERS = 3, 1
#: Steps of SQLite's machine between two looks at whether the log is closing.
PROGRESS = 100_000

_T = TypeVar("_T")


class Readers:
    """Threads that start when there is something to read, until :meth:`close`."""

    def __init__(self, path: Path, reactor: Any, connect: Connect) -> None:
        self._path = path
        self._reactor = reactor
        self._connect = connect
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._long: set[sqlite3.Connection] = set()
        self._running = 0
        self._closed: Deferred[None] | None = None
        self._pool = DaemonPool(0, THREADS, "encchat-log-readers")
        self._pool.start()
        self._searchers = DaemonPool(0, SEARCHERS, "encchat-log-searchers")
        self._searchers.start()

    async def run(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """What ``query(connection)`` returns, in a thread; closing the log waits for it.

        :raises Unavailable: SQLite cannot read, or the log is closed.
        """
        return await self._run(self._pool, query)

    async def search(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """The same for one that takes some time, one after the other; those that still wait for others when
        the log closes are not begun."""

        def unless_closed(connection: sqlite3.Connection) -> _T:
            if self._closed is not None:
                raise Unavailable(reason="the log is closed")
            return query(connection)

        return await self._run(self._searchers, unless_closed)

    async def _run(self, pool: DaemonPool, query: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._closed is not None:
            raise Unavailable(reason="the log is closed")
        self._running += 1
        try:
            result: _T = await deferToThreadPool(self._reactor, pool, self._query, query)
        except sqlite3.Error as error:
            raise Unavailable(reason=str(error)) from None
        finally:
            self._running -= 1
            self._check_closed()
        return result

    async def run_long(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """The same for a query that may take long: closing the log interrupts it."""

        def interruptible(connection: sqlite3.Connection) -> _T:
            self._long.add(connection)
            # Asked while statements run, so that an interruption between two of them is not lost.
            connection.set_progress_handler(lambda: self._closed is not None, PROGRESS)
            try:
                return query(connection)
            finally:
                connection.set_progress_handler(None, 0)
                self._long.discard(connection)

        return await self.run(interruptible)

    async def close(self) -> None:
        """Wait for what is being read, then end the threads."""
        if self._closed is None:
            self._closed = Deferred()
            for connection in tuple(self._long):
                connection.interrupt()
            self._check_closed()
        done: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: done.callback(None))
        await done

    def _check_closed(self) -> None:
        if self._closed is not None and not self._closed.called and not self._running:
            self._pool.stop()
            self._searchers.stop()
            while not self._idle.empty():
                self._idle.get().close()
            self._closed.callback(None)

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
