"""The fault suite's figures as a table, and the page of the documentation that shows it."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    ("fault", "fault"),
    ("injected", "injected"),
    ("load", "requests"),
    ("failed", "failed"),
    ("beyond", "of them without cause"),
    ("captured", "captured"),
    ("dropped", "dropped, counted"),
    ("lost", "lost in flight"),
    ("repeated", "repeated lines"),
    ("replayed", "replayed"),
    ("unaccounted", "unaccounted"),
    ("note", "remark"),
)
BEGIN = "<!-- figures: written by make faults -->"
END = "<!-- end of figures -->"


def render(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as Markdown, in columns that line up."""
    table = [[title for _, title in COLUMNS]]
    for row in rows:
        shown = {**row, "beyond": row["failed"] - row["excused"]}
        table.append([_text(shown[key]) for key, _ in COLUMNS])
    widths = [max(len(line[at]) for line in table) for at in range(len(COLUMNS))]
    lines = [
        "| "
        + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        + " |"
        for line in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def write_page(page: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Replace the figures of a page. Raises ValueError if it has no place for them."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for figures")
    day = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    where = f"{day}, Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()}"
    page.write_text(f"{before}{BEGIN}\n\n{where}:\n\n{render(rows)}\n\n{END}{after}")


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
