"""Which groups got slower than the rest of the run did.

Pure. A target is rarely as fast as production, and that says nothing: it may be slower in
proportion (another machine), by a constant (a network, a queue), or both. What counts is
a group that stands out from what the other groups of its target suggest, at the median and
at the lower quartile, where waiting for others matters least, and by a time that can be
measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from mirrorproxy.report.groups import Group, Key

LEAST_ANSWERS: Final = 20
LEAST_US: Final = 1000.0
FACTOR: Final = 1.5

_LOW: Final = 0.05
_QUARTILE: Final = 0.25
_MEDIAN: Final = 0.5
_UPPER: Final = 0.75
_SPREADS: Final = 4.0
_NEAR: Final = 2.0
"""Up to this many times longer or shorter another group is of the same kind."""
_LEAST_NEAR: Final = 3
_BUSY: Final = 0.5
"""From this share of the median on the middle half of a target's durations is mostly waiting."""
_BUSY_SLOPE: Final = 1.5
_MOST_OTHERS: Final = 100


class Slow(NamedTuple):
    """A group that stands out. Medians in microseconds.

    answers: that were timed. suggested_us: what it would be if it were like the others.
    """

    key: Key
    answers: int
    production_us: float
    target_us: float
    suggested_us: float

    @property
    def times(self) -> float:
        """How many times slower than suggested."""
        return self.target_us / max(self.suggested_us, 1.0)


class _Timed(NamedTuple):
    """The quantiles of a group in production and at the target, in microseconds."""

    key: Key
    answers: int
    production_us: dict[float, float]
    target_us: dict[float, float]

    @property
    def spread_us(self) -> float:
        """How wide the middle half lies at the target."""
        return self.target_us[_UPPER] - self.target_us[_QUARTILE]

    def ratio(self, share: float) -> float:
        """The target's quantile to production's."""
        return self.target_us[share] / max(self.production_us[share], 1.0)


def slow_groups(known: Iterable[tuple[Key, Group]]) -> list[Slow]:
    """Return the groups that stand out; none where there is nothing to compare them with."""
    by_target: dict[str, list[_Timed]] = {}
    for key, group in known:
        if group.target.count >= LEAST_ANSWERS:
            by_target.setdefault(key.target, []).append(_timed(key, group))
    found = []
    for timed in by_target.values():
        timed.sort(key=lambda one: -one.answers)
        found += [slow for one in timed if (slow := _judged(one, timed)) is not None]
    return found


def _timed(key: Key, group: Group) -> _Timed:
    shares = (_LOW, _QUARTILE, _MEDIAN, _UPPER)
    return _Timed(
        key,
        group.target.count,
        {share: group.production.quantile(share) for share in shares},
        {share: group.target.quantile(share) for share in shares},
    )


def _judged(one: _Timed, timed: list[_Timed]) -> Slow | None:
    """Return what is said of a group, None if it is not slow. timed: the largest first."""
    others = [other for other in timed[:_MOST_OTHERS] if other is not one]
    if not others:
        return None
    suggested_us = 0.0
    for share in (_QUARTILE, _MEDIAN):
        suggested_us, apart_us = _suggested(one, others, share)
        excess_us = one.target_us[share] - suggested_us
        chance_us = max(apart_us, one.spread_us / math.sqrt(one.answers))
        if (
            excess_us < max(LEAST_US, _SPREADS * chance_us)
            or one.target_us[share] < FACTOR * suggested_us
        ):
            return None
    return Slow(
        one.key, one.answers, one.production_us[_MEDIAN], one.target_us[_MEDIAN], suggested_us
    )


def _suggested(one: _Timed, others: list[_Timed], share: float) -> tuple[float, float]:
    """Return what others suggest for a quantile of a group, and how far they lie from that."""
    here_us = one.production_us[share]
    near = [
        other
        for other in others
        if here_us / _NEAR <= other.production_us[share] <= here_us * _NEAR
    ]
    if len(near) >= _LEAST_NEAR:
        # What took as long in production tells without any assumption.
        ratio = _median([(other.ratio(share), other.answers) for other in near])
        apart = _median([(abs(other.ratio(share) - ratio), other.answers) for other in near])
        return here_us * ratio, here_us * apart
    suggested_us = apart_us = 0.0
    for slope in _slopes(others):
        rests = [
            (other.target_us[share] - slope * other.production_us[share], other.answers)
            for other in others
        ]
        constant_us = _median(rests)
        # The most that is plausible: only what is above that is said to be slow.
        suggested_us = max(suggested_us, constant_us + slope * here_us)
        apart_us = max(
            apart_us, _median([(abs(rest - constant_us), weight) for rest, weight in rests])
        )
    return suggested_us, apart_us


def _slopes(others: list[_Timed]) -> tuple[float, float]:
    """Return by how much a target may be slower in proportion: not at all, or as its fastest are.

    Where it is busy these wait, too, and tell nothing.
    """
    slope = _median([(other.ratio(_LOW), other.answers) for other in others])
    width = _median(
        [(other.spread_us / max(other.target_us[_MEDIAN], 1.0), other.answers) for other in others]
    )
    return 1.0, min(slope, _BUSY_SLOPE) if width >= _BUSY else slope


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
