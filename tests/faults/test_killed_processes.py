"""kill -9 of each process under load: only what was in flight on it fails, and all is counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_accounts import Accounts, judge
from fault_capture import free_port, mirror
from fault_load import Load, marked_origin

Report = Callable[[Accounts], None]

DELAY_S = 0.01
SHORT = pytest.param(2, id="short")
LONG = pytest.param(15, id="long", marks=[pytest.mark.fault, pytest.mark.timeout(300)])


@pytest.mark.parametrize("kills", [SHORT, LONG])
async def test_worker(tmp_path: Path, report: Report, kills: int) -> None:
    """Requests fail only on the killed worker's connections; its successor serves its backlog."""
    dice = random.Random(kills)
    moments = []
    async with marked_origin(DELAY_S) as origin, mirror(origin.url, tmp_path / "to") as running:
        load = Load(running.address, "worker", 400 * kills, large_every=25)
        task = asyncio.create_task(load.run())
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.2, 0.8))
            moments.append(kill(dice.choice(await running.workers())))
            await running.wait_ready()
        await finish(load, task)
        ledger = await running.end()
    accounts = await judge(
        "kill -9 of a worker", f"{kills} kills", load, origin, ledger, tmp_path / "to",
        kills=moments,
    )  # fmt: skip
    report(accounts)
    # A worker holds half of the connections, more or less.
    assert accounts.failed <= kills * load.clients


@pytest.mark.fault
@pytest.mark.timeout(300)
async def test_shipper(tmp_path: Path, report: Report) -> None:
    """No request notices; lines may come twice, with the same id."""
    kills = 15
    dice = random.Random(kills)
    async with marked_origin(DELAY_S) as origin, mirror(origin.url, tmp_path / "to") as running:
        load = Load(running.address, "shipper", 400 * kills, large_every=25)
        task = asyncio.create_task(load.run())
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.2, 0.8))
            kill(await running.shipper())
        await finish(load, task)
        ledger = await running.end()
    accounts = await judge(
        "kill -9 of the shipper", f"{kills} kills", load, origin, ledger, tmp_path / "to"
    )
    report(accounts)
    assert accounts.failed == 0


@pytest.mark.fault
@pytest.mark.timeout(300)
async def test_supervisor(tmp_path: Path, report: Report) -> None:
    """Its workers serve on until those of the next one do, and beside them: nothing fails."""
    kills = 3
    port, to = free_port(), tmp_path / "to"
    async with marked_origin(DELAY_S) as origin, contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(mirror(origin.url, to, port=port))
        load = Load(running.address, "supervisor", 100_000, clients=8, large_every=50)
        task = asyncio.create_task(load.run())
        for _ in range(kills):
            await asyncio.sleep(0.5)
            running.process.kill()
            await running.process.wait()
            orphaned = running
            running = await stack.enter_async_context(mirror(origin.url, to, port=port))
            await orphaned.wait_gone()
        await finish(load, task)
        await running.until(lambda status: status["ledger"]["in_flight"] == 0)
        ledger = await running.end()
    accounts = await judge(
        "kill -9 of the supervisor", f"{kills} kills, each followed by a start", load, origin,
        ledger, to,
    )  # fmt: skip
    report(accounts)
    assert accounts.failed == 0


@pytest.mark.parametrize("kills", [pytest.param(1, id="short"), pytest.param(
    6, id="long", marks=[pytest.mark.fault, pytest.mark.timeout(300)])])  # fmt: skip
async def test_everything(tmp_path: Path, report: Report, kills: int) -> None:
    """What was completed is in the spool, and the next start balances; nothing serves between."""
    dice = random.Random(kills)
    port, to = free_port(), tmp_path / "to"
    moments, outages = [], []
    async with marked_origin(DELAY_S) as origin:
        load = Load(("127.0.0.1", port), "everything", 100_000, large_every=25)
        task = None
        for _ in range(kills):
            async with mirror(origin.url, to, port=port) as running:
                if moments:
                    outages.append((moments[-1], time.monotonic()))
                task = task or asyncio.create_task(load.run())
                await asyncio.sleep(dice.uniform(0.3, 1.5))
                moments.append(await running.kill_all())
        async with mirror(origin.url, to, port=port) as running:
            outages.append((moments[-1], time.monotonic()))
            assert task is not None
            await finish(load, task)
            ledger = await running.end()
    accounts = await judge(
        "kill -9 of every process", f"{kills} kills, each followed by a start", load, origin,
        ledger, to, kills=moments, outages=outages,
    )  # fmt: skip
    report(accounts)


@pytest.mark.fault
@pytest.mark.timeout(400)
async def test_at_random(tmp_path: Path, report: Report) -> None:
    """Any process at any moment, the supervisor and all of them included."""
    dice = random.Random(2026)
    port, to = free_port(), tmp_path / "to"
    killed: Counter[str] = Counter()
    moments: list[float] = []
    outages = []
    async with marked_origin(DELAY_S) as origin, contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(mirror(origin.url, to, port=port))
        load = Load(running.address, "random", 100_000, large_every=50)
        task = asyncio.create_task(load.run())
        for _ in range(30):
            await asyncio.sleep(dice.uniform(0.1, 1.0))
            (victim,) = dice.choices(
                ("worker", "shipper", "supervisor", "everything"), (10, 10, 2, 2)
            )
            killed[victim] += 1
            if victim == "worker":
                moments.append(kill(dice.choice(await running.workers())))
                await running.wait_ready()
            elif victim == "shipper":
                kill(await running.shipper())
            elif victim == "supervisor":
                running.process.kill()
                await running.process.wait()
                orphaned = running
                running = await stack.enter_async_context(mirror(origin.url, to, port=port))
                await orphaned.wait_gone()
            else:
                moments.append(await running.kill_all())
                running = await stack.enter_async_context(mirror(origin.url, to, port=port))
                outages.append((moments[-1], time.monotonic()))
        await finish(load, task)
        await running.until(lambda status: status["ledger"]["in_flight"] == 0)
        ledger = await running.end()
    accounts = await judge(
        "kill -9 at random", ", ".join(f"{count} {name}" for name, count in sorted(killed.items())),
        load, origin, ledger, to, kills=moments, outages=outages,
    )  # fmt: skip
    report(accounts)
    assert len(killed) == 4


def kill(pid: int) -> float:
    """Kill a process; return when."""
    moment = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return moment


async def finish(load: Load, task: asyncio.Task[Load]) -> None:
    """End a load after what is under way, with some requests after the last fault."""
    await load.reached(min(load.count, len(load.outcomes) + 50))
    load.stop.set()
    await task
