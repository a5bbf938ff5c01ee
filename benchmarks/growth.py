"""How cost grows: with connections, with the size of bodies, with the number of exchanges.

Connections and bodies are measured beside nginx as a plain proxy, in turn; a
number of exchanges is captured and replayed, to see that neither CPU per request
nor memory follows it.

    python benchmarks/growth.py [--plan quick|full|trial]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import captures
import harness
import replay_cost
import tables
from harness import Load
from peers import OURS, PLAIN, Served
from plan import PLANS, Plan, Say
from results import Column, Row, Section, Spread

TO_NGINX = "to nginx"
CPU = "CPU a request"
RATE = Column("rate", "requests/s", "higher")
COLUMNS = (
    Column(CPU, "us", "lower"),
    Column(TO_NGINX, "times", "lower", is_relative=True),
    RATE,
    Column("p50", "ms", "lower", resolution=0.1),
    Column("p99", "ms", "lower", resolution=0.5),
    Column("RSS", "MiB", "lower", resolution=4),
    Column("errors"),
)
BODY_BUDGET = 128 << 20
BODY_REQUESTS = (16, 4000)

Attempt = Callable[[int], Load]
"""Sends one load to a port."""

Runs = list[tuple[float, Load, float]]
"""CPU microseconds per request, the load, RSS in MiB."""


def streaming_nginx(origin_port: int, _copies: int) -> Served:
    """Run nginx as a proxy that passes bodies on as they come, as ours does."""
    return harness.nginx_proxy(origin_port, streams=True)


def side_by_side(attempt: Attempt, rounds: int, *, streams: bool) -> dict[str, Runs]:
    """Send the same load through nginx and ours in turn."""
    runs: dict[str, Runs] = {PLAIN.name: [], OURS.name: []}
    plain = streaming_nginx if streams else PLAIN.serve
    with (
        harness.body_origin() if streams else harness.origin() as origin_port,
        plain(origin_port, 0) as nginx_at,
        OURS.serve(origin_port, 0) as ours_at,
    ):
        for port, _ in (nginx_at, ours_at):
            harness.wrk(port, seconds=5, requests=1000)  # warm-up
        for _ in range(rounds):
            for name, (port, pid) in ((PLAIN.name, nginx_at), (OURS.name, ours_at)):
                before = harness.cpu_s(pid)
                load = attempt(port)
                if name == OURS.name:
                    harness.wait_until_quiet(pid)
                cpu_us = (harness.cpu_s(pid) - before) / max(load.requests, 1) * 1e6
                runs[name].append((cpu_us, load, harness.rss_mib(pid)))
    return runs


def rows_of(runs: dict[str, Runs], what: str) -> list[Row]:
    """Return a row for each of the two."""
    rows = []
    for name, taken in runs.items():
        ratios = [
            one[0] / other[0]
            for one, other in zip(taken, runs[PLAIN.name], strict=True)
            if other[0]
        ]
        cells = {
            CPU: Spread.of(run[0] for run in taken),
            "rate": Spread.of(run[1].requests / run[1].duration_s for run in taken),
            "p50": Spread.of(run[1].p50_ms for run in taken),
            "p99": Spread.of(run[1].p99_ms for run in taken),
            "RSS": Spread.of(run[2] for run in taken),
            "errors": Spread.of([sum(run[1].errors for run in taken)]),
        }
        if ratios:
            cells[TO_NGINX] = Spread.of(ratios)
        rows.append(Row(f"{name}, {what}", cells, name == OURS.name))
    return rows


def connections(numbers: Sequence[int], seconds: int, rounds: int, say: Say) -> Section:
    """Load over more and more connections."""
    rows: list[Row] = []
    for number in numbers:

        def attempt(port: int, number: int = number) -> Load:
            return harness.wrk(port, seconds=seconds, connections=number)

        what = f"{number:,} connection{'s' if number > 1 else ''}"
        rows += rows_of(side_by_side(attempt, rounds, streams=False), what)
        say(f"{what}: {rows[-1].cells[CPU].median:g} us")
    return Section(
        name="connections",
        title="From one connection to many",
        how=f"A 1 KiB JSON POST over keep-alive connections for {seconds} s, {rounds} runs each.",
        columns=COLUMNS,
        rows=rows,
    )


def size(number: int) -> str:
    """Return a number of bytes for people: 0, 64 KiB, 10 MiB."""
    for power, unit in ((20, "MiB"), (10, "KiB")):
        if number >= 1 << power:
            return f"{number >> power} {unit}"
    return str(number)


def bodies(sizes: Sequence[int], rounds: int, say: Say) -> Section:
    """Send larger and larger bodies: a bounded number of each, as each is recorded whole."""
    rows: list[Row] = []
    for number in sizes:
        least, most = BODY_REQUESTS
        requests = max(least, min(most, BODY_BUDGET // max(number, 1)))

        def attempt(port: int, number: int = number, requests: int = requests) -> Load:
            return harness.wrk(
                port, seconds=60, connections=8, body_bytes=number, requests=requests
            )

        what = f"{size(number)} body" if number else "no body"
        rows += rows_of(side_by_side(attempt, rounds, streams=True), what)
        say(f"{what}: {rows[-1].cells[CPU].median:g} us")
    return Section(
        name="bodies",
        title="From no body to a large one",
        how="JSON POSTs over 8 connections, 4,000 or 128 MiB a run, whichever is less, "
        f"{rounds} runs each. nginx passes bodies on as they come (proxy_request_buffering off) "
        "and stores nothing; ours records every body whole. The origin reads each to its end.",
        columns=COLUMNS,
        rows=rows,
    )


def exchanges(numbers: Sequence[int], say: Say) -> Section:
    """Capture and replay more and more exchanges."""
    rows: list[Row] = []
    for number in numbers:
        with harness.origin() as origin_port, OURS.serve(origin_port, 0) as (port, pid):
            harness.wrk(port, seconds=5, requests=1000)
            harness.wait_until_quiet(pid)
            before = harness.cpu_s(pid)
            load = harness.wrk(port, seconds=600, requests=number)
            harness.wait_until_quiet(pid)
            cpu_us = (harness.cpu_s(pid) - before) / load.requests * 1e6
            cells = {
                CPU: Spread.of([cpu_us]),
                "rate": Spread.of([load.requests / load.duration_s]),
                "RSS": Spread.of([harness.rss_mib(pid)]),
                "errors": Spread.of([load.errors]),
            }
            rows.append(Row(f"captured, {number:,}", cells, is_ours=True))
        with (
            tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name,
            harness.origin() as origin_port,
        ):
            captures.write(Path(name, "capture"), number, rate=2000)
            sent = replay_cost.ours(Path(name, "capture"), origin_port, Path(name))
            cells = {
                CPU: Spread.of([sent.cpu_s / sent.shots * 1e6]),
                "rate": Spread.of([sent.shots / sent.wall_s]),
                "RSS": Spread.of([sent.peak_rss_mib]),
                "errors": Spread.of([sent.shots - sent.answered]),
            }
            rows.append(Row(f"replayed, {number:,}", cells, is_ours=True))
        say(f"{number:,} exchanges: captured {cpu_us:.1f} us, replayed {cells[CPU].median:g} us")
    return Section(
        name="exchanges",
        title="From few exchanges to many",
        how="1 KiB JSON POSTs, one run each: so many captured as fast as 32 connections send "
        "them (RSS of all processes at the end), and so many replayed from a capture on disk at "
        "`--speed max` (start of the process included, peak RSS).",
        columns=(
            Column(CPU, "us", "lower"),
            RATE,
            Column("RSS", "MiB", "lower", resolution=8),
            Column("errors"),
        ),
        rows=rows,
    )


def measure_connections(plan: Plan, say: Say) -> list[Section]:
    """Measure the numbers of connections of a plan."""
    return [connections(plan.connections, plan.gauge_s, plan.gauge_rounds, say)]


def measure_bodies(plan: Plan, say: Say) -> list[Section]:
    """Measure the sizes of bodies of a plan."""
    return [bodies(plan.body_sizes, plan.gauge_rounds, say)]


def measure_exchanges(plan: Plan, say: Say) -> list[Section]:
    """Measure the numbers of exchanges of a plan."""
    return [exchanges(plan.exchanges, say)]


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plan", choices=PLANS, default="quick")
    options = parser.parse_args()
    try:
        for measure in (measure_connections, measure_bodies, measure_exchanges):
            for section in measure(PLANS[options.plan], print):
                print(tables.text(section))
    except harness.Absent as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
