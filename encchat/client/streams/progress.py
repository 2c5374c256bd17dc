"""A line on a terminal that says how far a large input has come. Small ones go by without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Messages on their way from which on it is shown, and seconds between two looks of it.
LARGE, PAUSE = 256, 0.25
#: Goes to the beginning of the line and clears it (ECMA-48, EL).
CLEAR = "\r\x1b[K"


class Clock(Protocol):
    """What is used of a reactor."""

    def seconds(self) -> float: ...


class Progress:
    """Counts what was read and stored.

    :param write: writes to the terminal, at once.
    :param size: bytes of the input, if that is known.
    :param shared: whether the output goes to the same terminal.
    """

    def __init__(self, clock: Clock, write: Callable[[str], object], size: int | None, shared: bool) -> None:
        self._clock = clock
        self._write = write
        self._size = size
        self._shared = shared
        self._bytes = 0
        self._lines = 0
        self._begun = False
        self._shown_at: float | None = None
        #: Whether it stands on the screen now.
        self.visible = False

    def read(self, size: int, lines: int) -> None:
        """So much more was read."""
        self._bytes += size
        self._lines += lines

    def look(self, waiting: int) -> None:
        """So many messages are on their way: show that, if it is time to."""
        self._begun = self._begun or waiting >= LARGE
        now = self._clock.seconds()
        if not self._begun or (self._shown_at is not None and now - self._shown_at < PAUSE):
            return
        self._shown_at = now
        self.visible = True
        share = f", {min(100, self._bytes * 100 // self._size)} % read" if self._size else ""
        self._write(f"{CLEAR}{self._lines - waiting:,} stored, {waiting:,} on their way{share}")

    def clear(self) -> None:
        """Something else is to stand there."""
        if self.visible:
            self.visible = False
            self._write(CLEAR)

    def make_way(self) -> bytes:
        """Output is about to be written: what it has to begin with. (It is written later, by a thread, when
        the line may stand there again.)"""
        self.clear()
        return CLEAR.encode("ascii") if self._shared and self._begun else b""

    def around(self, tell: Callable[[str], None]) -> Callable[[str], None]:
        """``tell``, with the line out of its way."""

        def told(text: str) -> None:
            self.clear()
            tell(text)

        return told
