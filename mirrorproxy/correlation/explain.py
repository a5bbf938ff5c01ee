"""Explaining: what was replaced in the shots of the exchanges that somebody asked about.

Pure. Bounded; keeps names, places and ids. Values are shown only where they are ids: what
may be a secret never is, neither production's nor the target's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mirrorproxy.correlation.affinity import UNMISTAKABLE, is_uuid_or_ulid
from mirrorproxy.correlation.learned import Learned
from mirrorproxy.correlation.reference import COOKIE, HEADER
from mirrorproxy.marks import contains_mark
from mirrorproxy.shot import Shot

MAX_TOLD: Final = 1_000
"""Replacements that are kept for one exchange, all its copies and targets together."""

HIDDEN: Final = "\N{HORIZONTAL ELLIPSIS}"
_TELLING = ("token", "csrf", "xsrf", "session", "auth", "key", "secret", "pass", "sig", "code")


class Explained:
    """What was replaced in the shots of some exchanges. ids: of these."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._told: dict[str, list[dict[str, object]]] = {one: [] for one in ids}

    def add(self, shot: Shot, part: str, name: str, text: str, learned: Learned) -> None:
        """Take one replacement. part, name: where it was done, as in `reference`."""
        told = self._told.get(shot.exchange_id)
        if told is None or len(told) >= MAX_TOLD:
            return
        is_shown = _is_id(part, name, text, learned)
        told.append(
            {
                "target": shot.target,
                "copy": shot.copy,
                "in": f"{part} {name}".rstrip(),
                "from": text if is_shown else HIDDEN,
                "to": learned.value if is_shown else HIDDEN,
                "learned_from": learned.exchange_id,
                "learned_at": learned.place,
            }
        )

    def to_json(self) -> dict[str, list[dict[str, object]]]:
        """Return the replacements by the exchanges that were asked about."""
        return self._told

    def lines(self) -> list[str]:
        """Return the same for people."""
        lines: list[str] = []
        for exchange_id, told in self._told.items():
            if not told:
                lines.append(f"explain     {exchange_id}: nothing was replaced")
            for one in told:
                copy = f" (copy {one['copy']})" if one["copy"] else ""
                lines.append(
                    f"explain     {exchange_id}: to {one['target']}{copy}, {one['in']}: "
                    f"{one['from']} -> {one['to']}, learned from {one['learned_from']} "
                    f"({one['learned_at']})"
                )
        return lines


def _is_id(part: str, name: str, text: str, learned: Learned) -> bool:
    """Tell whether a value is an id and nothing that opens anything."""
    lower = name.lower()
    if part == COOKIE or contains_mark(text) or any(word in lower for word in _TELLING):
        return False
    if learned.keys[0] == UNMISTAKABLE:
        return is_uuid_or_ulid(text) and is_uuid_or_ulid(learned.value) and part != HEADER
    return len(learned.value) < 64 and learned.value.isprintable()
