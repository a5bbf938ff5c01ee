#!/usr/bin/env python3
"""Hurt a mirror behind real Traefik and Consul under load, and print what production noticed.

usage: tests/whole/behind_traefik.py [--quick] [--write PAGE] [SCENARIO ...]

Each scenario starts everything anew: 200 POSTs a second to an application that takes
100 ms, all on loopback. --quick shortens the calm around each fault. Exit status 1 when
something is not as it is promised. With scenarios named, --write replaces their lines alone.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from chaos_faults import SCENARIOS  # noqa: E402
from chaos_ground import Figures  # noqa: E402
from chaos_net import CUTS, run_cut  # noqa: E402
from support.consul import find_consul  # noqa: E402

BEGIN = "<!-- figures: written by make behind-traefik -->"
END = "<!-- end of figures -->"
CALM_S, QUICK_CALM_S = 4.0, 2.0


def main() -> int:
    """Run what is asked for, print the table, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS, *CUTS])
    asked = parser.parse_args()
    program = find_consul()
    calm_s = QUICK_CALM_S if asked.quick else CALM_S
    made: list[Figures] = []
    for name in asked.scenario or [*SCENARIOS, *CUTS]:
        with tempfile.TemporaryDirectory(prefix="behind-traefik-") as place:
            folder = Path(place)
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                one = (
                    run_cut(name, folder, program, calm_s)
                    if name in CUTS
                    else SCENARIOS[name](folder, program, calm_s)
                )
            except Exception as error:
                traceback.print_exc()
                one = Figures(name, "", problems=[f"{type(error).__name__}: {error}"[:300]])
            print(f"  {asdict(one)}", file=sys.stderr, flush=True)
            made.append(one)
    print(render(made))
    if asked.write:
        write_page(asked.write, merged(asked.write, made) if asked.scenario else made)
    problems = [f"{one.fault}, {one.mode}: {text}" for one in made for text in one.problems]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


TITLES = (
    "fault", "mode", "requests", "failed", "of them sent after it", "the last of them after",
    "p50/p99 before", "while it lasts", "later", "remark",
)  # fmt: skip


def render(rows: Sequence[Figures]) -> str:
    """Return the table as Markdown, in columns that line up."""
    table = [list(TITLES)]
    for one in rows:
        speeds = [
            f"{p50:.0f}/{p99:.0f} ms" if p50 else ""
            for p50, p99 in (one.before, one.during, one.after)
        ]
        remark = "; ".join(
            text
            for text in (
                f"{one.captured:,} captured, each once" if one.captured else "",
                one.note,
                *(f"NOT AS PROMISED: {problem}" for problem in one.problems),
            )
            if text
        )
        last = f"{one.back_s:.2f} s" if one.beyond else ""
        table.append(
            [
                one.fault,
                one.mode,
                f"{one.load:,}",
                f"{one.failed:,}",
                f"{one.beyond:,}",
                last,
                *speeds,
                remark,
            ]
        )
    widths = [max(len(line[at]) for line in table) for at in range(len(TITLES))]
    lines = [
        "| "
        + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        + " |"
        for line in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def merged(page: Path, rows: Sequence[Figures]) -> list[Figures]:
    """Return the page's lines with these in place of their older ones."""
    kept = page.with_suffix(".json")
    before = [Figures(**one) for one in json.loads(kept.read_text())] if kept.exists() else []
    lines = {(one.fault, one.mode): one for one in before}
    lines |= {(one.fault, one.mode): one for one in rows}
    return list(lines.values())


def write_page(page: Path, rows: Sequence[Figures]) -> None:
    """Replace the figures of a page, and the JSON beside it."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} has no place for figures")
    day = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    where = f"{day}, Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()}"
    page.write_text(f"{before}{BEGIN}\n\n{where}:\n\n{render(rows)}\n\n{END}{after}")
    page.with_suffix(".json").write_text(json.dumps([asdict(one) for one in rows], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
