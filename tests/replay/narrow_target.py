"""A target with one queue on a clock of its own, for back-off without a network."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from mirrorproxy.replay.backoff import Backoff, Change
from mirrorproxy.replay.signs import ERROR, GOOD, UNREACHED
from mirrorproxy.rules.limits import BackoffLimits
from mirrorproxy.sampling import fraction

STEP_S = 0.005
SESSIONS = 300


class Answered(NamedTuple):
    """One shot: when it ended, when it left, how it ended."""

    ended_s: float
    sent_s: float
    end: int


class Simulation:
    """A steady load on a target that answers so many a second, one after the other.

    rate: due, a second. capacity: of the target at a time, in answers a second; 0 refuses
    connections. queue: what is more than this is answered with an error at once.
    """

    def __init__(
        self,
        limits: BackoffLimits,
        *,
        rate: int,
        capacity: Callable[[float], float],
        queue: float = 1e9,
        base_s: float = 0.01,
        production_us: int = 10_000,
        retry_after_s: float = 0.0,
    ) -> None:
        self.backoff = Backoff(limits)
        self.answered: list[Answered] = []
        self.due = 0
        self.shed = 0
        self.changes: list[tuple[float, Change]] = []
        self.shares: list[tuple[float, float]] = []
        self._rate = rate
        self._capacity = capacity
        self._queue = queue
        self._base_s = base_s
        self._production_us = production_us
        self._retry_after_s = retry_after_s
        self._places = [fraction(f"s{number}", "a test") for number in range(SESSIONS)]
        self._on_the_way: list[Answered] = []
        self._free_s = 0.0

    def run(self, seconds: float) -> Simulation:
        """Let so much time pass, from 0."""
        for step in range(int(seconds / STEP_S)):
            now_s = step * STEP_S
            while self._on_the_way and self._on_the_way[0].ended_s <= now_s:
                self._land(heapq.heappop(self._on_the_way))
            while self.due < now_s * self._rate:
                self._offer(now_s)
            change = self.backoff.look(now_s)
            if change is not None:
                self.changes.append((now_s, change))
            self.shares.append((now_s, self.backoff.share))
        return self

    def _offer(self, now_s: float) -> None:
        place = self._places[self.due % SESSIONS]
        self.due += 1
        if place >= self.backoff.share:
            if not self.backoff.probes:
                self.shed += 1
                return
            self.backoff.probes -= 1
        self.backoff.sent(now_s, self._production_us)
        capacity = self._capacity(now_s)
        self._free_s = max(self._free_s, now_s)
        if not capacity:
            end, ended_s = UNREACHED, now_s + 0.001
        elif (self._free_s - now_s) * capacity >= self._queue:
            end, ended_s = ERROR, now_s + 0.002
        else:
            self._free_s += 1 / capacity
            end, ended_s = GOOD, self._free_s + self._base_s
        heapq.heappush(self._on_the_way, Answered(ended_s, now_s, end))

    def _land(self, one: Answered) -> None:
        self.answered.append(one)
        latency_us = round((one.ended_s - one.sent_s) * 1e6)
        retry_after_s = self._retry_after_s if one.end == ERROR else 0.0
        self.backoff.landed(one.sent_s, latency_us, one.end, retry_after_s)

    # -- what is read from it -------------------------------------------------------

    def p95_s(self, from_s: float, to_s: float) -> float:
        """The p95 of what was answered in this time."""
        times = sorted(
            one.ended_s - one.sent_s for one in self.answered if from_s <= one.ended_s < to_s
        )
        return times[int(len(times) * 0.95)]

    def share_at(self, at_s: float) -> float:
        """The share at a moment."""
        return next(share for now_s, share in self.shares if now_s >= at_s)

    def shares_in(self, from_s: float, to_s: float) -> list[float]:
        """The shares in this time."""
        return [share for now_s, share in self.shares if from_s <= now_s < to_s]

    @property
    def reasons(self) -> list[str]:
        """Why the share was changed, in order."""
        return [change.reason for _, change in self.changes]
