"""What keeps a bad disk, and the log about it, away from the requests.

Pure: moments are passed in, in seconds of a monotonic clock.
"""

from __future__ import annotations

RETRY_S = 1.0
"""How long the spool is left alone after it failed or hung."""

SLOW_APPEND_S = 0.25
"""An append that takes longer holds up every request of its worker: the disk hangs."""


class Breaker:
    """Says whether the spool may be touched: not for a second after it failed."""

    __slots__ = ("_closed_at", "_reason")

    def __init__(self) -> None:
        self._reason: str | None = None
        self._closed_at = 0.0

    @property
    def is_set(self) -> bool:
        """Whether it has to be asked at all; saves reading the clock on good days."""
        return self._reason is not None

    def open(self, now_s: float, reason: str) -> None:
        """Leave the spool alone for a second. reason: the counter of what is dropped meanwhile."""
        self._reason = reason
        self._closed_at = now_s + RETRY_S

    def reason(self, now_s: float) -> str | None:
        """Return why the spool must not be touched now, None if it may."""
        if self._reason is not None and now_s >= self._closed_at:
            self._reason = None
        return self._reason


class Complaints:
    """Adds up what is to be logged, so that it is at most one line a second."""

    __slots__ = ("_count", "_next_at")

    def __init__(self) -> None:
        self._count = 0
        self._next_at = float("-inf")

    def add(self, now_s: float) -> int:
        """Count one; return how many to report now, 0 to stay silent."""
        self._count += 1
        if now_s < self._next_at:
            return 0
        self._next_at = now_s + 1.0
        count, self._count = self._count, 0
        return count
