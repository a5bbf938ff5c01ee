"""The schedule: when a captured moment is due in the replay.

Pure. Due times are absolute on one monotonic clock: nothing waits relative to
the shot before, so lateness never adds up.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mirrorproxy.errors import ConfigError

MAX_SPEED = math.inf
"""As fast as the targets answer: nothing is due at a time of its own."""

SLOWEST = 0.1
FASTEST = 1000.0
_PER_S = 1_000_000


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
