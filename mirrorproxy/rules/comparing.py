"""What the rules say of the comparison with production, compiled.

Pure. Owns which paths and headers are left out, which headers are compared too, and
which methods may be sent twice. Compares nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import UNSET, UnsetType

from mirrorproxy.rules.jsonpath import JsonPath, parse_path
from mirrorproxy.rules.patterns import Fault, KeyPath
from mirrorproxy.rules.schema import Compare

_HEADER: Final = "header:"
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}")
SAFE_PROBES: Final = frozenset(("GET", "HEAD"))


class Comparing(NamedTuple):
    """How the answers to a rule's shots are compared.

    paths: that are left out of bodies, with all below them. headers: lower-case names that
    are compared too; ignored: that are not. is_off: nothing is compared. probes: methods
    that may be sent twice.
    """

    paths: tuple[JsonPath, ...] = ()
    headers: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    is_off: bool = False
    probes: frozenset[str] = SAFE_PROBES

    def ignores(self, path: Sequence[str | int]) -> bool:
        """Tell whether what stands at a path, names and positions, is left out."""
        return any(_leads_to(one, path) for one in self.paths)


EVERYTHING: Final = Comparing()


def compile_compare(
    compare: Compare | bool | UnsetType, defaults: Comparing, at: KeyPath
) -> Comparing:
    """Return what a rule says, added to what holds for all. Raises Fault."""
    if compare is UNSET:
        return defaults
    if isinstance(compare, bool):
        return defaults._replace(is_off=not compare)
    paths = list(defaults.paths)
    ignored = set(defaults.ignored)
    for number, text in enumerate(compare.ignore):
        here = (*at, "ignore", number)
        if text.startswith(_HEADER):
            ignored.add(_name(text.removeprefix(_HEADER).strip(), here))
        else:
            paths.append(parse_path(text, here))
    headers = {_name(name, (*at, "headers", number)) for number, name in enumerate(compare.headers)}
    probes = defaults.probes
    for number, method in enumerate(compare.probe):
        if not _METHOD.fullmatch(method):
            raise Fault("expected a method such as POST", (*at, "probe", number))
        probes |= {method}
    return Comparing(
        tuple(paths), defaults.headers | headers, frozenset(ignored), is_off=False, probes=probes
    )


def _name(name: str, at: KeyPath) -> str:
    if not _NAME.fullmatch(name):
        raise Fault("expected the name of a header", at)
    return name.lower()


def _leads_to(rule: JsonPath, path: Sequence[str | int]) -> bool:
    """Tell whether a path goes through what the rule's path names."""
    # All places in the path to which the steps so far may lead; as many as it is long.
    reached = {0}
    for step in rule.steps:
        following: set[int] = set()
        for start in reached:
            ends = (
                range(start, len(path)) if step.is_deep else range(start, min(start + 1, len(path)))
            )
            for end in ends:
                key = path[end]
                if step.name is not None:
                    fits = step.name == key
                else:
                    # A position from the end is not known here: of a list it may be any.
                    fits = step.item is None or (
                        isinstance(key, int) and (step.item == key or step.item < 0)
                    )
                if fits:
                    following.add(end + 1)
        if not following:
            return False
        reached = following
    return True
