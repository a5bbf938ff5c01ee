"""Pacing: how late shots leave, beside a bare loop that only keeps the same schedule.

The bare loop is a process of its own on the same event loop: it wakes up every
millisecond and notes how late each due moment is, without sending anything. It
and the replay take turns in one run, so that both meet the same machine.

    python benchmarks/pacing.py [--rate N] [--seconds N] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import captures
import harness
import tables
from plan import Plan, Say
from replay_cost import finished
from results import Column, Demand, Row, Section, Spread

from mirrorproxy.replay.histogram import Histogram

DRIFT_SHOTS = 500
BARE = "bare loop"
REPLAY = "replay"
BEHIND = "p99 behind the bare loop"
COLUMNS = (
    Column("p50", "ms", "lower", resolution=0.3),
    Column("p99", "ms", "lower", resolution=1),
    Column("max", "ms"),
    Column("drift", "ms", "lower", resolution=1),
    Column(BEHIND, "ms", "lower", resolution=0.5),
    Column("CPU a shot", "us", "lower"),
)


def bare_loop(rate: int, seconds: int) -> dict[str, float]:
    """Keep the schedule and do nothing else; return lags in milliseconds."""
    total = rate * seconds
    lag = Histogram()
    last: list[float] = []

    async def keep() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        origin_s = time.monotonic() + 0.05
        sent = 0

        def turn() -> None:
            nonlocal sent
            while sent < total and (due_s := origin_s + sent / rate) <= time.monotonic():
                late_s = time.monotonic() - due_s
                lag.add(int(late_s * 1e6))
                if sent >= total - DRIFT_SHOTS:
                    last.append(late_s)
                sent += 1
            if sent < total:
                loop.call_later(0.001, turn)
            else:
                over.set_result(None)

        turn()
        await over

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(keep())
    return _lags(lag, statistics.median(last))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every machine
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _lags(lag: Histogram, drift_s: float) -> dict[str, float]:
    return {
        "p50": (lag.percentile(50) or 0) / 1000,
        "p99": (lag.percentile(99) or 0) / 1000,
        "max": (lag.max or 0) / 1000,
        "drift": drift_s * 1000,
    }


def bare(rate: int, seconds: int) -> dict[str, float]:
    """Run the bare loop in a process of its own; return lags in milliseconds."""
    output, cpu_s, *_ = finished([
        sys.executable, __file__, "--bare", "--rate", str(rate), "--seconds", str(seconds),
    ])  # fmt: skip
    lags: dict[str, float] = json.loads(output)
    return lags | {"CPU a shot": cpu_s * 1e6 / (rate * seconds)}


def replay(capture: Path, port: int, out: Path) -> dict[str, float]:
    """Replay the capture; return lags in milliseconds, and CPU per shot in microseconds.

    Raises RuntimeError if it fails or its ledger does not balance.
    """
    output, cpu_s, *_ = finished([
        sys.executable, "-m", "mirrorproxy", "replay", str(capture), "--json",
        "--target", f"http://127.0.0.1:{port}", "--out", str(out),
    ])  # fmt: skip
    ledger = json.loads(output)
    if not ledger["balanced"]:
        raise RuntimeError(f"the replay's ledger does not balance: {ledger}")
    lag = Histogram()
    outcomes = sorted(
        (json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()),
        key=lambda outcome: outcome["due_us"],
    )
    for outcome in outcomes:
        lag.add(outcome["lag_us"])
    drift_s = statistics.median(one["lag_us"] for one in outcomes[-DRIFT_SHOTS:]) / 1e6
    return _lags(lag, drift_s) | {"CPU a shot": cpu_s * 1e6 / len(outcomes)}


def compare(rate: int, seconds: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Run both in turn; return the figures of each run, and how far the replay was behind."""
    runs: dict[str, list[dict[str, float]]] = {BARE: [], REPLAY: []}
    with (
        tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name,
        harness.origin() as port,
    ):
        captures.write(Path(name, "capture"), rate * seconds, rate)
        for _ in range(rounds):
            alone = bare(rate, seconds)
            paced = replay(Path(name, "capture"), port, Path(name, "out"))
            runs[BARE].append(alone)
            runs[REPLAY].append(paced | {BEHIND: paced["p99"] - alone["p99"]})
    return runs


def section(rates: Sequence[int], seconds: int, rounds: int, say: Say) -> Section:
    """Pace at each rate; return the table."""
    rows, demands = [], []
    for rate in rates:
        runs = compare(rate, seconds, rounds)
        for subject, measured in runs.items():
            cells = {name: Spread.of(figures[name] for figures in measured) for name in measured[0]}
            rows.append(Row(f"{subject}, {rate:,}/s", cells, is_ours=subject == REPLAY))
        behind = rows[-1].cells[BEHIND].median
        say(f"{rate:,}/s: p99 {behind:.3f} ms behind the bare loop")
        demands.append(
            Demand(f"Lag p99 behind a bare loop at {rate:,}/s", "at most", 2, behind, "ms")
        )
        demands.append(
            Demand(f"Drift at the end at {rate:,}/s", "at most", 10,
                   rows[-1].cells["drift"].median, "ms")
        )  # fmt: skip
    return Section(
        name="pacing",
        title="How punctual a replay is",
        how=f"Evenly paced POSTs of 1 KiB for {seconds} s, {rounds} runs each, beside a process "
        f"that only wakes up on the same schedule. Lag is the time from when a shot is due to "
        f"when it leaves; drift is the median lag of the last {DRIFT_SHOTS}.",
        columns=COLUMNS,
        rows=rows,
        demands=demands,
    )


def measure(plan: Plan, say: Say) -> list[Section]:
    """Measure the rates of a plan."""
    return [section(plan.pacing_rates, plan.pacing_s, plan.gauge_rounds, say)]


def main() -> int:
    """Measure in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=2000, help="requests a second (default: 2000)")
    parser.add_argument("--seconds", type=int, default=20, help="(default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="of both in turn (default: 3)")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        print(json.dumps(bare_loop(options.rate, options.seconds)))
        return 0
    try:
        print(tables.text(section([options.rate], options.seconds, options.rounds, print)))
    except harness.Absent as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
