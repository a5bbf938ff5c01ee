"""What capturing costs: CPU per request beside nginx as a plain proxy, in one run.

A 1 KiB JSON POST over 32 keep-alive connections; sealing on, shipping to a
directory; all processes of mirrorproxy together. The two take turns, so that a
machine whose speed drifts is unfair to neither; the ratio is taken pair by pair.

    python benchmarks/capture_cost.py [--rounds N] [--seconds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import harness


def measured(port: int, pid: int, seconds: int, settle_s: float) -> tuple[float, harness.Load]:
    """Return CPU microseconds per request and what the load saw.

    settle_s: how long to go on counting, for work that follows the answers.
    """
    before = harness.cpu_s(pid)
    load = harness.wrk(port, seconds=seconds)
    time.sleep(settle_s)
    return (harness.cpu_s(pid) - before) / load.requests * 1e6, load


def middle(values: list[float]) -> dict[str, float]:
    """Return the median of several runs, with their least and greatest."""
    rounded = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 2) for name, value in rounded.items()}


def compare(rounds: int, seconds: int, say: Callable[[str], None]) -> dict[str, object]:
    """Run both in turn; return the figures."""
    nginx_us, mirror_us, loads = [], [], []
    with (
        tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name,
        harness.origin() as origin_port,
        harness.nginx_proxy(origin_port) as (nginx_port, nginx_pid),
        harness.capture(origin_port, Path(name)) as (mirror_port, mirror_pid),
    ):
        for port in (nginx_port, mirror_port):
            harness.wrk(port, seconds=1)  # warm-up
        time.sleep(1.5)
        for number in range(rounds):
            plain_us, plain = measured(nginx_port, nginx_pid, seconds, 0.0)
            cost_us, load = measured(mirror_port, mirror_pid, seconds, 1.5)
            say(
                f"round {number + 1}: nginx {plain_us:.1f} us, mirrorproxy {cost_us:.1f} us, "
                f"ratio {cost_us / plain_us:.2f}"
            )
            nginx_us.append(plain_us)
            mirror_us.append(cost_us)
            loads.append((plain, load))
        rss = harness.rss_mib(mirror_pid)
    return {
        "cpu_us_per_request": {"nginx": middle(nginx_us), "mirrorproxy": middle(mirror_us)},
        "ratio": middle([m / n for m, n in zip(mirror_us, nginx_us, strict=True)]),
        "p50_ms": {
            "nginx": middle([plain.p50_ms for plain, _ in loads]),
            "mirrorproxy": middle([load.p50_ms for _, load in loads]),
        },
        "p99_ms": {
            "nginx": middle([plain.p99_ms for plain, _ in loads]),
            "mirrorproxy": middle([load.p99_ms for _, load in loads]),
        },
        "requests": sum(load.requests for _, load in loads),
        "errors": sum(load.errors for _, load in loads),
        "rss_mib": round(rss, 1),
    }


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs (default: 5)")
    parser.add_argument("--seconds", type=int, default=4, help="of load each (default: 4)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    absent = [program for program in ("nginx", "wrk") if harness.find(program) is None]
    if absent:
        print(f"not measured: {' and '.join(absent)} not installed", file=sys.stderr)
        return 3
    figures = compare(
        options.rounds, options.seconds, lambda line: print(line, file=sys.stderr, flush=True)
    )
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
