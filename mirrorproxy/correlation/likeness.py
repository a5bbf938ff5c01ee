"""Likeness: whether an item of production's list and one of the target's are the same thing.

Pure. Items are paired by their places, which proves little. What they are called does: an
item that has a name of its own among production's, and the same at the target, is the same;
one that is called otherwise is another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from mirrorproxy.correlation import affinity
from mirrorproxy.correlation.affinity import is_unmistakable
from mirrorproxy.correlation.answered_body import Step
from mirrorproxy.correlation.links import is_link

_MIN_NAME: Final = 4
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d[./:]\d\d")
_WORD = re.compile(r"[a-z]+(?:[_-][a-z]+)*|[A-Z]+(?:[_-][A-Z]+)*")
"""What tells one of a few: a state, a kind, a currency."""

Item = tuple[Step, ...]


def likenesses(
    items: Iterable[Item], produced: object, answered: object
) -> tuple[set[Item], set[Item]]:
    """Return which of the items are surely the same thing in both documents, and which are not.

    items: the ways to them, each ends with an index into a list. Of the others nothing is known.
    """
    same: set[Item] = set()
    different: set[Item] = set()
    names: dict[Item, Counter[tuple[str, str]]] = {}
    for item in items:
        one, other = _at(produced, item), _at(answered, item)
        if not isinstance(one, dict) or not isinstance(other, dict):
            continue
        place = item[:-1]
        if place not in names:
            names[place] = _names_of(_at(produced, place))
        for pair in _telling(one):
            if other.get(pair[0]) != pair[1]:
                different.add(item)
            elif names[place][pair] == 1:
                same.add(item)
    return same - different, different


def _names_of(node: object) -> Counter[tuple[str, str]]:
    items = node if isinstance(node, list) else []
    return Counter(pair for one in items if isinstance(one, dict) for pair in _telling(one))


def _telling(item: dict[str, object]) -> list[tuple[str, str]]:
    """Return the texts of an item that are nearly its own: names, addresses, titles."""
    return [
        (name, value)
        for name, value in item.items()
        if isinstance(value, str)
        and len(value) >= _MIN_NAME
        and _WORD.fullmatch(value) is None
        and _DATE.match(value) is None
        and not is_link(value)
        and not is_unmistakable(value)
        and not affinity.names[name].is_id
    ]


def _at(node: object, steps: Item) -> object:
    for step in steps:
        if isinstance(step, str):
            if not isinstance(node, dict):
                return None
            node = node.get(step)
        elif not isinstance(node, list) or step[0] >= len(node):
            return None
        else:
            node = node[step[0]]
    return node
