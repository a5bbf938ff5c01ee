"""Back-off: how much of what is due a target can take, by how it answers.

Pure: the time is handed in, nothing is sent. Over a limit the share is cut to what the
target answered well, and for a second further by what has piled up. When all is well
again it grows by even steps: fast up to just below where it was too much, slowly past that
point, and not at all while a limit is near. A target that does not answer is left alone
and probed. docs/decisions/backoff.md has the reasons.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from mirrorproxy.replay.signs import ENOUGH, GOOD, Recent, Signs
from mirrorproxy.rules.limits import BackoffLimits
from mirrorproxy.units import format_duration

LOOK_S = 0.25
"""How often the signs are looked at."""

RAISE_S, EASE_S = 0.5, 1.0
"""How often the share grows while it does, and how long it is left at a slightly lower one."""

DRAIN_S = 0.75
"""What has piled up is to be gone after this time."""

SETTLE_S = 0.5, 2.0
"""What is sent after a cut is judged once what had piled up is gone: no sooner, no later."""

LEAST_S = 0.01
"""A multiple of production's p95 never means less: below lies the noise of two networks."""

FEW = 5
"""Fewer ends of shots than this cut nothing."""

PROBES = 3
"""So many shots are sent to a target that did not answer, to see whether it does again."""

_DEAD_SHARE = 0.8
"""Of the ends in a window: so much unreached or timed out is no slow target, but none."""

_PAUSES_S = 1.0, 30.0
"""The first pause; doubled with each round of probes that fails, up to the second."""

_MAX_RETRY_AFTER_S = 300.0
"""A target may ask for so much at most."""

_LEAST_LEFT, _MOST_LEFT = 0.3, 0.93
_LEAST_CUT = 0.25
"""Of what was answered well so much is sent after a cut, and never less of the share before."""

_NEAR_FROM, _NEAR_TO = 0.95, 1.1
_FAST, _SLOW = 4.0, 0.3
"""Around the share that was too much, as multiples of it; steps below and there, of `increase`."""

_CALM = 0.6
"""Above this part of a limit nothing grows."""

_TENSE, _EASED = 0.85, 0.95
"""Above this part of a limit a share that is not whole is lowered by so much."""

_FAR = 1.5
"""With more on the way than so many times what a limit allows, the last moments alone show
what the target can do."""

_HELD = 2.0
"""What has waited for so many times the limit is no longer part of what piles up."""

_SURE, _STEADY = 1.1, 1.2
"""A crossing by so much is foreseen, unless more is sent than before by so much."""

State = Literal["run", "pause", "probe"]


class Change(NamedTuple):
    """What is changed, and why. share: from 0 to 1; is_cut: whether it is less than before."""

    share: float
    reason: str
    is_cut: bool


class Backoff:
    """The back-off of one target.

    share: what is sent of all that is due, from 0 to 1. state: "pause" while nothing is
    sent, "probe" while `probes` shots may go out all the same. signs: as last seen. cap: what
    else bounds the share for now, from 0 to 1.
    """

    def __init__(self, limits: BackoffLimits) -> None:
        self._limits = limits
        self._recent = Recent(limits.window_s, limits.p95_s, limits.p95_times, LEAST_S)
        self.share = 1.0
        self.cap = 1.0
        self.state: State = "run"
        self.probes = 0
        self.signs = Signs(0, 0, None, None, 0, 0, 0)
        self._since_s = float("-inf")
        self._cut_s: float | None = None
        self._was_foreseen = False
        self._next_look_s = float("-inf")
        self._next_raise_s = float("-inf")
        self._too_much: float | None = None
        self._pause_s = _PAUSES_S[0]
        self._until_s = 0.0
        self._before = 1.0
        self._probes_failed = 0
        self._probe_answered = False
        self._retry_after_s = 0.0

    def sent(self, now_s: float, production_us: int) -> None:
        """Take note of a shot that leaves. production_us: how long the exchange took there."""
        self._recent.sent(now_s, production_us)

    def landed(self, sent_s: float, latency_us: int, end: int, retry_after_s: float = 0.0) -> None:
        """Take note of the end of a shot. end: see `signs.ended_as`.

        retry_after_s: the time that the answer asked to be left alone for, 0 for none.
        """
        self._recent.landed(sent_s, latency_us, end)
        if retry_after_s > 0 and end != GOOD:
            self._retry_after_s = retry_after_s
        if self.state == "probe" and sent_s >= self._since_s:
            if end == GOOD:
                self._probe_answered = True
            else:
                self._probes_failed += 1

    def look(self, now_s: float) -> Change | None:
        """Look at the signs if it is time to; return what changes, None for nothing.

        To be called a few times a second, paused or not.
        """
        if now_s < self._next_look_s:
            return None
        self._next_look_s = now_s + LOOK_S
        self._recent.forget(now_s)
        if self.state == "pause":
            return self._probe(now_s) if now_s >= self._until_s else None
        if self.state == "probe":
            return self._probed(now_s)
        if self._cut_s is not None and not self._has_settled(now_s):
            return None
        signs = self.signs = self._recent.look(now_s, self._since_s)
        asked_s, self._retry_after_s = self._retry_after_s, 0.0
        if signs.shots >= FEW and self._is_dead(signs):
            return self._pause(now_s, self._pause_s, _dead(signs))
        reason = self._crossed(signs)
        foreseen = self._foreseen(now_s, signs)
        if reason:
            if asked_s > 0 and signs.errors:
                asked_s = min(asked_s, _MAX_RETRY_AFTER_S)
                return self._pause(
                    now_s, asked_s, f"{reason}; Retry-After {format_duration(asked_s)}"
                )
            _, ended, _ = self._recent.flow(now_s, 2 * self._limits.window_s)
            if not ended:
                return self._pause(now_s, self._pause_s, f"{reason}, and nothing is answered")
            return self._cut(now_s, reason)
        if foreseen:
            return self._cut(now_s, foreseen, is_far=self._too_much is None)
        if self.share < 1 and now_s >= self._next_raise_s and signs.shots:
            return self._raise(now_s, self._calm(now_s, signs))
        return None

    # -- what the signs say -------------------------------------------------------

    def _crossed(self, signs: Signs) -> str:
        """Return which limit is crossed, in words; "" for none."""
        limits, shots = self._limits, signs.shots
        if shots < FEW:
            return ""
        errors = signs.errors + signs.timeouts + signs.unreached
        # One alone proves nothing.
        if limits.errors is not None and errors > max(limits.errors * shots, 1):
            return f"errors {_percent(errors, shots)} over {_percent(limits.errors, 1)}"
        if limits.timeouts is not None and signs.timeouts > max(limits.timeouts * shots, 1):
            part = _percent(signs.timeouts, shots)
            return f"timeouts {part} over {_percent(limits.timeouts, 1)}"
        p95_s, limit_s = signs.p95_s, signs.limit_s
        if signs.timed < FEW or p95_s is None or limit_s is None or p95_s <= limit_s:
            return ""
        return f"p95 {format_duration(p95_s)} over {format_duration(limit_s)}"

    def _wait_s(self, now_s: float) -> float:
        """Return how long a shot that leaves now will take, by what is on the way before it."""
        _, ended, _ = self._recent.flow(now_s, self._limits.window_s / 2)
        # Little's law.
        return self._piled_up(now_s) / ended if ended else 0.0

    def _piled_up(self, now_s: float) -> int:
        """Return how many shots are on the way, but for those that wait for something else.

        A few requests that are held for minutes say nothing of what others will take.
        """
        limit_s = self.signs.limit_s
        if limit_s is None:
            return self._recent.in_flight
        return self._recent.open_since(now_s - _HELD * limit_s)

    def _foreseen(self, now_s: float, signs: Signs) -> str:
        """Return in words that the p95 will cross its limit by what is on the way already.

        "" if it will not, or if more is sent than shortly before: then the answers to that
        are still to come, and say nothing yet.
        """
        limit_s, wait_s = signs.limit_s, self._wait_s(now_s)
        is_foreseen = (
            limit_s is not None and wait_s > limit_s * _SURE and self._piled_up(now_s) >= ENOUGH
        )
        if is_foreseen:
            window_s = self._limits.window_s
            sent, _, _ = self._recent.flow(now_s, window_s / 2)
            before, _, _ = self._recent.flow(now_s, window_s * 2)
            is_foreseen = sent < before * _STEADY
        was_foreseen, self._was_foreseen = self._was_foreseen, is_foreseen
        if not (is_foreseen and was_foreseen) or limit_s is None:
            return ""
        return f"answers will take {format_duration(wait_s)}, over {format_duration(limit_s)}"

    def _has_settled(self, now_s: float) -> bool:
        """Return whether what had piled up before a cut is gone; what is sent then is judged."""
        assert self._cut_s is not None  # noqa: S101 - the caller looked
        since_s, limit_s = now_s - self._cut_s, self.signs.limit_s
        if since_s < SETTLE_S[0] or (
            since_s < SETTLE_S[1] and limit_s is not None and self._wait_s(now_s) > limit_s * _CALM
        ):
            return False
        self._cut_s = None
        self._since_s = self._next_raise_s = now_s
        return True

    def _calm(self, now_s: float, signs: Signs) -> float:
        """Return from 0 to 1 how far all signs are from their limits."""
        limits, shots = self._limits, max(signs.shots, 1)
        near = 0.0
        if limits.errors:
            failed = signs.errors + signs.timeouts + signs.unreached
            near = max(near, failed / shots / limits.errors)
        if limits.timeouts:
            near = max(near, signs.timeouts / shots / limits.timeouts)
        if signs.p95_s is not None and signs.limit_s is not None:
            near = max(near, max(signs.p95_s, self._wait_s(now_s)) / signs.limit_s)
        return max(1 - near / _CALM, 0.0)

    @staticmethod
    def _is_dead(signs: Signs) -> bool:
        return signs.unreached + signs.timeouts >= _DEAD_SHARE * signs.shots

    # -- what is done about it ------------------------------------------------------

    def _cut(self, now_s: float, reason: str, *, is_far: bool = False) -> Change | None:
        """Cut to what is answered well, and below.

        is_far: whether the target fell far behind, whatever is on the way as yet.
        """
        limit_s, window_s = self.signs.limit_s, self._limits.window_s
        sent, ended, answered = self._recent.flow(now_s, window_s / 2)
        left = _MOST_LEFT
        if limit_s is not None:
            piled_up = self._piled_up(now_s)
            if not is_far and piled_up <= limit_s * _FAR * ended:
                # Over a longer time it is seen better how little is too much.
                sent, ended, answered = self._recent.flow(now_s, window_s * 2)
            elif ended:
                too_many = piled_up - limit_s * _CALM / 2 * ended
                left = min(max(1 - too_many / (ended * DRAIN_S), _LEAST_LEFT), _MOST_LEFT)
        # A target that falls behind answers less than it is sent: that is what it can do.
        before = min(self.share, self.cap)
        good = before * min(answered / sent, 1.0) if sent else before
        share = max(good * left, before * _LEAST_CUT, self._limits.floor)
        self._cut_s = now_s
        if share >= self.share:
            return None
        self._too_much = max(good, share)
        self.share = share
        return Change(share, reason, is_cut=True)

    def _raise(self, now_s: float, calm: float) -> Change | None:
        if not calm:
            return self._ease(now_s)
        step = self._limits.increase * RAISE_S
        share, ceiling = self.share, 1.0
        if self._too_much is not None:
            near = self._too_much * _NEAR_FROM
            if share < near:
                step, ceiling = step * _FAST * self._too_much, near
            elif share < self._too_much * _NEAR_TO:
                step *= _SLOW * self._too_much
            else:
                self._too_much = None
        share = min(share + step * calm, ceiling)
        if share >= 1:
            self._too_much = None
        self.share = share
        self._next_raise_s = now_s + RAISE_S
        return Change(share, "all well" if share >= 1 else "recovering", is_cut=False)

    def _ease(self, now_s: float) -> Change | None:
        """Send a little less where a limit is nearly reached again: better than another cut."""
        signs = self.signs
        if signs.p95_s is None or signs.limit_s is None or signs.p95_s < _TENSE * signs.limit_s:
            return None
        if self._wait_s(now_s) < _CALM * signs.limit_s:
            return None  # it falls already
        self.share = max(self.share * _EASED, self._limits.floor)
        self._next_raise_s = now_s + EASE_S
        return Change(self.share, "p95 near its limit", is_cut=True)

    def _pause(self, now_s: float, seconds: float, reason: str) -> Change:
        if self.state == "run":
            self._before = self.share
        self.state = "pause"
        self.share = 0.0
        self._until_s = now_s + seconds
        return Change(0.0, f"{reason}; paused for {format_duration(seconds)}", is_cut=True)

    def _probe(self, now_s: float) -> Change:
        self.state = "probe"
        self.probes = PROBES
        self._since_s = now_s
        self._probes_failed = 0
        self._probe_answered = False
        return Change(0.0, f"probing with {PROBES} shots", is_cut=False)

    def _probed(self, now_s: float) -> Change | None:
        if self._probe_answered:
            self.state, self.probes = "run", 0
            self._pause_s = _PAUSES_S[0]
            self._too_much = None
            self.share = max(self._before / 4, self._limits.floor)
            self._since_s = self._next_raise_s = now_s
            return Change(self.share, "a probe was answered", is_cut=False)
        if self._probes_failed >= PROBES:
            self.probes = 0
            self._pause_s = min(self._pause_s * 2, _PAUSES_S[1])
            asked_s, self._retry_after_s = self._retry_after_s, 0.0
            seconds = max(self._pause_s, min(asked_s, _MAX_RETRY_AFTER_S))
            return self._pause(now_s, seconds, "probes failed")
        return None


def _dead(signs: Signs) -> str:
    what = "unreached" if signs.unreached >= signs.timeouts else "timed out"
    return f"{_percent(max(signs.unreached, signs.timeouts), signs.shots)} {what}"


def _percent(part: float, whole: float) -> str:
    return f"{part / whole * 100:.3g}%"
