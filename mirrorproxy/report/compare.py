"""One answer against production's own.

Pure. Owns what is compared with what: the status always, the rest only where both
gave the same status, as an error page has nothing in common with what it stands for.
Holds names and paths, never a value: nothing secret can get out by a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mirrorproxy.report.alike import Moments, Same
from mirrorproxy.report.body_diff import compare_bodies
from mirrorproxy.report.structure import Walk

STATUS: Final = "status"
_NO_NAMES: Final[frozenset[str]] = frozenset()


class Leaves(NamedTuple):
    """What the rules say of a comparison.

    ignores: whether a path in a body is left out, None if none is. headers: lower-case
    names that are compared too; ignored: that are not. is_off: nothing is compared.
    probes: methods that may be sent twice to find out what is noise.
    """

    ignores: Callable[[Sequence[str | int]], bool] | None = None
    headers: frozenset[str] = _NO_NAMES
    ignored: frozenset[str] = _NO_NAMES
    is_off: bool = False
    probes: frozenset[str] = frozenset(("GET", "HEAD"))


EVERYTHING: Final = Leaves()


class Comparison(NamedTuple):
    """What differs between two answers of the same status.

    differences: place -> how, such as ``$.price`` -> changed, ``header etag`` -> missing.
    noise: place -> why it does not count. has_bodies: whether bodies were compared.
    is_cut: more differs than is told.
    """

    differences: dict[str, str]
    noise: dict[str, str]
    has_bodies: bool
    is_cut: bool = False


_NONE: Final[dict[str, str]] = {}
SAME: Final = Comparison(_NONE, _NONE, has_bodies=False)
SAME_BODIES: Final = Comparison(_NONE, _NONE, has_bodies=True)


def compare(
    heads: dict[str, str],
    production: bytes | None,
    target: bytes | None,
    media_type: str,
    moments: Moments,
    leaves: Leaves = EVERYTHING,
    same: Same | None = None,
) -> Comparison:
    """Return what differs.

    heads: what differs in the heads, see `head_diff`. production, target: bodies without
    their content coding, None where one is not known. media_type: production's, lower
    case, without parameters. moments: when each was answered, in seconds since 1970.
    same: what was learned of this run.
    """
    if production is None or target is None:
        return Comparison(heads, _NONE, has_bodies=False) if heads else SAME
    if production == target:
        return Comparison(heads, _NONE, has_bodies=True) if heads else SAME_BODIES
    walk = Walk(same, leaves.ignores, moments)
    compare_bodies(walk, media_type, production, target)
    differences = {**heads, **walk.differences} if heads else walk.differences
    return Comparison(differences, walk.noise, has_bodies=True, is_cut=walk.is_cut)
