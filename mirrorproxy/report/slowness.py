"""Which groups got slower than the rest of the run did.

Pure. A target is rarely as fast as production, and that says nothing: what counts is a
group that stands out. It does when its median, against production's, is at least FACTOR
times what it is for the others, further out than they lie apart, and by a time that can
be measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from mirrorproxy.report.groups import Group, Key

FACTOR: Final = 1.8
LEAST_ANSWERS: Final = 20
LEAST_US: Final = 1000.0
_SPREADS: Final = 4.0


class Slow(NamedTuple):
    """A group that stands out. ratio: its median to production's; others: the others'."""

    key: Key
    answers: int
    ratio: float
    others: float


class _Timed(NamedTuple):
    key: Key
    answers: int
    production_us: float
    target_us: float

    @property
    def ratio(self) -> float:
        return max(self.target_us, 1.0) / max(self.production_us, 1.0)


def slow_groups(known: Iterable[tuple[Key, Group]]) -> list[Slow]:
    """Return the groups that stand out; none where there is nothing to compare them with."""
    timed = [
        _Timed(
            key,
            group.target.count,
            group.production.quantile(0.5),
            group.target.quantile(0.5),
        )
        for key, group in known
        if group.target.count >= LEAST_ANSWERS
    ]
    slow: list[Slow] = []
    for one in timed:
        others = [
            other for other in timed if other.key.target == one.key.target and other is not one
        ]
        if not others:
            continue
        base = math.exp(_median([(math.log(other.ratio), other.answers) for other in others]))
        apart = _median([(abs(math.log(other.ratio / base)), other.answers) for other in others])
        # What is waited for at a busy target is the same for all, not in proportion.
        wait_us = max(
            _median([(other.target_us - other.production_us, other.answers) for other in others]),
            0.0,
        )
        expected_us = max(one.production_us * base, one.production_us + wait_us)
        if (
            one.ratio >= base * FACTOR
            and math.log(one.ratio / base) >= _SPREADS * apart
            and one.target_us >= expected_us * FACTOR**0.5
            and one.target_us - expected_us >= LEAST_US
        ):
            slow.append(Slow(one.key, one.answers, one.ratio, base))
    return slow


def _median(values: list[tuple[float, int]]) -> float:
    """Return the median of values that count as often as their weights say."""
    values = sorted(values)
    half = sum(weight for _, weight in values) / 2
    seen = 0
    for value, weight in values:
        seen += weight
        if seen >= half:
            return value
    return 0.0
