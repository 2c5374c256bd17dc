"""Latencies, counted in buckets whose width grows with the value, as in an HDR histogram.

A value is kept to within 1/128 of itself (0.8 %), from a microsecond to hours, in a few hundred counters; so
that recording costs the same however many there are, and histograms of several runs can be added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

#: Buckets in each power of two.
_STEPS = 128
_BITS = _STEPS.bit_length() - 1


class Histogram:
    """Counts values in microseconds."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.largest = 0

    def record(self, value: int) -> None:
        """Count one value, in microseconds; a negative one as 0."""
        value = max(0, value)
        shift = max(0, value.bit_length() - _BITS - 1)
        self._counts[(shift << 16) | (value >> shift)] += 1
        self.count += 1
        self.largest = max(self.largest, value)

    def extend(self, values: Iterable[int]) -> None:
        """Count several."""
        for value in values:
            self.record(value)

    def percentile(self, percent: float) -> float:
        """The value, in milliseconds, that ``percent`` of all are not above; 0 when there is none."""
        wanted = self.count * percent / 100
        seen = 0
        for key in sorted(self._counts, key=_upper):
            seen += self._counts[key]
            if seen >= wanted:
                return min(_upper(key), self.largest) / 1000
        return 0.0

    def summary(self) -> dict[str, float]:
        """p50, p99, p99.9 and the largest, in milliseconds."""
        return {
            "p50_ms": self.percentile(50),
            "p99_ms": self.percentile(99),
            "p999_ms": self.percentile(99.9),
            "max_ms": self.largest / 1000,
        }


def _upper(key: int) -> int:
    """The largest value that the bucket counts."""
    shift, value = key >> 16, key & 0xFFFF
    return ((value + 1) << shift) - 1
