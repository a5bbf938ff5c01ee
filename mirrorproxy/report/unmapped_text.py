"""The credentials that nothing replaced, as lines that people read.

Pure. Owns the wording alone. Shows fingerprints and kept claims: what a rule file can
name, never a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mirrorproxy.report.printable import printable


class Row(Protocol):
    """See `replay.unmapped`."""

    @property
    def place(self) -> str:
        """Where it stands."""

    @property
    def name(self) -> str:
        """The header, key or field."""

    @property
    def scheme(self) -> str | None:
        """Such as Bearer."""

    @property
    def claims(self) -> tuple[tuple[str, str], ...]:
        """Of a JWT."""

    @property
    def requests(self) -> int:
        """How many requests."""

    @property
    def users(self) -> Sequence[tuple[str, int]]:
        """The most frequent, with counts."""


def unmapped_lines(rows: Sequence[Row]) -> list[str]:
    """Return a line for each kind of credential, and below it its most frequent users."""
    lines: list[str] = []
    for row in rows:
        what = [row.place, row.name, row.scheme or "", *(f"{k}={v}" for k, v in row.claims)]
        lines.append(f"unmapped    {row.requests:,} of {printable(' '.join(filter(None, what)))}")
        lines += [f"            {count:,} by {printable(who)}" for who, count in row.users]
    return lines
