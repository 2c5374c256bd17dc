"""How fast a client sends: a token bucket a little slower than the server's, so that a burst that the
network bunches together is not refused. Pure: the time, in seconds from any fixed origin, is handed in."""

from __future__ import annotations

#: The share of the server's limits that we use.
SHARE = 0.9


class Pace:
    """At most ``burst`` at once and ``rate`` a second; a rate of 0 is no limit."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate * SHARE
        self._burst = max(1.0, burst * SHARE)
        self._level = self._burst
        self._at = now

    def ready_at(self, now: float) -> float:
        """When the next one may go: ``now``, or later."""
        self._refill(now)
        return now if not self._rate or self._level >= 1 else now + (1 - self._level) / self._rate

    def spend(self) -> None:
        """One goes, whether or not it may."""
        if self._rate:
            self._level -= 1

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
