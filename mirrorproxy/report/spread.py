"""Spreads of durations: a small histogram for each of many groups.

Pure. Buckets are as wide as 1/16 of their value, and the middle of one stands for all in
it: 3 percent are enough to say that something got slower, and hundreds of groups fit.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

_SUB_BITS: Final = 4
_LINEAR: Final = 1 << (_SUB_BITS + 1)
_MAX_VALUE: Final = (1 << 36) - 1  # microseconds: nineteen hours
_BUCKETS: Final = _LINEAR + (36 - _SUB_BITS - 1) * (1 << _SUB_BITS)


class Spread:
    """Counts whole numbers from 0 to 2**36; smaller and larger ones count as these."""

    def __init__(self) -> None:
        self._counts = array("L", bytes(array("L").itemsize * _BUCKETS))
        self.count = 0

    def add(self, value: int) -> None:
        """Count one value."""
        if value < 0:
            value = 0
        elif value > _MAX_VALUE:
            value = _MAX_VALUE
        if value >= _LINEAR:
            shift = value.bit_length() - _SUB_BITS - 1
            value = (shift << _SUB_BITS) + (value >> shift)
        self._counts[value] += 1
        self.count += 1

    def quantile(self, share: float) -> float:
        """Return the value that a share, 0 to 1, of all do not exceed; 0 without values."""
        wanted = self.count * share
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return _middle(bucket)
        return 0.0

    def to_pairs(self) -> list[tuple[int, int]]:
        """Return the buckets that hold something, with their counts."""
        return [(bucket, count) for bucket, count in enumerate(self._counts) if count]

    def add_pairs(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Add what `to_pairs` of another returned; what is no bucket is passed over."""
        for bucket, count in pairs:
            if 0 <= bucket < _BUCKETS and 0 <= count < 1 << 31:
                self._counts[bucket] += count
                self.count += count


def _middle(bucket: int) -> float:
    if bucket < _LINEAR:
        return float(bucket)
    shift = (bucket >> _SUB_BITS) - 1
    lowest = (bucket - (shift << _SUB_BITS)) << shift
    return lowest + ((1 << shift) - 1) / 2
