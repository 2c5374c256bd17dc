"""Bounds on what one peer may ask for: a token bucket, with the time handed in."""

from __future__ import annotations


class Lines:
    """Lets ``rate`` lines a second into the service's log, ``burst`` at once, and counts the others: so that
    nobody fills the disk by being refused again and again."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._bucket = TokenBucket(rate, burst, now)
        self._left_out = 0

    def another(self, now: float) -> int | None:
        """How many lines were left out since the last one; None if this one is to be left out too."""
        if self._bucket.take(now):
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        return left_out


class TokenBucket:
    """``rate`` tokens a second, at most ``burst`` at once; a rate of 0 is no limit.

    Times are seconds from any fixed origin, and must not go back.
    """

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._level = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take a token and return 0, or take none and return the seconds until there is one."""
        if not self.rate:
            return 0.0
        level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if level >= 1:
            self._level = level - 1
            return 0.0
        self._level = level
        return (1 - level) / self.rate

    def spend(self, tokens: float) -> None:
        """Take ``tokens``, also those that are still to come."""
        self._level -= tokens

    def wait(self, now: float) -> float:
        """The seconds until there is a token; 0 when there is one. Takes none."""
        if not self.rate:
            return 0.0
        level = min(self.burst, self._level + (now - self._at) * self.rate)
        return max(0.0, (1 - level) / self.rate)
