"""The checks of sealing keys: whether all mirrors make the same mark of the same secret.

Pure. Knows ids of keys alone, never a key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from mirrorproxy.doctor.finding import Finding
from mirrorproxy.marks import parse_fingerprint
from mirrorproxy.record import Exchange

_WHAT = "sealing keys"
_REMEDY = (
    "give all mirrors one key: the same file (--seal-key), or the same MIRRORPROXY_SEAL_KEY; "
    "records that exist keep theirs"
)


def check_mirror_keys(ids: Mapping[str, str]) -> Finding:
    """Return whether mirrors share one key. ids: by the mirror's name."""
    if len(set(ids.values())) > 1:
        shown = ", ".join(f"{name} {id_}" for name, id_ in sorted(ids.items()))
        return Finding(
            "problem",
            _WHAT,
            f"mirrors have different ones ({shown}): a session that meets two is broken in two",
            _REMEDY,
        )
    only = next(iter(ids.values()), "none")
    return Finding("ok", _WHAT, f"{only} on {_mirrors(len(ids))}")


def check_record_keys(nodes: Mapping[str, Iterable[str]], exchanges: int) -> Finding:
    """Return whether records were sealed with one key. nodes: which nodes sealed with each."""
    if len(nodes) > 1:
        shown = ", ".join(
            f"{id_} by {'/'.join(sorted(names))}" for id_, names in sorted(nodes.items())
        )
        return Finding(
            "problem",
            f"{_WHAT} in records",
            f"there are {len(nodes)} ({shown}): a session that met two is broken in two",
            _REMEDY,
        )
    only = next(iter(nodes), "none")
    return Finding("ok", f"{_WHAT} in records", f"{only} in the {exchanges:,} looked at")


def keys_of(exchanges: Iterable[Exchange]) -> tuple[dict[str, set[str]], int]:
    """Return which mirrors sealed with which key, by its id, and how many exchanges there were."""
    nodes: dict[str, set[str]] = {}
    seen: Counter[str] = Counter()
    for exchange in exchanges:
        seen["exchanges"] += 1
        for credential in exchange.credentials:
            if (found := parse_fingerprint(credential.fingerprint)) is not None:
                mirror = exchange.node.rpartition("/")[0] or exchange.node
                nodes.setdefault(found[0], set()).add(mirror)
    return nodes, seen["exchanges"]


def _mirrors(count: int) -> str:
    return f"{count} mirror{'' if count == 1 else 's'}"
