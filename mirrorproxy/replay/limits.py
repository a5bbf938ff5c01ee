"""Limits of one target: how fast, how many at once, how long, how late.

Pure: the time is handed in.
"""

from __future__ import annotations

import msgspec

from mirrorproxy.rules.limits import BackoffLimits

DEFAULT_CONCURRENCY = 256
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_MAX_LAG_S = 5.0

_BURST_S = 0.005
"""A sender that wakes up every few milliseconds must be able to catch up with its rate."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one target is sent at most.

    rate: requests per second, None for no limit. concurrency: requests
    without an answer. timeout_s: from sending to the answer's last byte.
    max_lag_s: what is overdue by more is shed, None sheds nothing. max_shots,
    max_duration_s: in all, None for no limit. ramp_s: over what time ever more is sent at
    the start. backoff: at which signs less is sent, None at none.
    """

    rate: float | None = None
    concurrency: int = DEFAULT_CONCURRENCY
    timeout_s: float | None = DEFAULT_TIMEOUT_S
    max_lag_s: float | None = DEFAULT_MAX_LAG_S
    max_shots: int | None = None
    max_duration_s: float | None = None
    ramp_s: float = 0.0
    backoff: BackoffLimits | None = None

    def shared_by(self, senders: int) -> Limits:
        """Return what one of so many senders that send at the same time may send."""
        return msgspec.structs.replace(
            self,
            rate=None if self.rate is None else self.rate / senders,
            concurrency=max(1, self.concurrency // senders),
            max_shots=None if self.max_shots is None else max(1, self.max_shots // senders),
        )


class RateLimit:
    """Lets through a number of requests a second, evenly: the generic cell rate algorithm.

    rate: requests per second, above 0. At most 5 ms worth of them, or one,
    goes out at once.
    """

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ValueError(f"a rate is above 0, not {rate}")
        self._interval_s = 1 / rate
        self._tolerance_s = max(_BURST_S - self._interval_s, 0.0)
        self._next_s = float("-inf")

    def take(self, now_s: float) -> bool:
        """Let one request through at this moment, or return False."""
        if now_s < self._next_s - self._tolerance_s:
            return False
        self._next_s = max(self._next_s, now_s) + self._interval_s
        return True
