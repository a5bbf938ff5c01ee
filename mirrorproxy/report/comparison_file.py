"""The counts of a comparison as a file, so that those of a fleet can be added up.

Pure. Owns the form of ``comparison.json``, version 1. What is read is a stranger's:
bounded, checked, and added only under the bounds that `groups` keeps.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from mirrorproxy.report.groups import (
    MAX_GROUPS,
    MAX_PLACES,
    MAX_STATUSES,
    Counts,
    Group,
    Groups,
    Key,
)

FILE_NAME = "comparison.json"
MAX_FILE_BYTES = 64 * 1024 * 1024
VERSION = 1

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_Text = Annotated[str, msgspec.Meta(max_length=400)]
_Pair = tuple[_Count, _Count]
_Spread = Annotated[list[_Pair], msgspec.Meta(max_length=1000)]


class _Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One group; pairs of counts are of sessions on their way, and of others."""

    target: _Text
    rule: _Text | None = None
    method: _Text
    path: _Text
    answers: _Pair
    alike: _Pair
    bodies: _Pair
    statuses: list[tuple[_Count, _Count, _Count, _Count]] = []
    places: list[tuple[_Text, _Text, _Count, _Count]] = []
    noise: dict[_Text, _Text] = {}
    probes: _Count = 0
    volatile: dict[_Text, _Count] = {}
    overflow: _Count = 0
    production: _Spread = []
    target_us: _Spread = []


class _File(msgspec.Struct, frozen=True, kw_only=True):
    v: int
    unknown: _Count
    groups: Annotated[list[_Kept], msgspec.Meta(max_length=2 * MAX_GROUPS)]


_decoder = msgspec.json.Decoder(_File)


def encode(groups: Groups) -> bytes:
    """Return the file's content."""
    kept = [_kept(key, group) for key, group in groups.items()]
    return msgspec.json.encode(_File(v=VERSION, unknown=groups.unknown, groups=kept)) + b"\n"


def add_file(groups: Groups, content: bytes) -> None:
    """Add what a file holds. Raises ValueError, which says what is wrong with it."""
    try:
        file = _decoder.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("no comparison of a replay") from error
    if file.v != VERSION:
        raise ValueError(f"a comparison of version {file.v}, this mirrorproxy reads {VERSION}")
    groups.unknown += file.unknown
    for one in file.groups:
        _add(groups.at(Key(one.target, one.rule, one.method, one.path)), one)


def _kept(key: Key, group: Group) -> _Kept:
    return _Kept(
        target=key.target[:400],
        rule=None if key.rule is None else key.rule[:400],
        method=key.method[:400],
        path=key.shape[:400],
        answers=_pair(group.answers),
        alike=_pair(group.alike),
        bodies=_pair(group.bodies),
        statuses=[(*change, *_pair(counts)) for change, counts in group.statuses.items()],
        places=[(*place, *_pair(counts)) for place, counts in group.places.items()],
        noise=group.noise,
        probes=group.probes,
        volatile=group.volatile,
        overflow=group.overflow,
        production=group.production.to_pairs(),
        target_us=group.target.to_pairs(),
    )


def _pair(counts: Counts) -> _Pair:
    return counts.clean, counts.astray


def _add(group: Group, one: _Kept) -> None:
    for counts, pair in (
        (group.answers, one.answers),
        (group.alike, one.alike),
        (group.bodies, one.bodies),
    ):
        _put(counts, pair)
    for ours, theirs, clean, astray in one.statuses:
        if (ours, theirs) in group.statuses or len(group.statuses) < MAX_STATUSES:
            _put(group.statuses.setdefault((ours, theirs), Counts()), (clean, astray))
    for place, how, clean, astray in one.places:
        if (place, how) in group.places or len(group.places) < MAX_PLACES:
            _put(group.places.setdefault((place, how), Counts()), (clean, astray))
    for place, reason in one.noise.items():
        if len(group.noise) < MAX_PLACES:
            group.noise.setdefault(place, reason)
    for place, count in one.volatile.items():
        if place in group.volatile or len(group.volatile) < MAX_PLACES:
            group.volatile[place] = group.volatile.get(place, 0) + count
    group.probes += one.probes
    group.overflow += one.overflow
    group.production.add_pairs(one.production)
    group.target.add_pairs(one.target_us)


def _put(counts: Counts, pair: _Pair) -> None:
    counts.clean += pair[0]
    counts.astray += pair[1]
