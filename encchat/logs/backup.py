"""A copy of the SQLite log, made while it is in use.

The copy is one consistent moment of the log, in one file that needs no other, and has its name only once
it is whole and on disk.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from encchat.errors import StorageError
from encchat.logs.files import create_file, sync_directory


class BackupFailed(StorageError):
    """The backup was not written to {path}: {reason}. Nothing was changed; make room or name another
    place, and try again."""

    code = "backup-failed"


def copy(source: sqlite3.Connection, target: Path, *, replace: bool = False) -> None:
    """Copy the database behind ``source`` to the file ``target``, mode 0600.

    It is copied in one step: writers go on meanwhile, and none of what they add is in the copy. A copy in
    several steps would begin anew at each commit, and on a busy server never end.

    :raises BackupFailed: it could not be written, or ``target`` is there and ``replace`` is false.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        if not replace and os.path.lexists(target):
            raise BackupFailed(path=str(target), reason="there is a file of this name")
        partial.unlink(missing_ok=True)
        create_file(partial)
        try:
            with closing(sqlite3.connect(partial, isolation_level=None)) as copied:
                source.backup(copied)
                copied.execute("PRAGMA journal_mode = DELETE")
            _sync(partial)
            partial.rename(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_directory(target.parent)
    except sqlite3.Error as error:
        raise BackupFailed(path=str(target), reason=str(error)) from None
    except OSError as error:
        raise BackupFailed(path=str(target), reason=error.strerror or str(error)) from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
