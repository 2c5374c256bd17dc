"""When the search index is made: in steps of the writer's thread, behind the log.

A step is a transaction of its own, so that what goes wrong with the index harms no send, and so short that no
send waits long for it. The writer takes them one after the other when nobody has sent anything for a moment,
and now and then while somebody always does. What is not indexed yet is found all the same, only slower.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from time import monotonic

from twisted.logger import Logger

from encchat.core.interfaces import Unavailable
from encchat.logs import index
from encchat.logs.trust import is_damage

#: Seconds without a send, after which steps are taken.
IDLE = 0.05
#: Seconds between two steps while there are always sends.
BUSY = 0.25
#: Blocks in a step, when there is nothing else to do and when there is; each has up to 4 KB.
IDLE_BLOCKS, BUSY_BLOCKS = 64, 32
#: Bytes after which a step takes no further block.
STEP_BYTES = 1024 * 1024
#: Seconds after entries were last taken away until what is left of their words is written over, and pages of
#: the index in a step of that.
MERGE_AFTER, MERGE_PAGES = 60.0, 200
#: Seconds until a step is tried again that failed.
RETRY = 30.0


class _Spoilt(Exception):
    """A page of this room is damaged."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.room = room


class Indexer:
    """Belongs to the writer's thread.

    :param connection: the writer's.
    :param idle: seconds without a send, after which steps are taken.
    :param failed: is told what SQLite could not do.
    """

    _log = Logger()

    def __init__(
        self,
        connection: sqlite3.Connection,
        idle: float = IDLE,
        failed: Callable[[sqlite3.Error], None] = lambda error: None,
    ) -> None:
        self._connection = connection
        self._failed = failed
        self._idle = idle
        #: Rooms that have blocks to index; None: not looked for yet.
        self._pending: dict[int, None] | None = None
        self._remains = True
        self._merging = False
        self._not_before = 0.0
        self._merge_at = 0.0
        self._last = monotonic()

    def grown(self, rooms: Iterable[int]) -> None:
        """There is more to index in these rooms."""
        if self._pending is not None:
            self._pending.update(dict.fromkeys(rooms))

    def shrunk(self) -> None:
        """Entries were taken away, perhaps with words."""
        self._remains, self._merging = True, False
        self._merge_at = monotonic() + MERGE_AFTER

    def due(self) -> float | None:
        """Seconds that the writer waits for sends before it takes a step; None: there is nothing to do."""
        if self._pending is None or self._pending:
            wait = self._not_before
        elif self._remains:
            wait = max(self._not_before, self._merge_at)
        else:
            return None
        return max(self._idle, wait - monotonic())

    def keep_up(self) -> None:
        """Take a step if none was for some time, though there is always something to send."""
        now = monotonic()
        if self._pending and now - self._last >= BUSY and now >= self._not_before:
            self.step(BUSY_BLOCKS)

    def step(self, blocks: int = IDLE_BLOCKS) -> bool:
        """Index some blocks, or write over some of what is left of others; whether something was done. What
        goes wrong is logged, and tried again later."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            done = self._index(blocks) if self._pending is None or self._pending else self._merge()
            self._connection.execute("COMMIT")
        except _Spoilt as spoilt:  # what was done for other rooms in this step is done again in the next
            self._connection.execute("ROLLBACK")
            if self._pending is not None:
                self._pending.pop(spoilt.room, None)
            self._log.error("entries of a room cannot be indexed: {error}", error=str(spoilt.__cause__))
            return True
        except Exception as error:  # whatever it is: sends go on, and searches look for themselves
            self._pending = None
            self._not_before = monotonic() + RETRY
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                self._failed(error)
                self._log.warn("the search index has to wait: {error}", error=str(error))
            else:
                self._log.failure("the search index has to wait")
            return False
        finally:
            self._last = monotonic()
        return done

    def _index(self, blocks: int) -> bool:
        if self._pending is None:
            self._pending = dict.fromkeys(index.lagging(self._connection))
            (self._remains,) = self._connection.execute("SELECT remains FROM search_state").fetchone()
            self._merging = False
        size = STEP_BYTES
        while self._pending and blocks > 0 and size > 0:
            room = next(iter(self._pending))
            more = False
            try:
                count, taken, more = index.extend(self._connection, room, blocks, size)
                blocks, size = blocks - count, size - taken
            except Unavailable as error:
                self._log.error("entries of a room cannot be indexed: {error}", error=str(error))
            except sqlite3.DatabaseError as error:
                if is_damage(error):
                    raise _Spoilt(room) from error
                raise
            if not more:
                del self._pending[room]
        return True

    def _merge(self) -> bool:
        if not self._remains:
            return False
        self._remains = self._merging = index.merge(self._connection, MERGE_PAGES, begin=not self._merging)
        return True
