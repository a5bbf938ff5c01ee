"""Two shops that were asked the same: do they hold the same, up to the ids that each made?

Pure. A thing is known by the request that made it, never by its id; a reference counts as the
thing that it names. What was asked is compared request by request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from support.shop_state import Logged, Ref, Thing

SERVER_MADE = frozenset({"uuid", "etag", "created_at"})
"""Fields whose value every shop makes itself."""

Things = Mapping[str, Mapping[str, Thing]]


def canonical(things: Things) -> dict[str, Any]:
    """Return what a shop holds, by what was asked for: no value in it is the shop's own."""
    names = {(kind, id): one.born for kind, group in things.items() for id, one in group.items()}
    return {
        one.born: {
            "owner": one.owner,
            "inside": one.inside and names[one.inside.kind, one.inside.id],
            **{
                name: _plain(value, names)
                for name, value in one.fields.items()
                if name not in SERVER_MADE
            },
        }
        for group in things.values()
        for one in group.values()
    }


def _plain(value: Any, names: Mapping[tuple[str, str], str]) -> Any:
    if isinstance(value, dict) and value.keys() == {"kind", "id"}:  # a reference that was sent
        value = Ref(**value)
    if isinstance(value, Ref):
        # What it named may be gone by now.
        return names.get((value.kind, value.id), f"no {value.kind} any more")
    if isinstance(value, dict):
        return {name: _plain(one, names) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, names) for one in value]
    return value


def differences(production: Things, other: Things) -> list[str]:
    """Return how another shop's state differs from production's, a line each."""
    expected, found = canonical(production), canonical(other)
    lines = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    lines += [f"{name} should not be there" for name in sorted(found.keys() - expected.keys())]
    lines += [
        f"{name} is {found[name]}, not {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    return lines


class Verdict(NamedTuple):
    """How the same requests went at another shop.

    same: with production's status. wrong_things: with its status, but about something else.
    wrong_values: values that are no ids and came changed. examples: of whatever is wrong.
    """

    asked: int
    same: int
    missing: int
    repeated: int
    wrong_things: int
    wrong_values: int
    examples: list[str]


def compare_logs(production: Iterable[Logged], other: Iterable[Logged]) -> Verdict:
    """Compare what was asked and answered, request by request."""
    came: dict[str, list[Logged]] = {}
    for one in other:
        came.setdefault(one.step, []).append(one)
    asked = same = missing = wrong_things = wrong_values = 0
    examples: list[str] = []
    for one in production:
        asked += 1
        again = came.get(one.step)
        if not again:
            missing += 1
            examples.append(f"{_name(one)}: never came")
            continue
        last = again[-1]
        changed = Counter(one.values.items()) - Counter(last.values.items())
        if last.status != one.status:
            examples.append(
                f"{_name(one)}: {last.status} instead of {one.status} at {last.path} "
                f"({last.reason or one.reason})"
            )
        else:
            same += 1
            if last.touched != one.touched:
                wrong_things += 1
                examples.append(f"{_name(one)}: about {last.touched}, not {one.touched}")
            if changed:
                wrong_values += 1
        if changed and last.values:
            examples.append(f"{_name(one)}: {last.values}, not {one.values}")
    repeated = sum(len(again) - 1 for again in came.values())
    return Verdict(asked, same, missing, repeated, wrong_things, wrong_values, examples)


def _name(one: Logged) -> str:
    return f"{one.step} {one.method} {one.path}"
