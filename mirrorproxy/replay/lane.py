"""The lane of one target: what is due and waits for the target's limits.

Owns the order in which due shots of one target leave (first due, first sent),
and the decision to send, hold or shed. The time is handed in; sending is a
function it is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.limits import Limits, RateLimit

MAX_LAG = "max_lag"


class Lane:
    """What is due for one target.

    limits: of the target. send: puts a flight on its way. shed: takes one that
    will not be sent, with the reason. is_paced: whether shots have due times
    of their own; without them nothing is ever late.
    """

    def __init__(
        self,
        limits: Limits,
        send: Callable[[Lane, Flight], None],
        shed: Callable[[Flight, str], None],
        *,
        is_paced: bool,
    ) -> None:
        self._limits = limits
        self._rate = RateLimit(limits.rate) if limits.rate is not None else None
        self._send = send
        self._shed = shed
        self._max_lag_s = limits.max_lag_s if is_paced else None
        self.waiting: deque[Flight] = deque()
        self.in_flight = 0
        self.timeout_s = limits.timeout_s

    def admit(self, flight: Flight) -> None:
        """Take a flight whose time has come; `pump` sends it."""
        self.waiting.append(flight)

    def pump(self, now_s: float) -> None:
        """Send what the limits allow, in order, and shed what is overdue by too much."""
        waiting = self.waiting
        while waiting:
            flight = waiting[0]
            if self._max_lag_s is not None and now_s - flight.due_s > self._max_lag_s:
                waiting.popleft()
                self._shed(flight, MAX_LAG)
                continue
            if self.in_flight >= self._limits.concurrency or (
                self._rate is not None and not self._rate.take(now_s)
            ):
                self._hold()
                return
            waiting.popleft()
            self.in_flight += 1
            self._send(self, flight)

    def _hold(self) -> None:
        # From the newest back to the first that was held before: each is marked once.
        for flight in reversed(self.waiting):
            if flight.lag_cause == "limit":
                return
            flight.lag_cause = "limit"
