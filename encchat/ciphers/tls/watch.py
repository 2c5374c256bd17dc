"""Notices that files were exchanged: the service looks at them a few times a minute.

A change counts once the files have been the same for two looks, so that nobody reads a certificate whose
key is still being written. With a look every ``INTERVAL`` a change is taken within 60 seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

#: Seconds from one look to the next.
INTERVAL = 20.0

_Signature = tuple[int, int, int, int] | None


class FileWatch:
    """Calls ``changed`` when one of the files was exchanged, appeared or went away."""

    def __init__(
        self, clock: IReactorTime, files: Callable[[], Iterable[Path]], changed: Callable[[], None]
    ) -> None:
        self._files = files
        self._changed = changed
        self._taken = self._seen = self._look()
        self._call = LoopingCall(self._check)
        self._call.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._call.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._call.running:
            self._call.stop()

    def taken(self) -> None:
        """What is there now was just read by somebody else."""
        self._taken = self._seen = self._look()

    def _check(self) -> None:
        before, self._seen = self._seen, self._look()
        if self._seen == before and self._seen != self._taken:
            self._taken = self._seen
            self._changed()

    def _look(self) -> dict[Path, _Signature]:
        return {path: _signature(path) for path in self._files()}


def _signature(path: Path) -> _Signature:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode
