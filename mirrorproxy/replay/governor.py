"""The governor: what turns a running replay down by itself, and up again.

Owns back-off, ramp-up and budgets: looks at every target a few times a second, tells the
knob what to narrow, and notes each change with its reason. Costs nothing per shot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from mirrorproxy.replay.backoff import LOOK_S, Backoff, Change, State
from mirrorproxy.replay.knob import Knob
from mirrorproxy.replay.lane import Lane
from mirrorproxy.replay.ledger import Ledger, Turned
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.valve import BACKOFF, RAMP

TELL_EVERY_S = 1.0
TELL_RAISES_EVERY_S = 10.0
"""How often a line is said about one target at most, and about one that recovers."""


class Narrowed(NamedTuple):
    """How a target stands. percent: what it is sent of what is due."""

    percent: float
    state: State
    cuts: int


class _Governed:
    """One target that is looked after."""

    def __init__(self, lane: Lane, ramp_s: float) -> None:
        self.lane = lane
        self.ramp_s = ramp_s
        self.share = 1.0
        self.cuts = 0
        self.untold = 0
        self.next_tell_s = float("-inf")

    def ramp(self, since_s: float) -> float:
        """Return what the ramp allows, so long after the start."""
        return min(since_s / self.ramp_s, 1.0) if self.ramp_s else 1.0


class Governor:
    """Looks after the targets that ask for it; see the module.

    limits: by target. lanes: likewise, the engine's. wall_us: the wall clock in
    microseconds when the engine's was 0. say: takes a line for people.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits],
        lanes: Mapping[str, Lane],
        knob: Knob,
        ledger: Ledger,
        *,
        wall_us: int,
        say: Callable[[str], None],
    ) -> None:
        self._knob = knob
        self._ledger = ledger
        self._wall_us = wall_us
        self._say = say
        self._lanes = lanes
        self._governed = {
            name: _Governed(lanes[name], limit.ramp_s)
            for name, limit in limits.items()
            if limit.backoff is not None or limit.ramp_s
        }
        self._start_s: float | None = None
        self._next_look_s = float("-inf")

    @staticmethod
    def is_needed(limits: Mapping[str, Limits]) -> bool:
        """Whether any target asks for something that the governor does."""
        return any(
            limit.backoff is not None
            or limit.ramp_s
            or limit.max_shots is not None
            or limit.max_duration_s is not None
            for limit in limits.values()
        )

    def targets(self) -> dict[str, Narrowed]:
        """Return how the targets stand that are backed off from or ramped up."""
        return {
            name: Narrowed(
                one.share * 100,
                "run" if one.lane.backoff is None else one.lane.backoff.state,
                one.cuts,
            )
            for name, one in self._governed.items()
        }

    def look(self, now_s: float) -> None:
        """Look after everything if it is time to. now_s: the engine's clock."""
        if self._start_s is None:
            self._start(now_s)
            if self._start_s is None:
                return
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_S
        since_s = now_s - self._start_s
        for name, one in self._governed.items():
            self._look_after(name, one, now_s, since_s)
        # What is over for every target is over.
        if all(lane.is_spent(now_s) for lane in self._lanes.values()):
            self._knob.stop()

    def _start(self, now_s: float) -> None:
        """Begin when there is something to send; until then ramps are shut."""
        for name, one in self._governed.items():
            if one.ramp_s and one.share:
                one.share = 0.0
                self._knob.narrow(name, 0.0, RAMP)
        if not self._ledger.planned:
            return
        self._start_s = now_s
        for lane in self._lanes.values():
            lane.start(now_s)
        for name, one in self._governed.items():
            if one.ramp_s:
                self._note(name, one, now_s, Change(0.0, f"ramp of {one.ramp_s:g}s", False))

    def _look_after(self, name: str, one: _Governed, now_s: float, since_s: float) -> None:
        ramp = one.ramp(since_s)
        if one.ramp_s and ramp >= 1:
            one.ramp_s = 0.0
            if one.lane.backoff is None or one.lane.backoff.share >= 1:
                self._note(name, one, now_s, Change(1.0, "the ramp is over", False))
        backoff = one.lane.backoff
        if backoff is None:
            self._narrow(name, one, ramp, RAMP)
            return
        backoff.cap = ramp
        change = backoff.look(now_s)
        if change is not None:
            one.cuts += change.is_cut
            self._note(name, one, now_s, change)
        is_ramp = ramp < backoff.share
        self._narrow(name, one, min(ramp, backoff.share), RAMP if is_ramp else BACKOFF, backoff)

    def _narrow(
        self, name: str, one: _Governed, share: float, reason: str, backoff: Backoff | None = None
    ) -> None:
        probes = 0
        if backoff is not None and backoff.probes:
            probes, backoff.probes = backoff.probes, 0
        if share != one.share or probes:
            one.share = share
            self._knob.narrow(name, share, reason, probes)

    def _note(self, name: str, one: _Governed, now_s: float, change: Change) -> None:
        percent = round(change.share * 100, 2)
        self._ledger.events.append(
            Turned(self._wall_us + int(now_s * 1e6), name, percent, change.reason)
        )
        is_raise = not change.is_cut and 0 < change.share < 1
        if now_s < one.next_tell_s or (is_raise and now_s < one.next_tell_s + TELL_RAISES_EVERY_S):
            one.untold += 1
            return
        more = f", {one.untold} changes since" if one.untold else ""
        self._say(f"back-off: target {name} is sent {percent:g}%: {change.reason}{more}")
        one.untold, one.next_tell_s = 0, now_s + TELL_EVERY_S
