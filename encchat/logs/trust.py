"""When the SQLite log's file is not to be believed: which errors say that a page is damaged, which that the
disk has lost what it was given, and whether the file is still where it was."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from encchat.core.interfaces import Unavailable

_FAILED_SYNC = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Lost(Unavailable):
    """The server does not believe the file of the messages any more: {reason}. Nothing is stored until its
    operator has looked after the disk and the data directory. Start the server anew then, and check its log:
    encchat-admin log verify."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the error says that something in the file is not what it has to be."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def is_failed_sync(error: sqlite3.Error) -> bool:
    """Whether the disk failed to keep what it was given. The system then takes what was written for kept, so
    that the next attempt may succeed and mean nothing (see "fsyncgate", PostgreSQL wiki)."""
    return getattr(error, "sqlite_errorcode", 0) in _FAILED_SYNC


class Place:
    """Where a file and its write-ahead log are. What is written to files that have lost their names is lost
    when they are closed."""

    def __init__(self, path: Path) -> None:
        self._paths = (path, path.with_name(path.name + "-wal"))
        self._known: list[tuple[int, int] | None] = [_identity(path), None]

    def problem(self) -> str | None:
        """What is wrong with the place, right after something was written; None if nothing is."""
        for number, path in enumerate(self._paths):
            found = _identity(path)
            known = self._known[number] = self._known[number] or found
            if found is None or found != known:
                return f"{path} was taken away, or replaced, while it was in use"
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
