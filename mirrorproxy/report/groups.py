"""Answers that were compared, added up by group: target, rule, method, path shape.

Pure. Owns the counts and their bounds: what the memory holds depends on how many kinds
of requests there are, never on how many requests, and is bounded even so. Of what
differs in a session that had lost its way before (an earlier answer had another status)
the counts are kept apart: it is a consequence more often than a cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from mirrorproxy.report.compare import Comparison
from mirrorproxy.report.shapes import path_shape
from mirrorproxy.report.spread import Spread

MAX_GROUPS: Final = 400
MAX_PLACES: Final = 120
"""Of one group."""
MAX_STATUSES: Final = 40
OTHER: Final = "(other)"

CLEAN: Final = 0
ASTRAY: Final = 1


class Key(NamedTuple):
    """What makes a group. shape: a path with ids folded, see `shapes`."""

    target: str
    rule: str | None
    method: str
    shape: str


class Counts:
    """How often something was seen: in sessions that were on their way, and in others."""

    __slots__ = ("astray", "clean")

    def __init__(self, clean: int = 0, astray: int = 0) -> None:
        self.clean = clean
        self.astray = astray

    @property
    def total(self) -> int:
        """Both."""
        return self.clean + self.astray

    def add(self, *, is_astray: bool) -> None:
        """Count one."""
        if is_astray:
            self.astray += 1
        else:
            self.clean += 1


class Group:
    """What was seen of one group.

    answers: where production's status is known. alike: of these, with production's
    status; bodies: of these, with both bodies. statuses: (production's, the target's)
    -> how often, where they differ. places: (place, how it differs) -> in how many
    answers. noise: place -> why it does not count. probes: requests sent twice;
    volatile: (place, how) -> how many of them differed from themselves.
    production, target: durations in microseconds of answers with the same status.
    """

    __slots__ = (
        "alike", "answers", "bodies", "noise", "overflow", "places", "probes", "production",
        "statuses", "target", "volatile",
    )  # fmt: skip

    def __init__(self) -> None:
        self.answers = Counts()
        self.alike = Counts()
        self.bodies = Counts()
        self.statuses: dict[tuple[int, int], Counts] = {}
        self.places: dict[tuple[str, str], Counts] = {}
        self.noise: dict[str, str] = {}
        self.probes = 0
        self.volatile: dict[str, int] = {}
        self.overflow = 0
        self.production = Spread()
        self.target = Spread()

    def add_status(self, production: int, target: int, *, is_astray: bool) -> None:
        """Count an answer with another status than production's."""
        counts = self.statuses.get((production, target))
        if counts is None:
            if len(self.statuses) >= MAX_STATUSES:
                self.overflow += 1
                return
            counts = self.statuses[(production, target)] = Counts()
        counts.add(is_astray=is_astray)

    def add_comparison(self, comparison: Comparison, *, is_astray: bool) -> None:
        """Count what differs in an answer with production's status."""
        if comparison.has_bodies:
            self.bodies.add(is_astray=is_astray)
        for place in comparison.differences.items():
            counts = self.places.get(place)
            if counts is None:
                if len(self.places) >= MAX_PLACES:
                    self.overflow += 1
                    continue
                counts = self.places[place] = Counts()
            counts.add(is_astray=is_astray)
        for name, reason in comparison.noise.items():
            if name not in self.noise and len(self.noise) < MAX_PLACES:
                self.noise[name] = reason

    def add_probe(self, differences: dict[str, str]) -> None:
        """Count a request that was sent twice, and what differs in its two answers."""
        self.probes += 1
        for place in differences:
            if place in self.volatile or len(self.volatile) < MAX_PLACES:
                self.volatile[place] = self.volatile.get(place, 0) + 1


class Groups:
    """All groups of a run; see the module. unknown: answers that production gave no status to."""

    def __init__(self) -> None:
        self.unknown = 0
        self._groups: dict[tuple[str, str | None, str, str], Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def items(self) -> Iterator[tuple[Key, Group]]:
        """Return every group with its key."""
        return ((Key(*key), group) for key, group in self._groups.items())

    def group(self, target: str, rule: str | None, method: str, path: str) -> Group:
        """Return the group of a request. path: as sent, with or without a query."""
        # Without the query, so that more of them are known already.
        key = (target, rule, method, path_shape(path.partition("?")[0]))
        found = self._groups.get(key)
        return self.at(Key(*key)) if found is None else found

    def at(self, key: Key) -> Group:
        """Return the group of a key; past MAX_GROUPS one that takes what has none of its own."""
        group = self._groups.get(key)
        if group is not None:
            return group
        if len(self._groups) >= MAX_GROUPS:
            # Targets and rules are the user's own; methods and paths are anybody's.
            key = Key(key.target, None, OTHER, OTHER)
            group = self._groups.get(key)
            if group is not None:
                return group
        group = self._groups[key] = Group()
        return group
