"""SIGSTOP of each process: a hung worker is replaced, everybody else just waits or goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_accounts import Accounts, judge
from fault_capture import mirror
from fault_load import Load, marked_origin

Report = Callable[[Accounts], None]


async def stopped(pids: list[int], seconds: float) -> None:
    """Stop processes for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_stopped_worker(tmp_path: Path, report: Report) -> None:
    """Killed when it has been silent for 2 s; what waits in its backlog is served."""
    async with marked_origin(0.01) as origin, mirror(origin.url, tmp_path / "to") as running:
        load = Load(running.address, "hung", 100_000, pause_s=0.03)
        task = asyncio.create_task(load.run())
        await load.reached(100)
        (hung, *_) = await running.workers()
        began = time.monotonic()
        os.kill(hung, signal.SIGSTOP)
        await running.until(lambda status: hung not in [one["pid"] for one in status["workers"]])
        noticed_s = time.monotonic() - began
        await running.wait_ready()
        await load.reached(len(load.outcomes) + 100)
        load.stop.set()
        await task
        ledger = await running.end()
    accounts = await judge(
        "SIGSTOP of a worker", "until it was killed", load, origin, ledger, tmp_path / "to",
        kills=[began],
    )  # fmt: skip
    accounts.note = f"killed after {noticed_s:.1f} s"
    report(accounts)
    assert accounts.failed <= load.clients
    assert 1.5 < noticed_s < 10


@pytest.mark.fault
async def test_stopped_bystanders(tmp_path: Path, report: Report) -> None:
    """Neither the shipper nor the supervisor is needed for a request, nor for its record."""
    async with marked_origin(0.01) as origin, mirror(origin.url, tmp_path / "to") as running:
        load = Load(running.address, "bystanders", 100_000, pause_s=0.03)
        task = asyncio.create_task(load.run())
        await load.reached(100)
        workers = await running.workers()
        await stopped([await running.shipper()], 1.5)
        await stopped([running.process.pid], 3.0)
        await load.reached(len(load.outcomes) + 100)
        assert await running.workers() == workers
        load.stop.set()
        await task
        ledger = await running.end()
    accounts = await judge(
        "SIGSTOP of shipper and supervisor", "1.5 s and 3 s", load, origin, ledger, tmp_path / "to"
    )
    report(accounts)
    assert (accounts.failed, accounts.dropped, accounts.lost) == (0, 0, 0)


@pytest.mark.fault
async def test_everything_stopped(tmp_path: Path, report: Report) -> None:
    """As in a suspended machine: requests wait, no worker is taken for hung, nothing fails."""
    async with marked_origin(0.01) as origin, mirror(origin.url, tmp_path / "to") as running:
        load = Load(running.address, "suspended", 100_000, pause_s=0.03)
        task = asyncio.create_task(load.run())
        await load.reached(100)
        workers = await running.workers()
        # The observer first: it must not see the others silent.
        await stopped([running.process.pid, *workers, await running.shipper()], 4.0)
        await load.reached(len(load.outcomes) + 100)
        assert await running.workers() == workers
        load.stop.set()
        await task
        ledger = await running.end()
    accounts = await judge("SIGSTOP of every process", "4 s", load, origin, ledger, tmp_path / "to")
    report(accounts)
    assert (accounts.failed, accounts.dropped, accounts.lost) == (0, 0, 0)
