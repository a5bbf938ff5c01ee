"""The time that a function has left, and what is done with it.

Pure: clocks are handed in. Lambda ends a call that is not over in time, without a word:
so each stops well before and hands on what is left.
"""

from __future__ import annotations

from collections.abc import Callable

MARGIN_SHARE = 0.15
MIN_MARGIN_S = 1.5
MAX_MARGIN_S = 10.0
"""What is kept for handing on: a share of the time, within these bounds."""


class Deadline:
    """When this call is ended. left_s: seconds that it has now; clock_s: monotonic."""

    def __init__(self, left_s: float, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self.whole_s = left_s
        self.at_s = clock_s() + left_s
        self.margin_s = min(MAX_MARGIN_S, max(MIN_MARGIN_S, left_s * MARGIN_SHARE))

    @property
    def hand_on_s(self) -> float:
        """The monotonic time from which on nothing is begun, only handed on."""
        return self.at_s - self.margin_s

    @property
    def last_s(self) -> float:
        """The monotonic time up to which handing on may be tried."""
        return self.at_s - self.margin_s / 4

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return self.at_s - self._clock_s()
