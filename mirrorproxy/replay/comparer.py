"""The comparer: hears every answer, and compares it with production's.

Owns the way from a flight to the pure comparison: what of it is compared, how its body
is read, and which sessions have lost their way. Decides nothing about what is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from mirrorproxy.codec import MalformedRecord, body_of
from mirrorproxy.headers import first
from mirrorproxy.http1.heads import ResponseHead
from mirrorproxy.record import HeaderList, Response
from mirrorproxy.replay.answer import Answer
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.report.alike import Moments, Same
from mirrorproxy.report.compare import EVERYTHING, Comparison, Leaves, compare
from mirrorproxy.report.groups import Group, Groups
from mirrorproxy.report.head_diff import are_alike, compare_heads, watched, watched_lines
from mirrorproxy.rules.coding import CannotRewriteError, media_type, plain_body
from mirrorproxy.shot import Shot

SameValues = Callable[[Flight, str, str], bool]
"""Whether production's value and the target's differ only by what was learned."""

Probe = Callable[[Flight, Group], None]
"""Takes a flight that differs: the same request may be sent once more, see `probes`."""

MAX_ASTRAY: Final = 50_000
"""Sessions that are remembered as having lost their way; the oldest are forgotten."""
MAX_PLAIN_BYTES: Final = 1024 * 1024
"""Of a body without its content coding; what unpacks to more is not looked into."""
MAX_TOLD: Final = 8
"""Differences in an outcome line."""

_STATUS: Final = "status"
_NOTHING: Final[dict[str, str]] = {}


class Comparer:
    """Compares answers; a `Listener`.

    leaves: rule -> what its answers are compared by, EVERYTHING where it says nothing.
    same: what was learned, None if nothing is. wall_s: the wall clock.
    """

    def __init__(
        self,
        groups: Groups,
        ledger: Ledger,
        leaves: Mapping[str | None, Leaves],
        *,
        same: SameValues | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.groups = groups
        self.probe: Probe | None = None
        self._ledger = ledger
        self._leaves = dict(leaves)
        self._same = same
        self._wall_s = wall_s
        self._astray: dict[str, None] = {}

    def wants(self, shot: Shot) -> Answer | None:
        """See `Listener`: without production's head or body there is nothing to look into."""
        recorded = shot.recorded
        if recorded is None:
            return None
        if recorded.body is not None or recorded.body_bytes == 0:
            return Answer()
        return Answer(keeps_body=False) if recorded.headers else None

    def answered(self, flight: Flight, latency_us: int) -> None:
        """See `Listener`."""
        shot = flight.shot
        production = shot.status
        if production is None:
            self.groups.unknown += 1
            return
        leaves = self._leaves.get(shot.rule, EVERYTHING)
        if leaves.is_off:
            return
        group = self.groups.group(shot.target, shot.rule, shot.method, shot.path)
        is_astray = shot.session in self._astray
        group.answers.add(is_astray=is_astray)
        status = flight.status
        if status != production:
            group.add_status(production, status, is_astray=is_astray)
            flight.differs = (_STATUS,)
            self._lose(shot.session)
            return
        group.alike.add(is_astray=is_astray)
        group.production.add(shot.duration_us)
        group.target.add(latency_us)
        answer, recorded = flight.answer, shot.recorded
        if answer is None or answer.head is None or recorded is None:
            return
        comparison = self._compared(flight, answer, recorded, leaves)
        if not comparison.has_bodies and not comparison.differences:
            return
        group.add_comparison(comparison, is_astray=is_astray)
        if comparison.differences:
            self._ledger.changed += 1
            flight.differs = told(comparison)
            if self.probe is not None and shot.method in leaves.probes:
                self.probe(flight, group)

    def lost(self, flight: Flight) -> None:
        """See `Listener`: what follows in its session lacks it."""
        self._lose(flight.shot.session)

    def _compared(
        self, flight: Flight, answer: Answer, recorded: Response, leaves: Leaves
    ) -> Comparison:
        head = answer.head
        assert head is not None  # noqa: S101 - the caller asked
        same = None if self._same is None else partial(self._same, flight)
        shot = flight.shot
        moments = ((shot.started_us + shot.duration_us) / 1e6, self._wall_s())
        heads = _heads(recorded.headers, head, leaves, same, moments)
        is_known = answer.keeps_body and not answer.is_cut
        ours = _recorded_body(recorded) if is_known else None
        if ours is None:
            return compare(heads, None, None, "", moments)
        theirs: bytes | None = answer.body
        if theirs == ours:
            return compare(heads, ours, ours, "", moments)
        theirs = plain(head.headers(), answer.body)
        kind = media_type(first(recorded.headers, "content-type"))
        return compare(heads, ours, theirs, kind, moments, leaves, same)

    def differs(self, one: Flight, other: Flight) -> dict[str, str]:
        """Return what differs between two answers of the target to the same request."""
        before, after = one.answer, other.answer
        if before is None or after is None or before.head is None or after.head is None:
            return {}
        leaves = self._leaves.get(one.shot.rule, EVERYTHING)
        headers = before.head.headers()
        ours = headers if one.shot.recorded is None else one.shot.recorded.headers
        now_s = self._wall_s()
        moments = (now_s, now_s)
        heads = _heads(headers, after.head, leaves, None, moments)
        if before.is_cut or after.is_cut or not before.keeps_body:
            return heads
        return compare(
            heads,
            plain(headers, before.body),
            plain(after.head.headers(), after.body),
            # As what it was compared with production's, so that the same places are named.
            media_type(first(ours, "content-type")),
            moments,
            leaves,
        ).differences

    def _lose(self, session: str) -> None:
        astray = self._astray
        if session in astray:
            return
        if len(astray) >= MAX_ASTRAY:
            del astray[next(iter(astray))]
        astray[session] = None


def _heads(
    production: HeaderList,
    target: ResponseHead,
    leaves: Leaves,
    same: Same | None,
    moments: Moments,
) -> dict[str, str]:
    if not leaves.headers and are_alike(production, target.lines):
        return _NOTHING
    return compare_heads(
        watched(production, leaves.headers),
        watched_lines(target.lines, leaves.headers),
        leaves.ignored,
        same,
        moments,
    )


def _recorded_body(recorded: Response) -> bytes | None:
    """Return production's body without its content coding, None if it is not known."""
    if recorded.body is None:
        # Without one, or not recorded: that it was empty is known.
        return b"" if recorded.body_bytes == 0 and recorded.omitted is None else None
    if recorded.truncated:
        return None
    try:
        return plain(recorded.headers, body_of(recorded))
    except MalformedRecord:
        return None


def plain(headers: HeaderList, body: bytes) -> bytes | None:
    """Return a body without its content coding, None if it cannot be had."""
    coding = first(headers, "content-encoding")
    if coding is None or not body:
        return body
    try:
        return plain_body(body, coding, MAX_PLAIN_BYTES)
    except CannotRewriteError:
        return None


def told(comparison: Comparison) -> tuple[str, ...]:
    """Return the differences as an outcome line holds them: places, and no values."""
    names = [f"{place} {how}" for place, how in comparison.differences.items()]
    return tuple(names[:MAX_TOLD])
