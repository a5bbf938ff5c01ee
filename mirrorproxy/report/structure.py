"""Structural differences of two values made of objects, lists and scalars.

Pure. Owns the walk and the paths that it names: every item of a list is ``[*]``,
every key of a map that is made of ids is ``*``, so that what differs alike has one
name however long the list is. Linear in what is compared, bounded in what is kept;
values are looked at and never kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mirrorproxy.remembered import Remembered
from mirrorproxy.report.alike import (
    ID,
    SEALED,
    Moments,
    Same,
    is_made_name,
    like_numbers,
    like_texts,
)
from mirrorproxy.report.printable import printable

CHANGED: Final = "changed"
MISSING: Final = "missing"
ADDED: Final = "added"
TYPE: Final = "type changed"
LENGTH: Final = "length changed"
ORDER: Final = "order changed"

DECLARED: Final = "declared"
"""Why a difference does not count: the rules say so."""

MAX_DIFFERENCES: Final = 20
"""Of one exchange; what differs in more places is another answer altogether."""
MAX_DEPTH: Final = 60
MAX_PATH: Final = 160
_MAX_NAME: Final = 48
_MAX_NOISE: Final = 40

Path = list[str | int]
Ignores = Callable[[Sequence[str | int]], bool]
"""Whether a path, names and positions from the outside in, is left out by the rules."""

_SIMPLE: Final = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


class Walk:
    """Compares one pair of values; see the module.

    same: what was learned of this run, None if nothing was. ignores: what the
    rules leave out. moments: when production answered and when the target did, in
    seconds since 1970. is_loose: a value and a list of one are the same (XML).
    differences: what differs, path -> how. noise: what differs and is as good as
    equal, path -> why. is_cut: there was more than is kept.
    """

    def __init__(
        self,
        same: Same | None,
        ignores: Ignores | None,
        moments: Moments,
        *,
        is_loose: bool = False,
    ) -> None:
        self.differences: dict[str, str] = {}
        self.noise: dict[str, str] = {}
        self.is_cut = False
        self.same = same
        self._ignores = ignores
        self.moments = moments
        self.is_loose = is_loose
        self._path: Path = []
        self._seen: set[tuple[str, ...]] = set()

    def compare(self, production: object, target: object) -> None:
        """Compare two values, from the root on."""
        self._values(production, target)

    def put(self, place: str, kind: str, reason: str | None = None) -> None:
        """Say that a place differs; reason: why it is as good as equal."""
        if self._ignores is not None and self._ignores([place]):
            reason = DECLARED
        if reason is None:
            self.differences.setdefault(place, kind)
        else:
            self.noise.setdefault(place, reason)

    def _values(self, one: object, other: object) -> None:
        if len(self.differences) >= MAX_DIFFERENCES:
            self.is_cut = True
            return
        if isinstance(one, dict) and isinstance(other, dict):
            self._objects(one, other)
        elif isinstance(one, list) and isinstance(other, list):
            self._lists(one, other)
        elif self.is_loose and isinstance(one, list) != isinstance(other, list):
            self._lists(
                one if isinstance(one, list) else [one],
                other if isinstance(other, list) else [other],
            )
        else:
            self._scalars(one, other)

    def _scalars(self, one: object, other: object) -> None:
        if isinstance(one, str):
            if isinstance(other, str):
                if one != other:
                    self._differs(
                        CHANGED, like_texts(one, other, self._name(), self.same, self.moments)
                    )
                return
            if "{h1:" in one and not isinstance(other, (dict, list)):
                self._differs(TYPE, SEALED)
                return
        elif isinstance(one, bool) or isinstance(other, bool):
            if isinstance(one, bool) and isinstance(other, bool):
                if one is not other:
                    self._differs(CHANGED, None)
                return
        elif isinstance(one, (int, float)) and isinstance(other, (int, float)):
            if one != other:
                self._differs(
                    CHANGED, like_numbers(one, other, self._name(), self.same, self.moments)
                )
            return
        elif one is None and other is None:
            return
        self._differs(TYPE, None)

    def _objects(self, one: dict[str, object], other: dict[str, object]) -> None:
        path = self._path
        if len(path) >= MAX_DEPTH:
            return
        lost: list[str] = []
        for name, value in one.items():
            if name in other:
                path.append(name)
                self._values(value, other[name])
                path.pop()
            else:
                lost.append(name)
        found = (
            [name for name in other if name not in one] if len(other) + len(lost) > len(one) else []
        )
        if not lost and not found:
            return
        if (
            len(lost) == len(found)
            and all(map(is_made_name, lost))
            and all(map(is_made_name, found))
        ):
            # A map by ids: the ids are the target's own, what stands there is compared in order.
            for before, after in zip(lost, found, strict=True):
                path.append(before)
                self._differs(MISSING, ID)
                self._values(one[before], other[after])
                path.pop()
            return
        for names, kind in ((lost, MISSING), (found, ADDED)):
            for name in names:
                path.append(name)
                self._differs(kind, None)
                path.pop()

    def _lists(self, one: list[object], other: list[object]) -> None:
        path = self._path
        if len(path) >= MAX_DEPTH:
            return
        if len(one) != len(other):
            # What stands where is not known any more: values are not compared.
            self._differs(LENGTH, None)
            return
        before = len(self.differences)
        for number, value in enumerate(one):
            path.append(number)
            self._values(value, other[number])
            path.pop()
        if len(one) > 1 and len(self.differences) > before and _are_reordered(one, other):
            for name in list(self.differences)[before:]:
                del self.differences[name]
            # They may yet differ elsewhere, in another item of a list around this one.
            self._seen.clear()
            self._differs(ORDER, None)

    def _name(self) -> str:
        """Return the name of the field, of the list if it is an item."""
        for step in reversed(self._path):
            if isinstance(step, str):
                return step
        return ""

    def _differs(self, kind: str, reason: str | None) -> None:
        if self._ignores is not None and self._ignores(self._path):
            reason = DECLARED
        # One item of a list stands for all: they differ alike, and there may be many.
        field = (kind if reason is None else reason, *[s for s in self._path if isinstance(s, str)])
        if field in self._seen:
            return
        self._seen.add(field)
        if reason is None:
            self.differences.setdefault(path_text(self._path), kind)
        elif len(self.noise) < _MAX_NOISE:
            self.noise.setdefault(path_text(self._path), reason)


def path_text(path: Path) -> str:
    """Return a path as it is shown: printable, bounded, without positions and ids."""
    parts = ["$"]
    length = 1
    for step in path:
        part = _step_text(step)
        length += len(part)
        if length > MAX_PATH:
            parts.append("…")
            break
        parts.append(part)
    return "".join(parts)


def _step_text(step: str | int) -> str:
    if isinstance(step, int):
        return "[*]"
    return _names[step] if len(step) <= _MAX_NAME else _name_text(step)


def _name_text(step: str) -> str:
    if is_made_name(step):
        return ".*"
    if len(step) <= _MAX_NAME and _SIMPLE.fullmatch(step):
        return f".{step}"
    text = printable(step)
    if len(text) > _MAX_NAME:
        text = text[: _MAX_NAME - 1] + "…"
    return f"['{text}']"


_names: Final = Remembered(_name_text)


def _are_reordered(one: list[object], other: list[object]) -> bool:
    """Tell whether two lists hold the same items in another order."""
    return Counter(map(_canonical, one)) == Counter(map(_canonical, other))


_canonical: Final = msgspec.json.Encoder(order="sorted").encode
