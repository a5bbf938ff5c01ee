"""Results: what a benchmark run measured, as values that can be written and read again.

Pure. A result is a list of sections, each a table with one row per subject and
one column per measure; every cell is the median of several runs and its spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

VERSION = 1


class Spread(msgspec.Struct, frozen=True):
    """The median of several runs, with their least and greatest."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one value; four digits are kept."""
        kept = [float(f"{value:.4g}") for value in values]
        return cls(statistics.median(kept), min(kept), max(kept), len(kept))


class Column(msgspec.Struct, frozen=True):
    """One measure.

    better: None for what is only told. is_relative: a ratio or a count that
    does not depend on how fast the machine is. resolution: a smaller change is
    noise of the clock, whatever share it is.
    """

    name: str
    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    is_relative: bool = False
    resolution: float = 0.0


class Row(msgspec.Struct, frozen=True):
    """One subject. cells: by column name; a missing one was not measured. is_ours: mirrorproxy."""

    subject: str
    cells: dict[str, Spread]
    is_ours: bool = False


class Demand(msgspec.Struct, frozen=True):
    """A figure that has to be reached: at most a limit, or at least."""

    text: str
    bound: Literal["at most", "at least"]
    limit: float
    measured: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps within its limit."""
        if self.bound == "at most":
            return self.measured <= self.limit
        return self.measured >= self.limit


class Section(msgspec.Struct, frozen=True):
    """One table. how: what was done, in a sentence or two. absent: what could not take part."""

    name: str
    title: str
    how: str
    columns: Sequence[Column] = ()
    rows: Sequence[Row] = ()
    demands: Sequence[Demand] = ()
    absent: Sequence[str] = ()


class Results(msgspec.Struct, frozen=True):
    """One run of the benchmarks. date: UTC. plan: how long a run it was."""

    date: str
    plan: str
    machine: dict[str, str]
    versions: dict[str, str]
    sections: Sequence[Section]
    v: int = VERSION


def encode(results: Results) -> bytes:
    """Return results as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def decode(data: bytes) -> Results:
    """Return results from JSON; msgspec.ValidationError or DecodeError if they are none."""
    return msgspec.json.decode(data, type=Results)
