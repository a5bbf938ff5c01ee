"""No descriptors are left: who is connected is served, and who comes waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_accounts import Accounts, judge
from fault_capture import mirror
from fault_load import Load, marked_origin

Report = Callable[[Accounts], None]

LIMIT = 120


@pytest.mark.fault
async def test_descriptors_run_out(
    tmp_path: Path, report: Report, require_program: Callable[[str], str]
) -> None:
    """A crowd takes every descriptor of the worker; once it has left, all is as before."""
    wrapper = (require_program("prlimit"), f"--nofile={LIMIT}:{LIMIT}")
    async with (
        marked_origin(0.01) as origin,
        mirror(origin.url, tmp_path / "to", workers=1, wrapper=wrapper) as running,
    ):
        load = Load(running.address, "descriptors", 100_000, clients=8, pause_s=0.03)
        task = asyncio.create_task(load.run())
        await load.reached(100)
        with contextlib.ExitStack() as crowd:
            for _ in range(2 * LIMIT):
                crowd.enter_context(socket.create_connection(running.address))
            await load.reached(len(load.outcomes) + 300)
            late = Load(running.address, "late", 8, clients=8)
            waiting = asyncio.create_task(late.run())
            await asyncio.sleep(1.5)
        await waiting
        await load.reached(len(load.outcomes) + 100)
        load.stop.set()
        await task
        load.outcomes += late.outcomes
        ledger = await running.end()
    accounts = await judge(
        "no descriptors left", f"limit {LIMIT}, {2 * LIMIT} connections", load, origin, ledger,
        tmp_path / "to",
    )  # fmt: skip
    waited_s = min(one.ended_s - one.sent_s for one in late.outcomes)
    accounts.note = f"who came last waited {waited_s:.1f} s"
    report(accounts)
    assert (accounts.failed, accounts.dropped, accounts.lost) == (0, 0, 0)
    assert waited_s > 1
