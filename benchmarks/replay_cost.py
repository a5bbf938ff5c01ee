"""What sending costs: `mirrorproxy replay --speed max` beside a sender made of aiohttp's client.

Both read the same capture and write an outcome for every shot; they take turns.
CPU is that of the whole process from its start to its end.

    python benchmarks/replay_cost.py [--rounds N] [--shots N]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import captures
import harness
import tables
from plan import Plan, Say
from results import Column, Demand, Row, Section, Spread

HERE = Path(__file__).resolve().parent
OURS = "mirrorproxy replay"
PEER = "aiohttp client"
COLUMNS = (
    Column("CPU a shot", "us", "lower"),
    Column("rate per core", "shots/CPU s", "higher"),
    Column("to the aiohttp client", "times", "higher", is_relative=True),
    Column("rate", "shots/s", "higher"),
    Column("start", "CPU s", "lower", resolution=0.05),
    Column("peak RSS", "MiB", "lower", resolution=4),
    Column("not answered"),
)


@dataclass(frozen=True)
class Sent:
    """One process that has sent a capture. answered: shots with an answer, of so many."""

    shots: int
    answered: int
    cpu_s: float
    wall_s: float
    peak_rss_mib: float


def finished(argv: Sequence[str]) -> tuple[bytes, float, float, float]:
    """Run a program to its end; return its output, CPU and wall seconds, and peak MiB.

    Raises RuntimeError if it fails.
    """
    started_s = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{argv} ended with status {process.returncode}")
    cpu_s = used.ru_utime + used.ru_stime
    return output, cpu_s, time.monotonic() - started_s, used.ru_maxrss / 1024


def ours(capture: Path, port: int, out: Path) -> Sent:
    """Send with `mirrorproxy replay`; raises RuntimeError if its ledger does not balance."""
    output, *used = finished([
        sys.executable, "-m", "mirrorproxy", "replay", str(capture), "--json", "--speed", "max",
        "--target", f"http://127.0.0.1:{port}", "--out", str(out / "ours"),
    ])  # fmt: skip
    ledger = json.loads(output)
    if not ledger["balanced"]:
        raise RuntimeError(f"the replay's ledger does not balance: {ledger}")
    return Sent(ledger["planned"], ledger["answered"], *used)


def peer(capture: Path, port: int, out: Path, *, shots: int) -> Sent:
    """Send with aiohttp's client."""
    output, *used = finished([
        sys.executable, str(HERE / "aiohttp_sender.py"), str(capture),
        f"http://127.0.0.1:{port}", str(out / "peer.jsonl"),
    ])  # fmt: skip
    return Sent(shots, json.loads(output)["status"].get("2xx", 0), *used)


def row(
    subject: str, runs: Sequence[Sent], starts: Sequence[Sent], times: Spread, *, is_ours: bool
) -> Row:
    """Return a subject's row. starts: of one shot. times: its rate per core beside the peer's."""
    return Row(
        subject,
        {
            "CPU a shot": Spread.of(run.cpu_s / run.shots * 1e6 for run in runs),
            "rate per core": Spread.of(run.shots / run.cpu_s for run in runs),
            "to the aiohttp client": times,
            "rate": Spread.of(run.shots / run.wall_s for run in runs),
            "start": Spread.of(run.cpu_s for run in starts),
            "peak RSS": Spread.of(run.peak_rss_mib for run in runs),
            "not answered": Spread.of([sum(run.shots - run.answered for run in runs)]),
        },
        is_ours,
    )


def section(shots: int, rounds: int, say: Say) -> Section:
    """Send a capture with both in turn; return the table."""
    runs: dict[str, list[Sent]] = {OURS: [], PEER: []}
    starts: dict[str, list[Sent]] = {OURS: [], PEER: []}
    with (
        tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name,
        harness.origin() as port,
    ):
        out = Path(name)
        captures.write(out / "capture", shots, rate=2000)
        captures.write(out / "one", 1, rate=1)
        for number in range(rounds):
            starts[OURS].append(ours(out / "one", port, out))
            starts[PEER].append(peer(out / "one", port, out, shots=1))
            runs[OURS].append(ours(out / "capture", port, out))
            runs[PEER].append(peer(out / "capture", port, out, shots=shots))
            costs = ", ".join(
                f"{subject} {sent[-1].cpu_s / shots * 1e6:.1f} us" for subject, sent in runs.items()
            )
            say(f"round {number + 1}: {costs}")
    pairs = list(zip(runs[OURS], runs[PEER], strict=True))
    times = Spread.of(other.cpu_s / one.cpu_s for one, other in pairs)
    one = Spread.of(1.0 for _ in pairs)
    return Section(
        name="replay_cost",
        title="What sending costs",
        how=f"{shots:,} POSTs of 1 KiB from a capture on disk, 256 at most in flight, {rounds} "
        "runs each; start of the process (told apart: a capture of one shot), reading and writing "
        "of outcomes included.",
        columns=COLUMNS,
        rows=[
            row(OURS, runs[OURS], starts[OURS], times, is_ours=True),
            row(PEER, runs[PEER], starts[PEER], one, is_ours=False),
        ],
        demands=[
            Demand("Rate per core beside the aiohttp client", "at least", 3, times.median, "times")
        ],
    )


def measure(plan: Plan, say: Say) -> list[Section]:
    """Measure as long as the plan says."""
    return [section(plan.replay_shots, plan.rounds, say)]


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="of both in turn (default: 5)")
    parser.add_argument("--shots", type=int, default=30_000, help="in the capture (default: 30000)")
    options = parser.parse_args()
    try:
        print(tables.text(section(options.shots, options.rounds, print)))
    except harness.Absent as error:
        print(f"not measured: {error}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
