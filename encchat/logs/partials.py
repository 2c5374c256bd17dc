"""Files that are being written, under names of their own until they are whole.

Whoever writes one holds a lock on it, so that what somebody who was killed has left can be told from what
somebody writes just now; the next one who writes beside it takes it away.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from encchat.logs.files import sync_directory

_PREFIX, _SUFFIX = ".encchat-", ".partial"


@contextmanager
def partial_beside(target: Path) -> Iterator[Path]:
    """A new empty file of mode 0600 in the target's directory, which is gone at the end unless it was moved.

    :raises OSError: it cannot be made.
    """
    clear(target.parent)
    path, descriptor = _make(target.parent)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def finish(path: Path, target: Path, *, replace: bool = False) -> None:
    """Give a partial file its name, once it is on the disk.

    :raises FileExistsError: there is a file of this name, and ``replace`` is false.
    :raises OSError: the disk cannot keep it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if replace:
        path.replace(target)
    else:
        _move(path, target)
    sync_directory(target.parent)


def _move(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, such as that of a memory stick
        if os.path.lexists(target):
            raise FileExistsError from None
        path.rename(target)
    else:
        path.unlink()


def clear(directory: Path) -> None:
    """Take away what was left here by those who were killed while they wrote."""
    for path in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for beside in ("", "-journal", "-wal", "-shm"):
                    path.with_name(path.name + beside).unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _make(directory: Path) -> tuple[Path, int]:
    while True:
        path = directory / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        except BlockingIOError:
            pass  # somebody took it for one that was left, before it had its lock
        os.close(descriptor)
