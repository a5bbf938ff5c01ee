"""The lane of one target: what is due and waits for the target's limits.

Owns the order in which due shots of one target leave (first due, first sent),
and the decision to send, hold or shed. The time is handed in; sending is a
function it is given.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from mirrorproxy.replay.backoff import Backoff
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.limits import Limits, RateLimit
from mirrorproxy.shot import Shot

MAX_LAG = "max_lag"
BUDGET = "budget"


class Lane:
    """What is due for one target.

    limits: of the target. send: puts a flight on its way. shed: takes one that
    will not be sent, with the reason. is_paced: whether shots have due times
    of their own; without them nothing is ever late. now_s: the time. backoff: hears of
    everything that is sent, None without one. probes: so many leave whatever holds the rest.
    prepare: readies a flight at the last moment, or says why it is not to be sent.
    """

    def __init__(
        self,
        limits: Limits,
        send: Callable[[Lane, Flight], None],
        shed: Callable[[Flight, str], None],
        *,
        is_paced: bool,
        now_s: float,
        prepare: Callable[[Flight], str | None] | None = None,
    ) -> None:
        self._limits = limits
        self._concurrency = limits.concurrency
        self._rate = RateLimit(limits.rate) if limits.rate is not None else None
        self._send = send
        self._shed = shed
        self._prepare = prepare
        self._max_lag_s = limits.max_lag_s if is_paced else None
        self.waiting: deque[Flight] = deque()
        self.in_flight = 0
        self._sent = 0
        self._since_s = now_s
        self._full_rate: float | None = None
        self._is_whole = True
        self.timeout_s = limits.timeout_s
        self.backoff = None if limits.backoff is None else Backoff(limits.backoff)
        self.probes = 0
        # Counted down; below 0 from the start where there is no such budget.
        self._shots_left = -1 if limits.max_shots is None else limits.max_shots
        self._ends_s = math.inf

    def admit(self, flight: Flight) -> None:
        """Take a flight whose time has come; `pump` sends it."""
        self.waiting.append(flight)

    def pump(self, now_s: float) -> None:
        """Send what the limits allow, in order, and shed what is overdue by too much."""
        waiting = self.waiting
        while waiting:
            flight = waiting[0]
            if self._shots_left == 0 or now_s >= self._ends_s:
                self._shed(waiting.popleft(), BUDGET)
                continue
            if self._max_lag_s is not None and now_s - flight.due_s > self._max_lag_s:
                waiting.popleft()
                self._shed(flight, MAX_LAG)
                continue
            if self.in_flight >= self._concurrency or (
                self._rate is not None and not self._rate.take(now_s)
            ):
                if not self.probes:
                    self._hold()
                    return
                self.probes -= 1
            waiting.popleft()
            if self._prepare is not None and (reason := self._prepare(flight)) is not None:
                self._shed(flight, reason)
                continue
            self.in_flight += 1
            self._sent += 1
            self._shots_left -= 1
            self._send(self, flight)

    def has_spare(self, now_s: float) -> bool:
        """Tell whether a request that is no shot may go out now; what may is in flight then."""
        if self.waiting or not self._is_whole or self.is_spent(now_s):
            return False
        if self.in_flight >= self._concurrency:
            return False
        if self._rate is not None and not self._rate.take(now_s):
            return False
        self.in_flight += 1
        self._shots_left -= 1
        return True

    def start(self, now_s: float) -> None:
        """Begin to count the time that the target may be sent to."""
        if self._limits.max_duration_s is not None:
            self._ends_s = now_s + self._limits.max_duration_s

    def is_spent(self, now_s: float) -> bool:
        """Whether the target has had all that it may be sent."""
        return self._shots_left == 0 or now_s >= self._ends_s

    def cull(self, refuses: Callable[[Shot], str | None]) -> list[tuple[Flight, str]]:
        """Take out, and return with the reason, what waits and is refused."""
        judged = [(flight, refuses(flight.shot)) for flight in self.waiting]
        self.waiting = deque(flight for flight, reason in judged if reason is None)
        return [(flight, reason) for flight, reason in judged if reason is not None]

    def throttle(self, share: float, now_s: float) -> None:
        """Send only a share, 0 to 1, of what would go out without due times.

        There the limits alone decide how fast shots leave, so they are lowered.
        A target that answers at once is not slowed by fewer requests at a time:
        a share of the rate that it was sent until now bounds it too.
        """
        limits = self._limits
        self._concurrency = math.ceil(limits.concurrency * share)
        if share >= 1:
            self._is_whole, self._full_rate, self._sent, self._since_s = True, None, 0, now_s
            self._rate = RateLimit(limits.rate) if limits.rate is not None else None
            return
        # What was sent while it was throttled, as by a ramp from the start, was not the full rate.
        if self._is_whole and self._sent and now_s > self._since_s:
            self._full_rate = self._sent / (now_s - self._since_s)
        self._is_whole = False
        rates = [rate * share for rate in (limits.rate, self._full_rate) if rate is not None]
        # With a share of 0 no request is allowed at a time, so no rate is needed.
        self._rate = RateLimit(min(rates)) if rates and share > 0 else None

    def _hold(self) -> None:
        # From the newest back to the first that was held before: each is marked once.
        for flight in reversed(self.waiting):
            if flight.lag_cause == "limit":
                return
            flight.lag_cause = "limit"
