"""Signs of a target: how what it was sent lately fares, by when it was sent.

Pure: the time is handed in. Owns the counting; what to make of it is `backoff`'s.
Shots are counted by the moment they left, and those still without an answer count
as soon as they have waited for too long: a target that hangs shows at once, and a
backlog that was sent long ago does not speak against what is sent now.
"""

from __future__ import annotations

from typing import NamedTuple

SLOT_S = 0.1
"""How finely time is divided."""

LOOK_BACK_S = 10.0
"""How far the window reaches back at most where little is sent."""

ENOUGH = 20
"""So many shots are looked at, if that much was sent lately."""

GOOD, ERROR, TIMED_OUT, UNREACHED = range(4)
"""How a shot ended. ERROR: an answer, or none, that production's was not like.
UNREACHED: no connection could be made."""

_UNREACHED = frozenset(("connect_refused", "connect_timeout", "connect_error", "tls_error"))
_TIMED_OUT = frozenset(("response_timeout",))
_BUSY = 429
_MAX_DIGITS = 9

_FINE_BITS = 4
_FINE = 1 << _FINE_BITS
"""Latencies are counted in steps of a sixteenth, and shown at a step's upper end."""


def ended_as(status: int, failure: str | None, production: int | None) -> int:
    """Return how a shot ended: GOOD, ERROR, TIMED_OUT or UNREACHED.

    status: of the answer, if failure is None. production: the status that the same
    exchange had there; what failed there as well says nothing against a target.
    """
    if failure is None:
        if status != _BUSY and status < 500:
            return GOOD
        failed_there = production is not None and (production == _BUSY or production >= 500)
        return GOOD if failed_there else ERROR
    if failure in _UNREACHED:
        return UNREACHED
    return TIMED_OUT if failure in _TIMED_OUT else ERROR


def seconds_of(retry_after: bytes) -> float:
    """Return the seconds that a Retry-After asks for, 0 for none.

    A date is not looked at: clocks differ, and overload is given in seconds.
    """
    if not retry_after or len(retry_after) > _MAX_DIGITS or not retry_after.isdigit():
        return 0.0
    return float(retry_after)


class Signs(NamedTuple):
    """What a window shows.

    shots: whose end is known, or that have waited for too long. timed: those of them that
    p95_s is of, None without any; limit_s: what it may be. The others are numbers of shots.
    """

    shots: int
    timed: int
    p95_s: float | None
    limit_s: float | None
    errors: int
    timeouts: int
    unreached: int


class _Slot:
    """What was sent in one slot of time, and what was answered in it."""

    __slots__ = (
        "answered", "ended", "errors", "landed", "latencies", "production", "sent", "timeouts",
        "unreached",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sent = 0
        self.landed = 0
        self.errors = 0
        self.timeouts = 0
        self.unreached = 0
        self.latencies: dict[int, int] = {}
        self.production: dict[int, int] = {}
        # By when the answer came, not by when the shot left.
        self.ended = 0
        self.answered = 0


class Recent:
    """The recent shots of one target.

    window_s: what is looked at, more if little is sent. times: compares with so many
    times production's p95; least_s: a limit that is never undercut by that. limit_s: the
    limit of the p95 itself, None for none.
    """

    def __init__(
        self, window_s: float, limit_s: float | None, times: float | None, least_s: float
    ) -> None:
        self._window_s = window_s
        self._limit_s = limit_s
        self._times = times
        self._least_s = least_s
        self._slots: dict[int, _Slot] = {}
        self.in_flight = 0

    def sent(self, now_s: float, production_us: int) -> None:
        """Count a shot that leaves. production_us: how long the exchange took there."""
        number = int(now_s / SLOT_S)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot()
        slot.sent += 1
        self.in_flight += 1
        if self._times is not None and production_us > 0:
            step = _step(production_us)
            slot.production[step] = slot.production.get(step, 0) + 1

    def landed(self, sent_s: float, latency_us: int, end: int) -> None:
        """Count the end of a shot. end: see `ended_as`."""
        self.in_flight -= 1
        slots = self._slots
        number = int((sent_s + latency_us / 1e6) / SLOT_S)
        now = slots.get(number)
        if now is None:
            now = slots[number] = _Slot()
        now.ended += 1
        if end == GOOD:
            now.answered += 1
        slot = slots.get(int(sent_s / SLOT_S))
        if slot is None:  # it left so long ago that it was forgotten
            return
        slot.landed += 1
        if end == UNREACHED:
            slot.unreached += 1
            return
        if end == ERROR:
            slot.errors += 1
        elif end == TIMED_OUT:
            slot.timeouts += 1
        step = _step(latency_us)
        slot.latencies[step] = slot.latencies.get(step, 0) + 1

    def look(self, now_s: float, since_s: float) -> Signs:
        """Return what the window shows of what was sent since a moment."""
        chosen = self._chosen(now_s, since_s)
        limit_s = self._limit_of(chosen)
        latencies: dict[int, int] = {}
        errors = timeouts = unreached = shots = 0
        for number, slot in chosen:
            errors += slot.errors
            timeouts += slot.timeouts
            unreached += slot.unreached
            age_s = now_s - (number + 1) * SLOT_S
            open_ = slot.sent - slot.landed
            shots += slot.landed
            if open_ > 0 and (limit_s is None or age_s <= limit_s):
                # What has answered already is the quick part of them: it says nothing of latency.
                continue
            for step, count in slot.latencies.items():
                latencies[step] = latencies.get(step, 0) + count
            if open_ > 0:
                step = _step(int(age_s * 1e6))
                latencies[step] = latencies.get(step, 0) + open_
                shots += open_
        timed = sum(latencies.values())
        return Signs(shots, timed, _p95(latencies), limit_s, errors, timeouts, unreached)

    def flow(self, now_s: float, span_s: float) -> tuple[float, float, float]:
        """Return shots a second: sent, ended, and answered well.

        span_s: over what time, more if little was sent.
        """
        last = int(now_s / SLOT_S) - 1
        sent = ended = answered = slots = 0
        while slots < LOOK_BACK_S / SLOT_S:
            if slots * SLOT_S >= span_s and sent >= ENOUGH:
                break
            slot = self._slots.get(last - slots)
            if slot is not None:
                sent += slot.sent
                ended += slot.ended
                answered += slot.answered
            slots += 1
        seconds = slots * SLOT_S
        return sent / seconds, ended / seconds, answered / seconds

    def open_since(self, since_s: float) -> int:
        """Return how many of the shots that left since a moment have not ended."""
        first = int(since_s / SLOT_S)
        return sum(
            slot.sent - slot.landed for number, slot in self._slots.items() if number >= first
        )

    def forget(self, now_s: float) -> None:
        """Drop what no window will reach."""
        oldest = int((now_s - max(LOOK_BACK_S, self._window_s)) / SLOT_S) - 1
        for number in [number for number in self._slots if number < oldest]:
            del self._slots[number]

    def _chosen(self, now_s: float, since_s: float) -> list[tuple[int, _Slot]]:
        """Return the slots of the window, the newest first, without what left before."""
        chosen: list[tuple[int, _Slot]] = []
        landed = 0
        for number in sorted(self._slots, reverse=True):
            start_s = number * SLOT_S
            if start_s < since_s or start_s < now_s - max(LOOK_BACK_S, self._window_s):
                break
            if start_s < now_s - self._window_s and landed >= ENOUGH:
                break
            slot = self._slots[number]
            chosen.append((number, slot))
            landed += slot.landed
        return chosen

    def _limit_of(self, chosen: list[tuple[int, _Slot]]) -> float | None:
        if self._times is None:
            return self._limit_s
        production: dict[int, int] = {}
        for _, slot in chosen:
            for step, count in slot.production.items():
                production[step] = production.get(step, 0) + count
        p95_s = _p95(production)
        return None if p95_s is None else max(p95_s * self._times, self._least_s)


def _step(us: int) -> int:
    """Return the step that a time in microseconds falls into."""
    if us < _FINE:
        return us if us > 0 else 0
    shift = us.bit_length() - _FINE_BITS - 1
    return (shift << _FINE_BITS) + (us >> shift)


def _p95(counts: dict[int, int]) -> float | None:
    """Return the time in seconds that 95 % do not exceed."""
    left = sum(counts.values()) * 0.05
    if not counts:
        return None
    step = 0
    for step in sorted(counts, reverse=True):
        left -= counts[step]
        if left < 0:
            break
    if step < _FINE:
        return step / 1e6
    shift = (step >> _FINE_BITS) - 1
    return (((step - (shift << _FINE_BITS)) + 1) << shift) / 1e6
