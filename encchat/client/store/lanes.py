"""Which of the clients that run on one profile sends what: a lane of the outbox each, held by a lock.

The lock goes with the process, however it ends, so that what a killed client had typed is adopted by the
next one that starts, and never sent by two at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from encchat.client.store import Store
from encchat.client.store.locks import Lock
from encchat.errors import ConfigError

#: Clients of one profile at once.
MAX_LANES = 16


class TooManyClients(ConfigError):
    """{count} clients with this name run on this machine already. Leave one of them first."""


class Lane:
    """The lane that this process holds, from ``take`` until ``release`` or its end."""

    def __init__(self, number: int, lock: Lock) -> None:
        self.number = number
        self._lock = lock

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
            for number, lock in free:
                try:
                    store.adopt(lane.number, number)
                finally:
                    lock.release()
        except BaseException:
            lane.release()
            raise
        return lane

    def release(self) -> None:
        """Let another client have it."""
        self._lock.release()


def _lock_free(directory: Path) -> Iterator[tuple[int, Lock]]:
    """Lock each lane that nobody holds, one after the other: its number and the lock.
    A lane that never was is made only while none has been found."""
    found = False
    for number in range(MAX_LANES):
        path = directory / f"lane-{number}.lock"
        if found and not path.exists():
            return
        lock = Lock.take(path)
        if lock is not None:
            found = True
            yield number, lock
