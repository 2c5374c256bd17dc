"""A copy of the SQLite log, made while it is in use.

The copy is one consistent moment of the log, in one file that needs no other, and has its name only once
it is whole and on disk.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from encchat.errors import StorageError
from encchat.logs.partials import finish, partial_beside


class BackupFailed(StorageError):
    """The backup was not written to {path}: {reason}. Nothing was changed; make room or name another
    place, and try again."""

    code = "backup-failed"


def copy(source: sqlite3.Connection, target: Path, *, replace: bool = False) -> None:
    """Copy the database behind ``source`` to the file ``target``, mode 0600.

    :raises BackupFailed: it could not be written, or ``target`` is there and ``replace`` is false.
    """
    try:
        with partial_beside(target) as partial:
            copy_into(source, partial)
            finish(partial, target, replace=replace)
    except (sqlite3.Error, OSError) as error:
        raise failed(target, error) from None


def copy_into(source: sqlite3.Connection, file: Path) -> None:
    """Copy the database into an empty file.

    It is copied in one step: writers go on meanwhile, and none of what they add is in the copy. A copy in
    several steps would begin anew at each commit, and on a busy server never end.

    :raises sqlite3.Error: it cannot be written.
    """
    with closing(sqlite3.connect(file, isolation_level=None)) as copied:
        source.backup(copied)
        copied.execute("PRAGMA journal_mode = DELETE")


def failed(target: Path, error: sqlite3.Error | OSError) -> BackupFailed:
    """Why there is no backup, in words."""
    if isinstance(error, FileExistsError):
        return BackupFailed(path=str(target), reason="there is a file of this name")
    reason = error.strerror if isinstance(error, OSError) else None
    return BackupFailed(path=str(target), reason=reason or str(error))
