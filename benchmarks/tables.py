"""Tables: results as text for a terminal and as the page RESULTS.md.

Pure: values in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence

from regressions import Regression
from results import Column, Demand, Results, Section, Spread


def number(value: float) -> str:
    """Return a figure with as many digits as say something."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def cell(spread: Spread | None) -> str:
    """Return a median, and its spread where there was more than one run."""
    if spread is None:
        return "-"
    if spread.runs < 2:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"


def heading(column: Column) -> str:
    """Return a column's name with its unit."""
    return f"{column.name}, {column.unit}" if column.unit else column.name


def grid(section: Section) -> list[list[str]]:
    """Return a section's table as rows of text, the headings first."""
    return [
        ["", *map(heading, section.columns)],
        *(
            [row.subject, *(cell(row.cells.get(column.name)) for column in section.columns)]
            for row in section.rows
        ),
    ]


def verdict(demand: Demand) -> str:
    """Return whether a demand is met, in one line."""
    unit = f" {demand.unit}" if demand.unit else ""
    return (
        f"{'met' if demand.is_met else 'NOT MET'}: {demand.text}: {number(demand.measured)}{unit}, "
        f"{demand.bound} {number(demand.limit)}{unit}"
    )


def text(section: Section) -> str:
    """Return a section for a terminal."""
    lines = [section.title, "=" * len(section.title)]
    if section.rows:
        table = grid(section)
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            first, *rest = (
                value.ljust(width) if place == 0 else value.rjust(width)
                for place, (value, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join([first, *rest]).rstrip())
    lines += [verdict(demand) for demand in section.demands]
    lines += [f"not measured: {reason}" for reason in section.absent]
    return "\n".join(lines) + "\n"


def markdown(section: Section) -> str:
    """Return a section of the page."""
    blocks = [f"## {section.title}", section.how]
    if section.rows:
        first, *rest = grid(section)
        rule = ["---", *("---:" for _ in first[1:])]
        blocks.append("\n".join("| " + " | ".join(row) + " |" for row in [first, rule, *rest]))
    notes = [verdict(demand) for demand in section.demands]
    notes += [f"Not measured: {reason}" for reason in section.absent]
    if notes:
        blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def page(results: Results, worse: Sequence[Regression] | None) -> str:
    """Return the whole page. worse: None when there was nothing to compare with."""
    where = ", ".join(results.machine.values())
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    opening = (
        f"# Results\n\nMade by `make bench` on {results.date}, plan {results.plan}.\n\n"
        f"Machine: {where}.\n\nVersions: {versions}.\n\n"
        "Cells are the median of the runs, with the least and the greatest. What one table\n"
        "compares took turns in one run. CPU is user and system time of the whole tree of\n"
        "processes; load generator and origin share the machine, so throughput says less.\n"
    )
    return "\n".join([opening, *map(markdown, results.sections), _changes(worse)])


def _changes(worse: Sequence[Regression] | None) -> str:
    if worse is None:
        body = "There were no earlier results to compare with."
    elif worse:
        body = "\n".join(f"- {one}" for one in worse)
    else:
        body = "Nothing became worse by more than 10 % since the results before."
    return f"## Since the results before\n\n{body}\n"
