"""Searching a room's log from its end towards its beginning, bounded in what is found and in what is
looked at."""

from __future__ import annotations

from collections.abc import Iterable

from encchat.core.interfaces import Findings
from encchat.core.words import matches

#: Entries that one search looks at; whoever wants to go further asks again from where it ended.
MAX_LOOKS = 20_000


class Search:
    """Takes frames, the latest first, until there is enough.

    :param before: entries with seq below this are looked at; those given follow it downwards.
    """

    def __init__(self, words: frozenset[str], before: int, limit: int, size: int) -> None:
        self.words = words
        self._limit = limit
        self._size = size
        self._found: list[bytes] = []
        self._looks = 0
        #: The seq of the last entry that was looked at.
        self.reached = before

    def take(self, frames: Iterable[bytes]) -> bool:
        """Look at the frames in order; whether further ones are wanted."""
        for frame in frames:
            if matches(frame, self.words):
                if self._found and len(frame) > self._size:
                    return False
                self._size -= len(frame)
                self._found.append(frame)
            self.reached -= 1
            self._looks += 1
            if len(self._found) == self._limit or self._looks == MAX_LOOKS:
                return False
        return True

    def skip(self, seq: int) -> None:
        """Entries from ``seq`` on are known not to match."""
        self.reached = min(self.reached, seq)

    def findings(self, floor: int) -> Findings:
        """What was found, in a log that begins after seq ``floor``."""
        return Findings(self._found[::-1], self.reached, self.reached > floor + 1)
