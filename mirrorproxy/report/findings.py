"""Findings: what of all that differs a person should look at, worst first.

Pure. Owns what is worth a line, how bad it is, and what is one thing seen in several
groups. Counts come from `groups`.

What is worth a line: it was seen in at least LEAST answers and in a share that is no
accident (the lower end of a 95 % interval is above a floor); in runs of a few answers
everything is. How bad: what kind it is, times the root of the share that it has at least.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from mirrorproxy.report.groups import Counts, Group, Groups, Key
from mirrorproxy.report.slowness import Slow, slow_groups
from mirrorproxy.report.structure import ADDED, LENGTH, MISSING, ORDER

LEAST: Final = 3
SMALL_RUN: Final = 50
"""Up to so many answers every difference is shown."""

_FLOOR_ERROR: Final = 0.002
_FLOOR: Final = 0.01
_Z: Final = 1.96
_LEAST_CLEAN: Final = 20
"""Fewer answers of sessions on their way say nothing: then all of them count."""


class Where(NamedTuple):
    """One group of a finding. seen: in so many of `of` answers. places: with how each differs."""

    key: Key
    seen: int
    of: int
    places: tuple[tuple[str, str], ...] = ()


class Finding(NamedTuple):
    """Something that differs. kind: status, differs or slower. score: how bad, see the module.

    where: the groups, the worst first. statuses: production's and the target's.
    slow: for what got slower, the durations.
    """

    kind: str
    score: float
    where: tuple[Where, ...]
    statuses: tuple[int, int] | None = None
    slow: Slow | None = None


class Findings(NamedTuple):
    """All of them, worst first. minor: differences too rare to be shown, after them."""

    shown: list[Finding]
    minor: int


def least_share(count: int, of: int) -> float:
    """Return the lower end of Wilson's 95 % interval of a share."""
    return _wilson(count, of, -_Z)


def most_share(count: int, of: int) -> float:
    """Return the upper end of the same."""
    return _wilson(count, of, _Z)


def _wilson(count: int, of: int, z: float) -> float:
    if of <= 0:
        return 0.0 if z < 0 else 1.0
    share = min(count / of, 1.0)
    middle = share + z * z / (2 * of)
    wide = z * math.sqrt((share * (1 - share) + z * z / (4 * of)) / of)
    return min(max((middle + wide) / (1 + z * z / of), 0.0), 1.0)


def find(groups: Groups) -> Findings:
    """Return what is worth a look."""
    known = list(groups.items())
    is_small = sum(group.answers.total for _, group in known) <= SMALL_RUN
    statuses, rare = _statuses(known, is_small=is_small)
    differing, more = _differing(known, is_small=is_small)
    slow = [_slow(one) for one in slow_groups(known)]
    shown = sorted(
        [*statuses, *differing, *slow], key=lambda one: (-one.score, one.where[0].key.shape)
    )
    return Findings(shown, rare + more)


# -- statuses ----------------------------------------------------------------------


def _statuses(known: Iterable[tuple[Key, Group]], *, is_small: bool) -> tuple[list[Finding], int]:
    """Return a finding for each change of status, whatever groups it was seen in."""
    by_change: dict[tuple[int, int], list[tuple[Where, float]]] = {}
    for key, group in known:
        for (ours, theirs), counts in group.statuses.items():
            count, of = _counted(counts, group.answers, counts_all=theirs >= 500)
            if count:
                change = (ours // 100, theirs)
                where = Where(key, count, of, ((f"{ours}", f"{theirs}"),))
                by_change.setdefault(change, []).append((where, least_share(count, of)))
    findings: list[Finding] = []
    minor = 0
    for (_, theirs), seen in by_change.items():
        floor = _FLOOR_ERROR if theirs >= 500 else _FLOOR
        worst = sorted(seen, key=lambda one: -one[1])
        kept = [where for where, least in worst if is_small or _is_much(where.seen, least, floor)]
        if not kept:
            # In no group often, but in all of them together.
            count, of = sum(w.seen for w, _ in seen), sum(w.of for w, _ in seen)
            if _is_much(count, least_share(count, of), floor):
                kept = [where for where, _ in worst]
        else:
            # What is named needs no proof elsewhere.
            kept += [where for where, _ in worst if where not in kept and where.seen >= LEAST]
        minor += len(seen) - len(kept)
        if kept:
            ours = int(kept[0].places[0][0])
            share = least_share(kept[0].seen, kept[0].of)
            score = _weight_of(ours, theirs) * math.sqrt(share)
            findings.append(Finding("status", score, tuple(kept), (ours, theirs)))
    return findings, minor


def _weight_of(ours: int, theirs: int) -> float:
    if theirs >= 500 and ours < 500:
        return 4.0
    if theirs >= 400 and ours < 400:
        return 3.0
    return 2.0


# -- heads and bodies ------------------------------------------------------------------


def _differing(known: Iterable[tuple[Key, Group]], *, is_small: bool) -> tuple[list[Finding], int]:
    """Return a finding for each field that differs, whatever groups it was seen in."""
    by_name: dict[str, list[tuple[Where, float]]] = {}
    minor = 0
    for key, group in known:
        rows: dict[tuple[int, int], list[tuple[str, str]]] = {}
        for (place, how), counts in group.places.items():
            whole = group.alike if place.startswith("header ") else group.bodies
            count, of = _counted(counts, whole, counts_all=False)
            if not count or is_volatile(group, place, count, of):
                continue
            if not is_small and not _is_much(count, least_share(count, of), _FLOOR):
                minor += 1
                continue
            rows.setdefault((count, of), []).append((place, how))
        for (count, of), places in rows.items():
            for row in _things(places):
                score = max(map(_weight, row)) * math.sqrt(least_share(count, of))
                where = Where(key, count, of, tuple(row))
                by_name.setdefault(_name_of(row), []).append((where, score))
    findings = []
    for seen in by_name.values():
        worst = sorted(seen, key=lambda one: -one[1])
        findings.append(Finding("differs", worst[0][1], tuple(where for where, _ in worst)))
    return findings, minor


def is_volatile(group: Group, place: str, count: int, of: int) -> bool:
    """Tell whether a place differs no more often than the target does from itself."""
    volatile = group.volatile.get(place, 0)
    return volatile > 0 and least_share(count, of) <= most_share(volatile, group.probes)


def _things(places: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Part the places that differ equally often into things; a field renamed is one."""
    lost = [one for one in places if one[1] == MISSING]
    found = [one for one in places if one[1] == ADDED]
    if len(lost) == len(found) == 1 and _parent(lost[0][0]) == _parent(found[0][0]):
        rest = [one for one in places if one[1] not in (MISSING, ADDED)]
        return [[lost[0], found[0]], *([one] for one in rest)]
    return [[one] for one in places]


_LAST: Final = re.compile(r"(\.[^.\[]+|\['[^']*'\])(?:\[\*\])*$")


def _parent(place: str) -> str:
    return _LAST.sub("", place)


def _name_of(row: list[tuple[str, str]]) -> str:
    """Return what a field is called wherever it stands."""
    names = []
    for place, how in row:
        last = _LAST.search(place)
        names.append(f"{last[1] if last else place} {how}")
    return "\n".join(names)


def _weight(place: tuple[str, str]) -> float:
    name, how = place
    if name == "header content-type":
        return 2.0
    if name.startswith("header "):
        return 1.0
    return 1.5 if how in (LENGTH, ORDER) else 2.0


# -- durations -----------------------------------------------------------------------


def _slow(slow: Slow) -> Finding:
    score = math.log2(max(slow.times, 1.0)) * math.sqrt(least_share(slow.answers, slow.answers))
    where = Where(slow.key, slow.answers, slow.answers)
    return Finding("slower", score, (where,), slow=slow)


# -- counting ------------------------------------------------------------------------


def _counted(counts: Counts, whole: Counts, *, counts_all: bool) -> tuple[int, int]:
    """Return how often something was seen, and of how many.

    Sessions that had lost their way are left out where there are enough others.
    """
    if counts_all or whole.clean < _LEAST_CLEAN:
        return counts.total, whole.total
    return counts.clean, whole.clean


def _is_much(count: int, least: float, floor: float) -> bool:
    return count >= LEAST and least >= floor
