"""What capturing costs: CPU per request beside other proxies, in one run.

A 1 KiB JSON POST over 32 keep-alive connections; sealing on, shipping to a
directory; all processes of a proxy together. All take turns, so that a machine
whose speed drifts is unfair to none; ratios are taken within a round.

    python benchmarks/capture_cost.py [--all] [--rounds N] [--seconds N] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import harness
import msgspec
import tables
from harness import Load
from peers import OURS, PEERS, PLAIN, TRAEFIK, Peer
from plan import Plan, Say
from results import Column, Demand, Row, Section, Spread

TO_NGINX = "to nginx"
TO_TRAEFIK = "to Traefik"
COLUMNS = (
    Column("CPU a request", "us", "lower"),
    Column(TO_NGINX, "times", "lower", is_relative=True),
    Column(TO_TRAEFIK, "times", "lower", is_relative=True),
    Column("rate", "requests/s", "higher"),
    Column("p50", "ms", "lower", resolution=0.1),
    Column("p99", "ms", "lower", resolution=0.5),
    Column("RSS", "MiB", "lower", resolution=4),
    Column("errors"),
)


@dataclass(frozen=True)
class Run:
    """One subject in one round."""

    cpu_us: float
    load: Load
    rss_mib: float


def measured(port: int, pid: int, seconds: int, settle_s: float) -> Run:
    """Return what one load cost.

    settle_s: how long at least to go on counting, for work that follows the
    answers; then until there is none. 0 where there is no such work.
    """
    before = harness.cpu_s(pid)
    load = harness.wrk(port, seconds=seconds)
    if settle_s:
        time.sleep(settle_s)
        harness.wait_until_quiet(pid)
    cpu_us = (harness.cpu_s(pid) - before) / max(load.requests, 1) * 1e6
    return Run(cpu_us, load, harness.rss_mib(pid))


def compare(
    peers: Sequence[Peer], rounds: int, seconds: int, say: Say
) -> tuple[dict[str, list[Run]], list[str]]:
    """Run all in turn; return the runs by name, and who is absent and why."""
    runs: dict[str, list[Run]] = {}
    absent: list[str] = []
    with contextlib.ExitStack() as stack:
        origin_port = stack.enter_context(harness.origin())
        copies_port = stack.enter_context(harness.origin())
        serving: list[tuple[Peer, int, int]] = []
        for peer in peers:
            try:
                served = stack.enter_context(peer.serve(origin_port, copies_port))
            except harness.Absent as error:
                absent.append(f"{peer.name}: {error}")
            else:
                serving.append((peer, *served))
        for _, port, _ in serving:
            harness.wrk(port, seconds=1)  # warm-up
        time.sleep(1.5)
        for number in range(rounds):
            for peer, port, pid in serving:
                run = measured(port, pid, seconds, peer.settle_s)
                runs.setdefault(peer.name, []).append(run)
            say(
                f"round {number + 1}: "
                + ", ".join(f"{name} {taken[-1].cpu_us:.1f}" for name, taken in runs.items())
                + " us"
            )
    return runs, absent


def ratio(runs: dict[str, list[Run]], subject: str, base: str) -> Spread | None:
    """Return how many times as much CPU a subject took as a base, round by round."""
    if subject not in runs or base not in runs:
        return None
    pairs = zip(runs[subject], runs[base], strict=True)
    return Spread.of(one.cpu_us / other.cpu_us for one, other in pairs if other.cpu_us)


def section(peers: Sequence[Peer], rounds: int, seconds: int, say: Say) -> Section:
    """Return the table of capture's cost."""
    runs, absent = compare(peers, rounds, seconds, say)
    rows = []
    for peer in peers:
        if not (taken := runs.get(peer.name)):
            continue
        cells: dict[str, Spread | None] = {
            "CPU a request": Spread.of(run.cpu_us for run in taken),
            TO_NGINX: ratio(runs, peer.name, PLAIN.name),
            TO_TRAEFIK: ratio(runs, peer.name, TRAEFIK.name),
            "rate": Spread.of(run.load.requests / run.load.duration_s for run in taken),
            "p50": Spread.of(run.load.p50_ms for run in taken),
            "p99": Spread.of(run.load.p99_ms for run in taken),
            "RSS": Spread.of(run.rss_mib for run in taken),
            "errors": Spread.of([sum(run.load.errors for run in taken)]),
        }
        kept = {name: cell for name, cell in cells.items() if cell is not None}
        rows.append(Row(peer.name, kept, peer.is_ours))
    demands = [
        Demand(f"CPU of capture beside {base}'s plain proxying", "at most", limit, spread.median,
               "times")
        for base, limit in ((PLAIN.name, 2.5), (TRAEFIK.name, 0.55))
        if (spread := ratio(runs, OURS.name, base)) is not None
    ]  # fmt: skip
    return Section(
        name="capture_cost",
        title="What capturing costs",
        how=f"A 1 KiB JSON POST over 32 keep-alive connections for {seconds} s a run, {rounds} "
        "runs each. Ours seals, spools and ships to a directory, all its processes and what "
        "follows the answers counted; a peer that only forwards or sends a copy stores nothing.",
        columns=COLUMNS,
        rows=rows,
        demands=demands,
        absent=absent,
    )


def measure(plan: Plan, say: Say) -> list[Section]:
    """Measure beside every peer that is there."""
    return [section(PEERS, plan.rounds, plan.seconds, say)]


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="beside all peers, not nginx only")
    parser.add_argument("--rounds", type=int, default=5, help="of all in turn (default: 5)")
    parser.add_argument("--seconds", type=int, default=4, help="of load each (default: 4)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    peers = PEERS if options.all else (PLAIN, OURS)
    try:
        found = section(
            peers, options.rounds, options.seconds,
            lambda line: print(line, file=sys.stderr, flush=True),
        )  # fmt: skip
    except harness.Absent as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 3
    print(json.dumps(msgspec.to_builtins(found), indent=2) if options.json else tables.text(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
