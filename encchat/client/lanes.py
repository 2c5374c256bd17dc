"""Which of the clients that run on one profile sends what: a lane of the outbox each, held by a lock.

The lock goes with the process, however it ends, so that what a killed client had typed is adopted by the
next one that starts, and never sent by two at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from encchat.client.store import Store
from encchat.errors import ConfigError

#: Clients of one profile at once.
MAX_LANES = 16


class TooManyClients(ConfigError):
    """{count} clients with this name run on this machine already. Leave one of them first."""


class CannotLock(ConfigError):
    """{path} cannot be locked: {reason}. Repair it, or name another place with --state DIR."""


class Lane:
    """The lane that this process holds, from ``take`` until ``release`` or its end."""

    def __init__(self, number: int, handle: int) -> None:
        self.number = number
        self._handle = handle

    @property
    def alone(self) -> bool:
        """Whether this was the only client of its profile when it started, as far as lanes tell."""
        return self.number == 0

    @classmethod
    def take(cls, directory: Path, store: Store) -> Lane:
        """Take the first free lane of a profile, and adopt what is left in others that nobody holds.

        :raises ConfigError: none is free, or the lock files cannot be used.
        """
        free = _lock_free(directory)
        first = next(free, None)
        if first is None:
            raise TooManyClients(count=MAX_LANES)
        lane = cls(*first)
        try:
            for number, handle in free:
                try:
                    store.adopt(lane.number, number)
                finally:
                    os.close(handle)
        except BaseException:
            lane.release()
            raise
        return lane

    def release(self) -> None:
        """Let another client have it."""
        os.close(self._handle)


def _lock_free(directory: Path) -> Iterator[tuple[int, int]]:
    """Lock each lane that nobody holds, one after the other: its number and the handle of the lock.
    A lane that never was is made only while none has been found."""
    found = False
    for number in range(MAX_LANES):
        path = directory / f"lane-{number}.lock"
        try:
            if found and not path.exists():
                return
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotLock(path=str(path), reason=error.strerror) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise CannotLock(path=str(path), reason=error.strerror) from None
            continue
        found = True
        yield number, handle
