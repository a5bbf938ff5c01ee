"""A capture under load while everything about shipping fails at random, accounted to the record.

    python tests/aws/chaos.py [MINUTES]    or    make chaos MINUTES=10

Runs a fault-free capture first, then one through partial failures, throttling, errors, resets,
hangs, answers that are lost, a bucket that is down, and an outage of a fifth of the time, two
minutes at most. Prints every figure and ends with 1 if one of them is not as promised. Needs no
account: S3 is the emulator, Firehose is `support.firehose`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "capture"), str(Path(__file__).parent)]

from running_capture import Running, capture, origin  # noqa: E402
from shipping import flat, ids_of  # noqa: E402
from support.firehose import Fault, Firehose  # noqa: E402
from support.ministack import Ministack, objects  # noqa: E402

RATE = 150
BASE_S = 60.0
MAX_P99_RATIO = 1.2
SPOOL_LIMIT = 1 << 30
RSS_LIMIT = 250 << 20
FAULTS = (
    (0.20, lambda: Fault("partial", rejected=[n for n in range(100) if random.random() < 0.4])),
    (0.08, lambda: Fault("throttle")),
    (0.05, lambda: Fault("error")),
    (0.05, lambda: Fault("reset")),
    (0.02, lambda: Fault("hang", seconds=random.uniform(1, 20))),
    (0.03, lambda: Fault("slow", seconds=random.uniform(0.1, 2))),
    (0.06, lambda: Fault("accepted then error")),
    (0.04, lambda: Fault("accepted then reset")),
)


class Load(NamedTuple):
    """What the clients saw. answered: numbers of requests. windows_p99_ms: of five seconds each;
    direct_p99_ms: the same of requests that went to the application without the mirror, all the
    time: a machine that others keep busy slows both.
    """

    answered: list[int]
    failed: int
    windows_p99_ms: list[float]
    direct_p99_ms: list[float]
    p99_ms: float


class Run(NamedTuple):
    """One capture, from its first request to the last record in the bucket."""

    load: Load
    ledger: dict[str, Any]
    stored: Counter[str]
    numbers: set[int]
    rss: dict[str, int]
    spool: int
    delay_s: float
    retries: int
    rejected: int


def random_weather() -> Fault | None:
    """Return a fault, or none, by the shares above."""
    roll = random.random()
    for share, fault in FAULTS:
        roll -= share
        if roll < 0:
            return fault()
    return None


def outage() -> Fault:
    """Return what a service that is down does."""
    return Fault(random.choice(("reset", "error", "throttle")))


async def storm(firehose: Firehose, seconds: float) -> None:
    """Let everything go wrong for so long; with an outage, and a bucket that takes nothing."""
    out_s = min(120.0, seconds / 5)
    firehose.weather = random_weather
    await asyncio.sleep(seconds * 0.3)
    print(f"  outage of {out_s:.0f} s begins", flush=True)
    firehose.weather = outage
    await asyncio.sleep(out_s)
    firehose.weather = random_weather
    firehose.delivery.down = True
    await asyncio.sleep(seconds * 0.1)
    firehose.delivery.down = False
    await asyncio.sleep(max(0.0, seconds * 0.6 - out_s))


class Watch:
    """What a running capture takes, looked at once a second."""

    def __init__(self, running: Running, spool: Path) -> None:
        self._running = running
        self._spool = spool
        self.rss: Counter[str] = Counter()
        self.spool = 0
        self.delay_s = 0.0
        self.retries = self.rejected = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with contextlib.suppress(Exception):
                await self._look()
            await asyncio.sleep(1)

    async def _look(self) -> None:
        status = await self._running.status()
        pids = {"shipper": status["shipper"]["pid"], "worker": status["workers"][0]["pid"]}
        for name, pid in pids.items():
            self.rss[name] = max(self.rss[name], rss_of(pid))
        self.spool = max(self.spool, sum(sizes(self._spool)))
        shipping = status["shipping"] or {}
        self.delay_s = max(self.delay_s, shipping.get("oldest_age_s", 0.0))
        self.retries = max(self.retries, shipping.get("retries", 0))
        self.rejected = max(self.rejected, shipping.get("rejected", 0))


def rss_of(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def sizes(folder: Path) -> Iterator[int]:
    """Yield the sizes of segments and bodies."""
    for part in ("segments", "bodies"):
        for path in (folder / part).rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file():
                    yield path.stat().st_size


async def run(
    ministack: Ministack, firehose: Firehose, name: str, folder: Path, seconds: float, stormy: bool
) -> Run:
    """Capture under load for so long, and account for all of it."""
    bucket = ministack.bucket()
    firehose.create(name, bucket, "mirror/")
    load = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "load",
        str(seconds),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=1 << 26,
    )
    assert load.stdin
    assert load.stdout
    upstream = (await load.stdout.readline()).decode().strip()
    options = ("--spool", str(folder), "--spool-limit", "1GiB", "--ship-timeout", "600s")
    to = f"firehose://{name}?bodies=s3://{bucket}/mirror"
    async with capture(upstream, to, *options) as running:
        watch = Watch(running, folder)
        watching = asyncio.create_task(watch.run())
        load.stdin.write(f"{running.url}\n".encode())
        weather = asyncio.create_task(storm(firehose, seconds)) if stormy else None
        seen = Load(*json.loads(await load.stdout.readline()))
        if weather:
            await weather
        watching.cancel()
        running.process.terminate()
        out, _ = await running.process.communicate()
    load.stdin.close()
    await load.wait()
    await asyncio.to_thread(firehose.flush)
    found = await asyncio.to_thread(objects, ministack.client("s3"), bucket)
    records = [content for key, content in found.items() if "/bodies/" not in key]
    stored, numbers = account(records)
    return Run(
        seen, json.loads(out), stored, numbers, dict(watch.rss), watch.spool,
        watch.delay_s, watch.retries, watch.rejected,
    )  # fmt: skip


def account(contents: list[bytes]) -> tuple[Counter[str], set[int]]:
    """Return how often each record is stored, and the numbers of the requests they tell of."""
    stored: Counter[str] = Counter()
    numbers = set()
    for content in contents:
        for line in gzip.decompress(content).splitlines():
            record = json.loads(line)
            stored[record["id"]] += 1
            numbers.add(int(record["request"]["target"].rpartition("/")[2]))
    return stored, numbers


def judge(base: Run, storm: Run, firehose: Firehose) -> bool:
    """Print every figure; return whether all is as promised."""
    puts = [put for put in firehose.puts if put.stream == "storm"]
    faults = Counter(str(put.fault) for put in puts)
    untold = flat(
        record
        for put in puts
        if not put.told
        for record, taken in zip(put.records, put.accepted, strict=True)
        if taken
    )
    twice = storm.stored - Counter(storm.stored.keys())
    missing = set(storm.load.answered) - storm.numbers
    ratio = middle(storm.load.windows_p99_ms) / middle(base.load.windows_p99_ms)
    busy = middle(storm.load.direct_p99_ms) / middle(base.load.direct_p99_ms)
    rows = [
        ("requests answered", len(storm.load.answered), storm.load.failed == 0),
        ("exchanges in S3 at least once", len(storm.stored), not missing),
        ("exchanges missing", len(missing), not missing),
        ("stored twice or more", twice.total(), twice == untold),
        ("accepted, then failed, by the endpoint", untold.total(), bool(untold)),
        ("records rejected and resent", storm.rejected, storm.rejected > 0),
        ("attempts repeated", storm.retries, storm.retries > 0),
        ("oldest record that waited, s", round(storm.delay_s, 1), True),
        ("most in the spool, MiB", storm.spool >> 20, storm.spool < SPOOL_LIMIT),
        ("shipper's most RSS, MiB", storm.rss["shipper"] >> 20, storm.rss["shipper"] < RSS_LIMIT),
        ("shipper's most RSS without faults, MiB", base.rss["shipper"] >> 20, True),
        ("worker's most RSS, MiB", storm.rss["worker"] >> 20, storm.rss["worker"] < RSS_LIMIT),
        ("dropped", dropped(storm), dropped(storm) == 0),
        ("p99 of all, ms", round(storm.load.p99_ms, 2), True),
        ("p99 of all without faults, ms", round(base.load.p99_ms, 2), True),
        ("p99 against the fault-free run, median of 5 s", round(ratio, 2), True),
        ("the same without the mirror: others' load", round(busy, 2), True),
        ("p99 beside that", round(ratio / max(1, busy), 2), ratio / max(1, busy) <= MAX_P99_RATIO),
    ]
    print("puts:", ", ".join(f"{kind} {count}" for kind, count in faults.most_common()))
    for name, figure, fine in rows:
        print(f"{'ok  ' if fine else 'FAIL'} {name}: {figure}")
    return all(fine for *_, fine in rows)


def dropped(run: Run) -> int:
    """Return how many exchanges should have been recorded and were not."""
    found = run.ledger.get("dropped", 0)
    return sum(found.values()) if isinstance(found, dict) else int(found)


async def load(seconds: float) -> None:
    """Serve an origin, and send requests to the capture before it at a constant rate."""
    latencies: list[tuple[float, float]] = []
    direct: list[tuple[float, float]] = []
    answered: list[int] = []
    failed = 0
    async with origin() as app, aiohttp.ClientSession() as session:
        print(app.url, flush=True)
        url = (await asyncio.to_thread(sys.stdin.readline)).strip()
        bodies = [json.dumps({"note": random.randbytes(700).hex()}).encode() for _ in range(50)]
        large = random.randbytes(1 << 20)
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def send(number: int, due: float) -> None:
            nonlocal failed
            body = large if number % 1000 == 500 else bodies[number % len(bodies)]
            try:
                async with session.post(f"{url}/orders/{number}", data=body) as answer:
                    await answer.read()
                    answered.append(number)
            except aiohttp.ClientError:
                failed += 1
            latencies.append((due - began, loop.time() - due))

        async def send_past(due: float) -> None:
            async with session.post(f"{app.url}/direct", data=bodies[0]) as answer:
                await answer.read()
            direct.append((due - began, loop.time() - due))

        async with asyncio.TaskGroup() as group:
            number = 0
            while (due := began + number / RATE) < began + seconds:
                await asyncio.sleep(max(0.0, due - loop.time()))
                group.create_task(send(number, due))
                if number % 2:
                    group.create_task(send_past(due))
                number += 1
        told = Load(
            answered,
            failed,
            by_window(latencies),
            by_window(direct),
            p99([latency_s * 1000 for _, latency_s in latencies]),
        )
        print(json.dumps(told), flush=True)
        # The origin stays until the capture has let go of it.
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.sleep(0.1)


def by_window(latencies: list[tuple[float, float]]) -> list[float]:
    """Return the p99 of every five seconds, in milliseconds."""
    windows: dict[int, list[float]] = {}
    for at_s, latency_s in latencies:
        windows.setdefault(int(at_s / 5), []).append(latency_s * 1000)
    return [p99(window) for window in windows.values() if len(window) > 100]


def middle(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def p99(values: list[float]) -> float:
    """Return the value that 1 % lie above."""
    return sorted(values)[int(len(values) * 0.99)]


async def main(minutes: float) -> int:
    """Run both captures, and return the exit status."""
    seconds = minutes * 60
    with (
        tempfile.TemporaryDirectory() as folder,
        Ministack(Path(folder) / "emulator") as ministack,
    ):
        os.environ.update(ministack.environ())
        s3 = ministack.client("s3")

        def store(bucket: str, key: str, content: bytes) -> None:
            s3.put_object(Bucket=bucket, Key=key, Body=content)

        with Firehose(store, note=ids_of, buffer_age_s=2.0) as firehose:
            os.environ["AWS_ENDPOINT_URL_FIREHOSE"] = firehose.url
            base_s = min(BASE_S, seconds)
            print(f"{base_s:.0f} s without faults at {RATE} requests a second", flush=True)
            base = await run(ministack, firehose, "base", Path(folder) / "base", base_s, False)
            print(f"{seconds:.0f} s of chaos", flush=True)
            began = time.monotonic()
            storm = await run(ministack, firehose, "storm", Path(folder) / "storm", seconds, True)
            print(f"all shipped {time.monotonic() - began:.0f} s after the first request")
            return 0 if judge(base, storm, firehose) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        asyncio.run(load(float(sys.argv[2])))
    else:
        sys.exit(asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)))
