"""Histograms of durations, in memory that does not grow with what is counted.

Pure. Buckets are as wide as 1/64 of their value: a percentile is at most
1.6 percent too high, and exact below 64 units.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from operator import add

_SUB_BITS = 6
_LINEAR = 1 << (_SUB_BITS + 1)
_MAX_VALUE = (1 << 50) - 1
_BUCKETS = _LINEAR + (50 - _SUB_BITS - 1) * (1 << _SUB_BITS)


class Histogram:
    """Counts whole numbers from 0 to 2**50; smaller and larger ones count as these."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.max: int | None = None
        self._above = -1  # max, as a number that can be compared

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def add(self, value: int) -> None:
        """Count one value."""
        if 0 <= value < _LINEAR:
            self._counts[value] += 1
        else:
            if not 0 <= value <= _MAX_VALUE:
                value = 0 if value < 0 else _MAX_VALUE
            self._counts[_bucket(value)] += 1
        if value > self._above:
            self.max = self._above = value

    @classmethod
    def total(cls, parts: Iterable[Histogram]) -> Histogram:
        """Return a histogram of everything that the parts have counted."""
        whole = cls()
        for part in parts:
            if part.max is not None:
                whole._counts = array("Q", map(add, whole._counts, part._counts))
                whole.max = whole._above = max(whole._above, part.max)
        return whole

    def percentile(self, percent: float) -> int | None:
        """Return the value that percent of all values do not exceed; None without values.

        percent: above 0, at most 100.
        """
        if not 0 < percent <= 100:
            raise ValueError(f"a percentile is above 0 and at most 100, not {percent}")
        if self.max is None:
            return None
        wanted = self.count * percent / 100
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(_highest(bucket), self.max)
        return self.max


def _bucket(value: int) -> int:
    if value < _LINEAR:
        return value
    shift = value.bit_length() - _SUB_BITS - 1
    return (shift << _SUB_BITS) + (value >> shift)


def _highest(bucket: int) -> int:
    if bucket < _LINEAR:
        return bucket
    shift = (bucket >> _SUB_BITS) - 1
    return ((bucket - (shift << _SUB_BITS) + 1) << shift) - 1
