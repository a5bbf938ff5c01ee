"""Limits of a target as a rule file says them: checked, and ready to use.

Pure. How fast, how much at once and how much in all; and at which signs a replay
backs off by itself.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from msgspec import UNSET

from mirrorproxy.rules.patterns import Fault, KeyPath
from mirrorproxy.rules.schema import Backoff, Limits
from mirrorproxy.units import parse_duration

_TIMES = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?x")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")

MAX_TIMES = 1000
MIN_WINDOW_S, MAX_WINDOW_S = 0.2, 60.0


class TargetLimits(NamedTuple):
    """rate: requests a second, None for no limit. concurrency: requests in flight at once.

    max_shots, max_duration_s: what the target is sent in all, None for no limit.
    """

    rate: float | None
    concurrency: int
    timeout_s: float
    max_lag_s: float
    max_shots: int | None = None
    max_duration_s: float | None = None


class BackoffLimits(NamedTuple):
    """At which signs of a target less is sent to it; a share is from 0 to 1.

    p95_s: of its latency. p95_times: the same, as a multiple of production's p95 for
    the same exchanges; at most one of the two. errors: share of failures and of
    answers 429 and 5xx that production did not give. timeouts: share of answers that
    did not come in time. floor: least share that is sent while the target answers at
    all. increase: what the share grows in a second once all is well. window_s: over
    what time the signs are looked at.
    """

    p95_s: float | None = None
    p95_times: float | None = None
    errors: float | None = 0.05
    timeouts: float | None = None
    floor: float = 0.01
    increase: float = 0.1
    window_s: float = 1.0


def compile_limits(limits: Limits, at: KeyPath) -> TargetLimits:
    """Return the limits of a target. Raises Fault."""
    if limits.rate is not UNSET and not 0 < limits.rate <= 1e7:
        raise Fault("expected a number of requests a second above 0", (*at, "rate"))
    if not 1 <= limits.concurrency <= 100_000:
        raise Fault("expected a number from 1 to 100000", (*at, "concurrency"))
    if limits.timeout <= 0:
        raise Fault("expected a duration above 0", (*at, "timeout"))
    if limits.max_shots is not UNSET and limits.max_shots < 1:
        raise Fault("expected a number above 0", (*at, "max_shots"))
    if limits.max_duration is not UNSET and limits.max_duration <= 0:
        raise Fault("expected a duration above 0", (*at, "max_duration"))
    return TargetLimits(
        None if limits.rate is UNSET else limits.rate,
        limits.concurrency,
        float(limits.timeout),
        float(limits.max_lag),
        None if limits.max_shots is UNSET else limits.max_shots,
        None if limits.max_duration is UNSET else float(limits.max_duration),
    )


def compile_backoff(backoff: Backoff, at: KeyPath) -> BackoffLimits:
    """Return the back-off of a target. Raises Fault."""
    p95_s, p95_times = None, None
    if backoff.p95 is not UNSET:
        p95_s, p95_times = _p95(backoff.p95, (*at, "p95"))
    errors = None if backoff.errors is None else _share(backoff.errors, (*at, "errors"))
    timeouts = None
    if backoff.timeouts is not UNSET:
        timeouts = _share(backoff.timeouts, (*at, "timeouts"))
    if p95_s is p95_times is errors is timeouts is None:
        raise Fault("expected at least one of p95, errors and timeouts", at)
    floor, increase = (_share(getattr(backoff, key), (*at, key)) for key in ("floor", "increase"))
    if not increase:
        raise Fault("expected a percentage above 0%", (*at, "increase"))
    window_s = float(backoff.window)
    if not MIN_WINDOW_S <= window_s <= MAX_WINDOW_S:
        raise Fault(
            f"expected a duration from {MIN_WINDOW_S:g}s to {MAX_WINDOW_S:g}s", (*at, "window")
        )
    return BackoffLimits(p95_s, p95_times, errors, timeouts, floor, increase, window_s)


def _p95(value: str | float, at: KeyPath) -> tuple[float | None, float | None]:
    """Return seconds, or how many times production's p95."""
    if isinstance(value, str) and (match := _TIMES.fullmatch(value.strip())):
        times = float(match[1])
        if not 1 <= times <= MAX_TIMES:
            raise Fault(f"expected from 1x to {MAX_TIMES}x", at)
        return None, times
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = 0.0
    if not seconds:
        raise Fault(
            "expected a duration such as 800ms, or a multiple of production's such as 2x", at
        )
    return seconds, None


def _share(value: str | float, at: KeyPath) -> float:
    """Return a percentage as a share from 0 to 1."""
    percent = math.nan
    if isinstance(value, str):
        if match := _PERCENT.fullmatch(value.strip()):
            percent = float(match[1])
    else:
        percent = value
    if not 0 <= percent <= 100:
        raise Fault("expected a percentage such as 5%", at)
    return percent / 100
