"""Locks on files: what belongs to one process at a time, such as the keys of a device, of which two would use
the same one twice. A lock goes with the process, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from encchat.errors import ConfigError


class CannotLock(ConfigError):
    """{path} cannot be locked: {reason}. Repair it, or name another place with --state DIR."""


class Lock:
    """A lock that this process holds, from ``take`` until ``release`` or its end."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @classmethod
    def take(cls, path: Path) -> Lock | None:
        """The lock on a file, which is made if there is none; None if another process has it.

        :raises CannotLock: the file cannot be used.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotLock(path=str(path), reason=error.strerror) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise CannotLock(path=str(path), reason=error.strerror) from None
            return None
        return cls(handle)

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._handle)
