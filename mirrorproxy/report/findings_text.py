"""The comparison with production as lines that people read, and as what ``--json`` prints.

Pure. Owns the wording. Shows names, paths and counts: never a value of a header or body.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mirrorproxy.report.findings import Finding, Where, find
from mirrorproxy.report.groups import Group, Groups, Key
from mirrorproxy.report.printable import printable
from mirrorproxy.report.structure import ADDED, LENGTH, MISSING, ORDER, TYPE

SHOWN: Final = 10
_SHOWN_ALSO: Final = 3
_LISTED: Final = 100
"""In JSON."""
_SHOWN_GROUPS: Final = 50
_SHOWN_PLACES: Final = 20

_NO_BODIES = (
    "hint: bodies were not compared: capture --response-body records those of production's answers"
)


def comparison_lines(groups: Groups) -> list[str]:
    """Return what differs from production, a line each, the worst first."""
    known = list(groups.items())
    answers = sum(group.answers.total for _, group in known)
    if not answers:
        return []
    alike = sum(group.alike.total for _, group in known)
    bodies = sum(group.bodies.total for _, group in known)
    found = find(groups)
    lines = [
        f"compared    {answers:,} answers with production's: {alike:,} with its status, "
        f"{bodies:,} of these with its body; "
        + (f"{len(found.shown):,} findings" if len(found.shown) != 1 else "1 finding")
    ]
    names = _names_of(found.shown)
    lines += [f"differs     {printable(text_of(one, names))}" for one in found.shown[:SHOWN]]
    rest = [
        text
        for text, count in (
            (f"{len(found.shown) - SHOWN:,} more", len(found.shown) - SHOWN),
            (f"{found.minor:,} too rare to tell from chance", found.minor),
        )
        if count > 0
    ]
    if rest:
        lines.append(f"differs     and {', '.join(rest)} (--json lists them)")
    if alike and not bodies:
        lines.append(_NO_BODIES)
    return lines


def comparison_json(groups: Groups) -> dict[str, object]:
    """Return the comparison as ``--json`` prints it."""
    known = sorted(groups.items(), key=lambda one: -_differing(one[1]))
    found = find(groups)
    names = _names_of(found.shown)
    return {
        "answers": sum(group.answers.total for _, group in known),
        "same_status": sum(group.alike.total for _, group in known),
        "with_bodies": sum(group.bodies.total for _, group in known),
        "unknown": groups.unknown,
        "findings": [_finding(one, names) for one in found.shown[:_LISTED]],
        "more_findings": max(len(found.shown) - _LISTED, 0),
        "minor": found.minor,
        "groups": [_group(key, group) for key, group in known[:_SHOWN_GROUPS]],
        "more_groups": max(len(known) - _SHOWN_GROUPS, 0),
    }


def text_of(finding: Finding, names: frozenset[str] = frozenset()) -> str:
    """Return a finding in words. names: of targets and rules that have to be told apart."""
    first = finding.where[0]
    if finding.slow is not None:
        slow = finding.slow
        return (
            f"{_place(first.key, names)}: {_ms(slow.target_us)} where production took "
            f"{_ms(slow.production_us)}, {slow.times:.1f} times what the rest of the run suggests "
            f"({slow.answers:,} answers)"
        )
    if finding.kind == "status":
        said = [
            (where, f"{_share(where)} answered {where.places[0][1]} where production answered "
             f"{where.places[0][0]} ({where.seen:,} of {where.of:,})")
            for where in finding.where
        ]  # fmt: skip
        also = [f"{_place(w.key, names)} {_share(w)}" for w, _ in said[1:]]
        return f"{_place(first.key, names)}: {said[0][1]}{_also(also)}"
    also = [f"{_place(w.key, names)} {_fields(w)} {_share(w)}" for w in finding.where[1:]]
    return (
        f"{_place(first.key, names)}: {_fields(first)} in {_share(first)} "
        f"({first.seen:,} of {first.of:,}){_also(also)}"
    )


def _ms(us: float) -> str:
    ms = us / 1000
    return f"{ms:.0f}ms" if ms >= 100 else f"{ms:.1f}ms"


def _also(others: list[str]) -> str:
    if not others:
        return ""
    more = len(others) - _SHOWN_ALSO
    return f"; also {', '.join(others[:_SHOWN_ALSO])}" + (f" and {more:,} more" if more > 0 else "")


def _fields(where: Where) -> str:
    places = dict(where.places)
    if len(where.places) == 2 and sorted(places.values()) == [ADDED, MISSING]:
        (lost,) = (name for name, how in where.places if how == MISSING)
        (found,) = (name for name, how in where.places if how == ADDED)
        return f"{lost} is missing, {found} is new"
    return ", ".join(f"{name} {_HOW.get(how, how)}" for name, how in where.places)


_HOW: Final = {
    MISSING: "is missing",
    ADDED: "is new",
    TYPE: "has another type",
    LENGTH: "has another length",
    ORDER: "is in another order",
}


def _place(key: Key, names: frozenset[str]) -> str:
    more = [name for name in (key.target, key.rule) if name is not None and name in names]
    return f"{key.method} {key.shape}" + (f" [{', '.join(more)}]" if more else "")


def _names_of(findings: Iterable[Finding]) -> frozenset[str]:
    """Return the targets and rules that have to be named, as there are several."""
    keys = [where.key for finding in findings for where in finding.where]
    targets = {key.target for key in keys}
    names = targets if len(targets) > 1 else set()
    rules: dict[tuple[str, str, str], set[str]] = {}
    for key in keys:
        rules.setdefault((key.target, key.method, key.shape), set()).add(key.rule or "")
    for several in rules.values():
        if len(several) > 1:
            names |= several
    return frozenset(names)


def _share(where: Where) -> str:
    percent = 100 * where.seen / where.of
    return f"{percent:.0f} %" if percent >= 99.95 or percent == int(percent) else f"{percent:.1f} %"


def _differing(group: Group) -> int:
    return sum(one.total for one in group.statuses.values()) + max(
        (one.total for one in group.places.values()), default=0
    )


def _finding(finding: Finding, names: frozenset[str]) -> dict[str, object]:
    shown: dict[str, object] = {
        "kind": finding.kind,
        "text": printable(text_of(finding, names)),
        "score": round(finding.score, 4),
    }
    if finding.statuses is not None:
        shown["production_status"], shown["target_status"] = finding.statuses
    if finding.slow is not None:
        shown["times"] = round(finding.slow.times, 3)
        shown["production_ms"] = round(finding.slow.production_us / 1000, 3)
        shown["target_ms"] = round(finding.slow.target_us / 1000, 3)
        shown["suggested_ms"] = round(finding.slow.suggested_us / 1000, 3)
    shown["where"] = [
        {
            **_key(where.key),
            "count": where.seen,
            "of": where.of,
            **({"places": dict(where.places)} if finding.kind == "differs" else {}),
        }
        for where in finding.where[:_SHOWN_PLACES]
    ]
    return shown


def _key(key: Key) -> dict[str, object]:
    return {
        "target": key.target,
        "rule": key.rule,
        "method": printable(key.method),
        "path": printable(key.shape),
    }


def _group(key: Key, group: Group) -> dict[str, object]:
    places = sorted(group.places.items(), key=lambda one: -one[1].total)[:_SHOWN_PLACES]
    production, target = group.production.quantile(0.5), group.target.quantile(0.5)
    return {
        **_key(key),
        "answers": group.answers.total,
        "same_status": group.alike.total,
        "with_bodies": group.bodies.total,
        "statuses": {
            f"{ours} -> {theirs}": counts.total for (ours, theirs), counts in group.statuses.items()
        },
        "places": {f"{place} {how}": counts.total for (place, how), counts in places},
        "noise": dict(list(group.noise.items())[:_SHOWN_PLACES]),
        "probes": group.probes,
        "production_ms": {"p50": round(production / 1000, 3)},
        "target_ms": {"p50": round(target / 1000, 3)},
        "latency_ratio": round(target / production, 3) if production else None,
    }
