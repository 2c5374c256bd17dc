"""A reactor driven by hand, so that a test decides when what the log's threads did is heard of, and what
time it is; and connections that fail when they are told to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from queue import SimpleQueue
from threading import get_ident
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from encchat.logs.schema import connect
from encchat.logs.sqlite import SqliteLog, open_sqlite_log

#: Seconds after which a thread that was waited for counts as stuck.
PATIENCE = 180
#: Seconds that no test takes.
NEVER = 1_000_000.0


class Rig(Clock):
    """What the SQLite log needs of a reactor: a clock that stands still, and calls from threads that are
    made while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._calls.put(lambda: call(*args, **kwargs))

    def start(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Begin the work, and with it all that is due now."""
        begun = Deferred.fromCoroutine(work)
        self.advance(0)
        return begun

    def finish(self, begun: Deferred[Any]) -> Any:
        """Let the threads do what they do until ``begun`` has its result."""
        results: list[Any] = []
        begun.addBoth(results.append)
        self.advance(0)
        while not results:
            self._calls.get(timeout=PATIENCE)()
            self.advance(0)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Begin and finish."""
        return self.finish(self.start(work))


class Faults:
    """Decides which statements of the writer fail, and remembers in which threads statements ran."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        #: Called with each statement of the writer before it runs, and after it; raises what it likes.
        self.before: Callable[[str], None] = lambda statement: None
        self.after: Callable[[str], None] = lambda statement: None
        #: The same for readers.
        self.reading: Callable[[str], None] = lambda statement: None

    def connect(self, target: str) -> sqlite3.Connection:
        faults = self
        reader = target.startswith("file:")

        class Connection(sqlite3.Connection):
            def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
                faults.threads.add(get_ident())
                if reader:
                    faults.reading(statement)
                    return super().execute(statement, *args)
                faults.before(statement)
                cursor = super().execute(statement, *args)
                faults.after(statement)
                return cursor

        if reader:
            return sqlite3.connect(
                target, isolation_level=None, check_same_thread=False, uri=True, factory=Connection
            )
        return sqlite3.connect(target, isolation_level=None, check_same_thread=False, factory=Connection)


def failing(word: str, times: int = 1, error: str = "disk I/O error") -> Callable[[str], None]:
    """Fails the next ``times`` statements that begin with ``word``."""
    left = times

    def check(statement: str) -> None:
        nonlocal left
        if left and statement.startswith(word):
            left -= 1
            raise sqlite3.OperationalError(error)

    return check


def open_log(case: Any, path: Path, rig: Rig, **options: Any) -> SqliteLog:
    """A log that is closed when the test ends. Its search index is made only when it is told to."""
    options.setdefault("connect", connect)
    options.setdefault("index_after", NEVER)
    log = open_sqlite_log(path, rig, **options)
    case.addCleanup(lambda: rig.wait(log.close()))
    return log
