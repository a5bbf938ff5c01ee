"""What production did with sessions, what of it must not be turned round, and a replay of it.

The rule is written down a second time here, by brute force over all pairs, and
so is the earliest moment at which each shot could leave.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from flights import T0, Range, shot
from hypothesis import strategies as st

from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.replay.schedule import MAX_SPEED

SKEW_US = 5_000
START_S = 0.05
UNLIMITED = Limits(concurrency=100_000, max_lag_s=None)


class Past(NamedTuple):
    """One request of production, in microseconds from the first, and how long the target takes."""

    began: int
    lasted: int
    session: str
    machine: str
    takes_s: float

    @property
    def ended(self) -> int:
        return self.began + self.lasted


def came_before(one: Past, other: Past) -> bool:
    """Whether production had ended one before the other began, as far as clocks can tell."""
    skew = 0 if one.machine == other.machine else SKEW_US
    return one.session == other.session and one.ended <= other.began + skew


Earlier = list[list[int]]


def waits_for(history: Sequence[Past]) -> Earlier:
    """By shot: the shots that it must wait for. The history is in captured order."""
    return [
        [j for j in range(i) if came_before(history[j], history[i])] for i in range(len(history))
    ]


def earliest(history: Sequence[Past], earlier: Earlier, speed: float) -> list[float]:
    """When each shot could leave at best: due, and all of those answered."""
    leaves: list[float] = []
    for i, past in enumerate(history):
        due_s = 0.0
        if speed != MAX_SPEED:
            due_s = START_S + (past.began - history[0].began) / (1e6 * speed)
        ends = [leaves[j] + history[j].takes_s for j in earlier[i]]
        leaves.append(max([due_s, *ends]))
    return leaves


class Replayed(NamedTuple):
    """When each shot left and when it was answered, in seconds from the start."""

    left: list[float]
    answered: list[float]
    range: Range


def replayed(
    history: Sequence[Past],
    speed: float,
    order: Order | None,
    *,
    end: Callable[[Range, Flight], None] = Range.answer,
    limits: Limits = UNLIMITED,
) -> Replayed:
    """Replay a history on a clock that jumps to whatever happens next."""
    shots = [
        shot(
            past.began / 1e6, exchange_id=str(n), session=past.session, machine=past.machine,
            started_us=T0 + past.began, duration_us=past.lasted,
        )
        for n, past in enumerate(history)
    ]  # fmt: skip
    range_ = Range(shots, {"staging": limits}, speed, order)
    engine, start_s = range_.engine, range_.now_s
    left, answered = [math.nan] * len(history), [math.nan] * len(history)
    coming: list[tuple[float, int]] = []
    sent_as: dict[int, int] = {}
    seen = 0
    turn_s = start_s
    patience = 2000
    while not engine.is_over:
        patience = 2000 if coming else patience - 1
        assert patience, "nothing is under way, and nothing is sent"
        range_.now_s = min(turn_s, coming[0][0]) if coming else turn_s
        if coming and coming[0][0] <= range_.now_s:
            n = heapq.heappop(coming)[1]
            answered[n] = range_.now_s - start_s
            end(range_, range_.sent[sent_as[n]])
            engine.pump()
        if turn_s <= range_.now_s:
            turn_s = range_.now_s + (engine.turn() or 1e-6)
        for at, flight in enumerate(range_.sent[seen:], seen):
            n = int(flight.shot.exchange_id)
            left[n] = range_.now_s - start_s
            heapq.heappush(coming, (range_.now_s + history[n].takes_s, n))
            sent_as[n] = at
        seen = len(range_.sent)
    return Replayed(left, answered, range_)


def histories(machines: Sequence[str] = ("m",), shots: int = 40) -> st.SearchStrategy[list[Past]]:
    """Histories of three sessions: chains, bursts, long polls, all at once, in captured order."""
    past = st.builds(
        Past,
        began=st.integers(0, 400_000) | st.sampled_from([0, 1000, 100_000, 104_999, 105_000]),
        lasted=st.integers(0, 200_000) | st.sampled_from([0, 1000, 99_000, 100_000]),
        session=st.sampled_from(["alice", "bob", "carol"]),
        machine=st.sampled_from(machines),
        takes_s=st.floats(0.05, 0.3),
    )
    return st.lists(past, min_size=1, max_size=shots).map(
        lambda pasts: sorted(pasts, key=lambda one: one.began)
    )
