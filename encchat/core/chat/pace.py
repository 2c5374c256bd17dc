"""When the next entries go out: the busier the fan-out, the more of them together.

A write to each of many members costs nearly the same for one entry as for twenty. So, after a fan-out that
took long, the next one waits a little for what comes meanwhile: one that took no time waits for none, and no
wait is long enough for a person to notice.
"""

from __future__ import annotations

#: A fan-out rests for so many times as long as the last one took.
REST = 2.0
#: Seconds that it rests at most; and below which it is not worth a timer.
LONGEST, SHORTEST = 0.006, 0.0005


class Pace:
    """Told what each fan-out took; tells how long the next one should wait."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = 0.0

    def worked(self, began: float, ended: float) -> None:
        """A fan-out ran between these times, in seconds from any fixed origin."""
        rest = min(LONGEST, REST * (ended - began))
        if rest >= SHORTEST:
            self._until = max(self._until, ended + rest)

    def wait(self, now: float) -> float:
        """Seconds from now until the next one should begin; 0 for at once."""
        return max(0.0, min(self._until - now, LONGEST))
