"""Regressions: what became worse since the last results.

Pure. Only mirrorproxy's own rows are judged: the other subjects tell how much
the machine changed. Between unlike machines only relative figures are compared.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from results import Results, Spread

LIMIT = 0.10


class Regression(msgspec.Struct, frozen=True):
    """One figure that became worse. share: by how much, 0.25 for a quarter.

    is_certain: the spreads of the two results do not meet.
    """

    section: str
    subject: str
    column: str
    unit: str
    before: float
    now: float
    share: float
    is_certain: bool

    def __str__(self) -> str:
        """Return one line for people."""
        unit = f" {self.unit}" if self.unit else ""
        doubt = "" if self.is_certain else ", within the spread of the runs"
        return (
            f"{self.section}, {self.subject}, {self.column}: {self.before:g}{unit} before, "
            f"{self.now:g}{unit} now: {self.share:.0%} worse{doubt}"
        )


def regressions(before: Results, now: Results, limit: float = LIMIT) -> list[Regression]:
    """Return what is worse by more than a share, the worst first.

    limit: above 0; 0.1 names what became worse by more than a tenth.
    """
    are_alike = before.machine.get("cpu") == now.machine.get("cpu")
    found = [
        change for change in _changes(before, now, only_relative=not are_alike)
        if change.share > limit
    ]  # fmt: skip
    return sorted(found, key=lambda change: change.share, reverse=True)


def _changes(before: Results, now: Results, *, only_relative: bool) -> Iterator[Regression]:
    past = {
        (section.name, row.subject, name): cell
        for section in before.sections
        for row in section.rows
        for name, cell in row.cells.items()
    }
    for section in now.sections:
        for row in section.rows:
            for column in section.columns if row.is_ours else ():
                was = past.get((section.name, row.subject, column.name))
                cell = row.cells.get(column.name)
                if was is None or cell is None or column.better is None:
                    continue
                if only_relative and not column.is_relative:
                    continue
                sign = 1 if column.better == "lower" else -1
                worse_by = sign * (cell.median - was.median)
                if worse_by <= column.resolution or worse_by <= 0:
                    continue
                share = worse_by / abs(was.median) if was.median else float("inf")
                yield Regression(
                    section.title, row.subject, column.name, column.unit,
                    was.median, cell.median, share, not _meet(was, cell),
                )  # fmt: skip


def _meet(one: Spread, other: Spread) -> bool:
    return one.low <= other.high and other.low <= one.high
