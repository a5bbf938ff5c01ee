"""How an inspection looks as text: tables for a terminal or a pipe. Reads nothing itself."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mirrorproxy.report.inspection import Row, Summary
from mirrorproxy.report.printable import printable
from mirrorproxy.units import format_duration, format_size

SHOWN_ROWS = 40
SHOWN_DAMAGES = 10
_US = 1_000_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LAST_US = 253_402_300_799_999_999  # the end of the year 9999: a record may claim to end later


def render(summary: Summary) -> RenderableType:
    """Return a summary as text: totals, then a table of requests, of secrets, and damage."""
    parts: list[RenderableType] = [_totals(summary)]
    if summary.rows:
        parts += ["", _requests(summary)]
    if len(summary.rows) > SHOWN_ROWS:
        parts.append(Text(f"... and {len(summary.rows) - SHOWN_ROWS} more; filter to see them"))
    if summary.sealed:
        parts += ["", _secrets(summary)]
    if summary.damages:
        parts += ["", _damage(summary)]
    return Group(*parts)


def moment(at_us: int) -> str:
    """Return a moment in microseconds since 1970 as UTC text with milliseconds."""
    at_us = min(at_us, _LAST_US)
    at = _EPOCH + datetime.timedelta(seconds=at_us // _US)
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at_us // 1000 % 1000:03d}Z"


def _totals(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")

    def line(name: str, value: str) -> None:
        table.add_row(Text(name, style="bold"), Text(printable(value)))

    more = f" and {summary.duplicates:,} duplicates" if summary.duplicates else ""
    line("exchanges", f"{summary.exchanges:,}{more}")
    if summary.first_us is not None and summary.last_us is not None:
        span_s = (summary.last_us - summary.first_us) / _US
        line(
            "time",
            f"{moment(summary.first_us)} to {moment(summary.last_us)} ({format_duration(span_s)})",
        )
    if not summary.exchanges:
        return table
    line(
        "bodies",
        f"{format_size(summary.request_bytes)} sent, "
        f"largest {format_size(summary.largest_request_bytes)}; "
        f"{format_size(summary.response_bytes)} answered, "
        f"{summary.recorded_responses:,} of the answers' bodies recorded",
    )
    line("services", _counts(summary.services))
    line("methods", _counts(summary.methods))
    line("status", _counts(summary.status))
    if summary.failures:
        line("no answer", _counts(summary.failures))
    if len(summary.nodes) > 1:
        line("nodes", _counts(summary.nodes))
    if summary.body_objects:
        line("body objects", f"{summary.body_objects:,}")
    if summary.truncated:
        line("cut bodies", f"{summary.truncated:,} (never replayed)")
    if summary.omitted:
        line("bodies left out", _counts(summary.omitted))
    return table


def _requests(summary: Summary) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("service", no_wrap=True)
    table.add_column("method", no_wrap=True)
    table.add_column("path", overflow="fold")
    for heading in ("count", "status", "body", "time", "longest"):
        table.add_column(heading, justify="right")
    for row in summary.rows[:SHOWN_ROWS]:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[Text]:
    mean_bytes = row.request_bytes // row.exchanges
    return [
        Text(printable(cell))
        for cell in (
            row.service,
            row.method,
            row.path,
            f"{row.exchanges:,}",
            _counts(row.status),
            format_size(mean_bytes) if row.request_bytes else "",
            _milliseconds(row.duration_us / row.exchanges),
            _milliseconds(row.max_duration_us),
        )
    ]


def _secrets(summary: Summary) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("sealed in", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("scheme")
    for heading in ("exchanges", "different", "subjects"):
        table.add_column(heading, justify="right")
    for name in summary.sealed[:SHOWN_ROWS]:
        table.add_row(
            Text(printable(name.place)),
            Text(printable(name.name)),
            Text(printable(name.scheme or "")),
            f"{name.exchanges:,}",
            f"{name.distinct:,}",
            f"{name.subjects:,}" if name.subjects else "",
        )
    return table


def _damage(summary: Summary) -> Text:
    lines = [
        f"damage: {_number(summary.damages, 'place')}, "
        f"{_number(summary.damaged_lines, 'line')} known to be lost"
    ]
    for damage in summary.first_damages[:SHOWN_DAMAGES]:
        where = damage.file if damage.offset is None else f"{damage.file}: byte {damage.offset}"
        lines.append(printable(f"  {where}: {damage.reason}"))
    if summary.damages > SHOWN_DAMAGES:
        lines.append(f"  ... and {summary.damages - SHOWN_DAMAGES} more")
    # Never wrapped: a name with its offset is there to be copied and searched for.
    return Text("\n".join(lines), style="red", no_wrap=True, overflow="ignore")


def _number(count: int, of: str) -> str:
    return f"{count:,} {of}" if count == 1 else f"{count:,} {of}s"


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)


def _milliseconds(duration_us: float) -> str:
    return f"{duration_us / 1000:,.1f} ms"
