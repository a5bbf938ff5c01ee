"""Charts as SVG: lines over time in panels, with a grid, and nothing else.

Pure. Readable on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, PANEL, GAP = 860, 210, 46
LEFT, RIGHT, TOP = 62, 18, 34
INK, GRID = "#444", "#ddd"


class Line(NamedTuple):
    """One line. points: (seconds, value), None where there is nothing. is_dashed: a limit."""

    name: str
    colour: str
    points: Sequence[tuple[float, float | None]]
    is_dashed: bool = False


class Panel(NamedTuple):
    """Lines with one scale. most: the top of it."""

    title: str
    most: float
    lines: Sequence[Line]


def draw(panels: Sequence[Panel], seconds: float, marks: Sequence[tuple[float, str]]) -> str:
    """Return an SVG document. marks: (seconds, what happened)."""
    height = TOP + len(panels) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, seconds, TOP + number * (PANEL + GAP))
    bottom = TOP + len(panels) * (PANEL + GAP) - GAP
    for at_s, text in marks:
        x = _x(at_s, seconds)
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{INK}" '
            'stroke-dasharray="2 3"/>'
        )
        # In the last panel, where what there is to see rises from the bottom.
        parts.append(_text(x + 5, bottom - PANEL + 14, text, INK))
    return "\n".join((*parts, "</svg>", ""))


def _x(at_s: float, seconds: float) -> float:
    return LEFT + at_s / seconds * (WIDTH - LEFT - RIGHT)


def _panel(panel: Panel, seconds: float, top: float) -> list[str]:
    parts = [_text(LEFT, top - 8, panel.title, "#000")]
    for part in range(5):
        value = panel.most * part / 4
        y = top + PANEL * (1 - part / 4)
        parts.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{GRID}"/>'
        )
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", INK, "end"))
    step_s = 5 if seconds <= 90 else 30
    parts += [
        _text(_x(at_s, seconds), top + PANEL + 16, f"{at_s} s", INK, "middle")
        for at_s in range(0, int(seconds) + 1, step_s)
    ]
    place = WIDTH - RIGHT
    for line in reversed(panel.lines):
        place -= 7 * len(line.name) + 30
        dash = ' stroke-dasharray="6 4"' if line.is_dashed else ""
        parts.append(
            f'<line x1="{place}" y1="{top - 12}" x2="{place + 16}" y2="{top - 12}" '
            f'stroke="{line.colour}" stroke-width="2"{dash}/>'
        )
        parts.append(_text(place + 21, top - 8, line.name, INK))
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.6" '
            f'stroke-linejoin="round"{dash}/>'
            for points in _runs(panel, line, seconds, top)
        ]
    return parts


def _runs(panel: Panel, line: Line, seconds: float, top: float) -> list[str]:
    """Return the stretches of a line between its gaps, cut at the panel's top."""
    runs: list[list[str]] = [[]]
    for at_s, value in line.points:
        if value is None:
            runs.append([])
            continue
        y = top + PANEL * (1 - min(value / panel.most, 1.0))
        runs[-1].append(f"{_x(at_s, seconds):.1f},{y:.1f}")
    return [" ".join(run) for run in runs if len(run) > 1]


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
