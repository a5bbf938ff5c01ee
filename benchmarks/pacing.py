"""Pacing: how late shots leave, beside a bare loop that only keeps the same schedule.

The bare loop is a process of its own on the same event loop: it wakes up every
millisecond and notes how late each due moment is, without sending anything. It
and the replay take turns in one run, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import harness

from mirrorproxy.clock import new_id
from mirrorproxy.codec import encode_line
from mirrorproxy.keys import object_key
from mirrorproxy.members import pack
from mirrorproxy.record import Exchange, Request, Response
from mirrorproxy.replay.histogram import Histogram

T0_US = 1_700_000_000_000_000
BODY = json.dumps({"sku": "A-1", "note": "x" * 990})
DRIFT_SHOTS = 500


def write_capture(root: Path, rate: int, seconds: int) -> None:
    """Write an evenly paced capture of 1 KiB JSON POSTs."""
    headers = [
        ("Host", "api.example.com"), ("User-Agent", "bench/1"), ("Accept", "*/*"),
        ("Content-Type", "application/json"), ("Content-Length", str(len(BODY))),
        ("Accept-Encoding", "gzip"), ("X-Forwarded-For", "203.0.113.7"), ("X-Request-Id", "1"),
    ]  # fmt: skip
    members = []
    for first in range(0, rate * seconds, 100):
        lines = []
        for number in range(first, min(first + 100, rate * seconds)):
            at_us = T0_US + number * 1_000_000 // rate
            request = Request("POST", "/api/orders", "1.1", headers, BODY, "utf8", len(BODY))
            lines.append(
                encode_line(
                    Exchange(
                        v=1, id=new_id(at_us), service="orders", via="inline", node="bench/0",
                        started_us=at_us, duration_us=1000, client="203.0.113.7", scheme="https",
                        upstream="http://10.0.3.7:8080", request=request, response=Response(201),
                    )
                )
            )  # fmt: skip
        members.append(pack(b"".join(lines), len(lines)))
    path = root / object_key("", "bench", T0_US, "one")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(members))


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
        "p50_ms": (lag.percentile(50) or 0) / 1000,
        "p99_ms": (lag.percentile(99) or 0) / 1000,
        "max_ms": (lag.max or 0) / 1000,
        "drift_ms": round(drift_s * 1000, 3),
    }


def replay(capture: Path, port: int, out: Path) -> dict[str, float]:
    """Replay the capture; return lags in milliseconds, and CPU per shot in microseconds."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mirrorproxy", "replay", str(capture), "--json",
            "--target", f"http://127.0.0.1:{port}", "--out", str(out),
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    before = resource_s()
    output, _ = process.communicate()
    ledger = json.loads(output)
    if process.returncode or not ledger["balanced"]:
        raise SystemExit(f"the replay ended with status {process.returncode}: {ledger}")
    lag = Histogram()
    outcomes = sorted(
        (json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()),
        key=lambda outcome: outcome["due_us"],
    )
    for outcome in outcomes:
        lag.add(outcome["lag_us"])
    drift_s = statistics.median(one["lag_us"] for one in outcomes[-DRIFT_SHOTS:]) / 1e6
    cpu_us = (resource_s() - before) * 1e6 / len(outcomes)
    return _lags(lag, drift_s) | {"cpu_us": round(cpu_us, 1)}


def resource_s() -> float:
    """Return the CPU seconds of the children that have ended, user and system."""
    import resource  # noqa: PLC0415 - not on Windows

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure in turn; print a table and the difference of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=2000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        print(json.dumps(bare_loop(options.rate, options.seconds)))
        return 0
    rows: dict[str, list[dict[str, float]]] = {"bare": [], "replay": []}
    with tempfile.TemporaryDirectory() as folder, harness.origin() as port:
        write_capture(Path(folder) / "capture", options.rate, options.seconds)
        for _ in range(options.rounds):
            alone = subprocess.run(
                [sys.executable, __file__, "--bare", "--rate", str(options.rate),
                 "--seconds", str(options.seconds)],
                stdout=subprocess.PIPE, check=True,
            )  # fmt: skip
            rows["bare"].append(json.loads(alone.stdout))
            rows["replay"].append(replay(Path(folder) / "capture", port, Path(folder) / "out"))
    print(f"{options.rate}/s for {options.seconds} s, median of {options.rounds}")
    medians: dict[str, dict[str, float]] = {}
    for name, measured in rows.items():
        medians[name] = {key: statistics.median(m[key] for m in measured) for key in measured[0]}
        figures = ", ".join(f"{key} {value:g}" for key, value in medians[name].items())
        print(f"{name:<8} {figures}")
    difference = medians["replay"]["p99_ms"] - medians["bare"]["p99_ms"]
    print(f"p99 behind the bare loop: {difference:.3f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
