"""The forecast of a replay: what would be sent, at which rate, to whom, for how long.

Pure. Shots in, lines or JSON out; nothing is sent and nothing of a shot is kept but
sums.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mirrorproxy.report.printable import printable
from mirrorproxy.shot import Shot
from mirrorproxy.units import format_duration, format_size

_PER_S = 1_000_000


class Terms(NamedTuple):
    """How a target would be sent to.

    url: of the target. rate: requests a second at most, None for no limit. max_shots,
    max_duration_s: in all, None for no limit. ramp_s: 0 for none. backoff: in words, "" for
    none.
    """

    url: str
    rate: float | None
    concurrency: int
    max_shots: int | None
    max_duration_s: float | None
    ramp_s: float
    backoff: str


class _Sums:
    """What one target would be sent."""

    def __init__(self) -> None:
        self.shots = 0
        self.methods: Counter[str] = Counter()
        self.body_bytes = 0
        self.first_us = 0
        self.last_us = 0
        self.peak = 0
        self._second = -1
        self._in_second = 0

    def add(self, shot: Shot, speed: float) -> None:
        if not self.shots:
            self.first_us = shot.started_us
        self.shots += 1
        self.methods[shot.method] += 1
        self.body_bytes += shot.body_bytes
        self.last_us = max(self.last_us, shot.started_us)
        if math.isinf(speed):
            return
        second = int((shot.started_us - self.first_us) / (_PER_S * speed))
        # What was captured late is sent when its turn is noticed.
        if second > self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        self.peak = max(self.peak, self._in_second)


class Forecast:
    """Adds up what would be sent.

    terms: by target. speed: a pace, or infinity for as fast as the targets answer.
    """

    def __init__(self, terms: Mapping[str, Terms], speed: float) -> None:
        self._terms = terms
        self._speed = speed
        self._sums = {name: _Sums() for name in terms}

    def add(self, shot: Shot) -> None:
        """Take a shot that would be sent."""
        self._sums[shot.target].add(shot, self._speed)

    @property
    def shots(self) -> int:
        """How many would be sent."""
        return sum(self._shots(name) for name in self._sums)

    def lines(self) -> list[str]:
        """Return it for people, some lines for each target."""
        return [f"{name:<11} {text}" for target in self._sums for name, text in self._rows(target)]

    def to_json(self) -> dict[str, Any]:
        """Return it by target. Rates are requests a second; null where nothing bounds them."""
        return {
            name: {
                "url": self._terms[name].url,
                "shots": self._shots(name),
                "methods": dict(sums.methods.most_common()),
                "body_bytes": sums.body_bytes,
                "mean_rate": self._mean(name),
                "peak_rate": self._peak(name),
                "seconds": self._seconds(name),
            }
            for name, sums in self._sums.items()
        }

    def _rows(self, name: str) -> Iterator[tuple[str, str]]:
        terms, sums = self._terms[name], self._sums[name]
        yield "target", f"{printable(name)}: {terms.url}"
        methods = ", ".join(f"{printable(m)} {n:,}" for m, n in sums.methods.most_common())
        shots = f"{self._shots(name):,}"
        if sums.shots > self._shots(name):
            shots += f" of {sums.shots:,}, the budget"
        if sums.shots:
            shots += f" ({methods}), bodies {format_size(sums.body_bytes)}"
        yield "shots", shots
        if not sums.shots:
            return
        mean, peak, seconds = self._mean(name), self._peak(name), self._seconds(name)
        if mean is None or peak is None or seconds is None:
            yield (
                "rate",
                f"as fast as it answers, {terms.concurrency:,} at a time"
                + ("" if terms.rate is None else f", at most {terms.rate:,g} a second"),
            )
        else:
            yield "rate", f"{mean:,.3g} a second on average, {peak:,.3g} in the busiest second"
            yield "takes", format_duration(seconds)
        if terms.ramp_s:
            yield "ramp", f"ever more for {format_duration(terms.ramp_s)}"
        if terms.backoff:
            yield "back-off", f"at {terms.backoff}"

    def _shots(self, name: str) -> int:
        shots, most = self._sums[name].shots, self._terms[name].max_shots
        return shots if most is None else min(shots, most)

    def _seconds(self, name: str) -> float | None:
        """Return how long it takes; None if only the target decides."""
        terms, sums = self._terms[name], self._sums[name]
        if math.isinf(self._speed):
            return None
        seconds = (sums.last_us - sums.first_us) / (_PER_S * self._speed)
        if terms.max_shots is not None and sums.shots > terms.max_shots:
            seconds *= terms.max_shots / sums.shots
        return seconds if terms.max_duration_s is None else min(seconds, terms.max_duration_s)

    def _mean(self, name: str) -> float | None:
        sums, rate = self._sums[name], self._terms[name].rate
        if math.isinf(self._speed):
            return None
        seconds = max((sums.last_us - sums.first_us) / (_PER_S * self._speed), 1.0)
        mean = sums.shots / seconds
        return mean if rate is None else min(mean, rate)

    def _peak(self, name: str) -> float | None:
        rate = self._terms[name].rate
        if math.isinf(self._speed):
            return None
        peak = float(self._sums[name].peak)
        return peak if rate is None else min(peak, rate)
