"""When to try again: full jitter, without end.

Owns the schedule of attempts. Pure: the time and the randomness are passed in, nothing
sleeps. A random wait between nothing and a limit that doubles spreads those who failed
together; a wait that is clamped after the jitter would bring them back together.
"""

from __future__ import annotations

from collections.abc import Callable

BASE_S = 0.25
LIMIT_S = 30.0

_MAX_DOUBLINGS = 16


def wait_s(
    failures: int, jitter: float, *, base_s: float = BASE_S, limit_s: float = LIMIT_S
) -> float:
    """Return how long to wait after so many failures in a row. jitter: a random number, 0 to 1."""
    return min(limit_s, base_s * 2.0 ** min(failures, _MAX_DOUBLINGS)) * jitter


class RetrySchedule:
    """The attempts at one thing that fails.

    jitter: a number from 0 to 1 at each call. base_s: half the limit of the first wait.
    """

    def __init__(
        self, jitter: Callable[[], float], *, base_s: float = BASE_S, limit_s: float = LIMIT_S
    ) -> None:
        self._jitter = jitter
        self._base_s = base_s
        self._limit_s = limit_s
        self._failures = 0
        self._at: float | None = None
        self.retries = 0

    def failed(self, now: float, limit_s: float | None = None) -> None:
        """Note a failed attempt. limit_s: the longest wait, where it is less than the usual."""
        self.retries += 1
        self._failures += 1
        most_s = self._limit_s if limit_s is None else min(limit_s, self._limit_s)
        self._at = now + wait_s(self._failures, self._jitter(), base_s=self._base_s, limit_s=most_s)

    def succeeded(self) -> None:
        """Note progress: nothing waits, and the next failure is a first one."""
        self._failures = 0
        self._at = None

    def started(self) -> None:
        """Note that an attempt is being made: nothing waits, failures still count."""
        self._at = None

    def hurry(self, now: float, limit_s: float) -> None:
        """Wait no longer than so many seconds from now."""
        if self._at is not None:
            self._at = min(self._at, now + limit_s)

    def is_due(self, now: float) -> bool:
        """Tell whether an attempt may be made."""
        return self._at is None or now >= self._at

    def waits_s(self, now: float) -> float | None:
        """Return the seconds to the next attempt, None when none is waited for."""
        return None if self._at is None else max(0.0, self._at - now)
