"""The schedule: when a captured moment is due in the replay.

Pure. Due times are absolute on one monotonic clock: nothing waits relative to
the shot before, so lateness never adds up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from mirrorproxy.errors import ConfigError

MAX_SPEED = math.inf
"""As fast as the targets answer: nothing is due at a time of its own."""

SLOWEST = 0.1
FASTEST = 1000.0
_PER_S = 1_000_000

START_DELAY_S = 0.05
"""Time to plan the first shots before the first is due."""


class Schedule(NamedTuple):
    """Maps captured time to due time.

    origin_s: the monotonic time at which captured time first_us is due. speed:
    how many captured seconds pass in one; finite. Workers that must keep step
    share first_us, speed and the wall clock of their origin.
    """

    origin_s: float
    first_us: int
    speed: float

    def due_s(self, captured_us: int) -> float:
        """Return the monotonic time in seconds at which a captured moment is due."""
        return self.origin_s + (captured_us - self.first_us) / (_PER_S * self.speed)

    def later(self, seconds: float) -> Schedule:
        """Return a schedule in which everything is due so much later."""
        return Schedule(self.origin_s + seconds, self.first_us, self.speed)


class Due(Protocol):
    """Gives shots their due times; see `DueTimes`."""

    def due_s(self, started_us: int) -> float:
        """Return when a shot is due that was captured at a moment: asked for as it is planned."""

    def shift(self, seconds: float) -> None:
        """Make everything due so much later."""


class DueTimes:
    """Gives shots their due times, in the order in which they are planned.

    speed: a pace. delay_s: what was captured at a moment is due so much later by
    the wall clock; None makes the first due at once and the others follow it.
    clock_s: monotonic; wall_us: the wall clock when it showed 0.
    """

    def __init__(
        self, speed: float, delay_s: float | None, clock_s: Callable[[], float], wall_us: int
    ) -> None:
        self._speed = speed
        self._clock_s = clock_s
        self._is_pinned = delay_s is not None
        self._schedule: Schedule | None = None
        if delay_s is not None:
            self._schedule = Schedule(delay_s - wall_us / _PER_S, 0, speed)
        self._last_s = -math.inf

    def due_s(self, started_us: int) -> float:
        """Return the monotonic time in seconds at which a captured moment is due."""
        if self._schedule is None:
            self._schedule = Schedule(self._clock_s() + START_DELAY_S, started_us, self._speed)
        due_s = self._schedule.due_s(started_us)
        # What came behind its turn is due when its turn was noticed, not in the past.
        if self._is_pinned:
            due_s = max(due_s, self._clock_s())
        if due_s < self._last_s:
            return self._last_s
        self._last_s = due_s
        return due_s

    def shift(self, seconds: float) -> None:
        """Make everything due so much later."""
        self._last_s += seconds
        if self._schedule is not None:
            self._schedule = self._schedule.later(seconds)


def parse_speed(text: str) -> float:
    """Return a pace: ``max``, or 0.1 to 1000 times the recorded one.

    Raises ConfigError, which says what is expected.
    """
    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not SLOWEST <= speed <= FASTEST:
        raise ConfigError(f"expected {SLOWEST:g} to {FASTEST:g}, or max", file="--speed")
    return speed
