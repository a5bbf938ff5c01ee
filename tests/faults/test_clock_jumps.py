"""The wall clock jumps: what is timed is timed by another clock, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

from fault_accounts import Accounts, judge
from fault_capture import mirror, records
from fault_load import Load, marked_origin

Report = Callable[[Accounts], None]

HOUR_S = 3600
JUMPS_S = (HOUR_S, -2 * HOUR_S, 24 * HOUR_S, -48 * HOUR_S, 1, -1, 0)

SKEWED_CLOCK = '''
"""Every process that starts with this folder in its path reads a wall clock that a test sets."""
import mmap, os, struct, time

with open(os.environ["FAULT_CLOCK"], "rb") as file:
    skew = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
real = time.time_ns
time.time_ns = lambda: real() + struct.unpack("q", skew[:8])[0]
time.time = lambda: time.time_ns() / 1e9
'''


async def test_wall_clock_jumps(tmp_path: Path, report: Report) -> None:
    """Hours and days, forwards and back, under load."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(SKEWED_CLOCK)
    skew = tmp_path / "skew"
    skew.write_bytes(bytes(8))
    environ = {"PYTHONPATH": str(tmp_path / "path"), "FAULT_CLOCK": str(skew)}
    config = "spool: {segment_age: 300ms}\n"
    async with (
        marked_origin() as origin,
        mirror(origin.url, tmp_path / "to", config=config, environ=environ) as running,
    ):
        load = Load(running.address, "clock", 100_000, pause_s=0.03)
        task = asyncio.create_task(load.run())
        for jump_s in JUMPS_S:
            await load.reached(len(load.outcomes) + 80)
            with open(skew, "r+b", 0) as file:
                file.write(struct.pack("q", jump_s * 10**9))
        await load.reached(len(load.outcomes) + 80)
        load.stop.set()
        await task
        ledger = await running.end()
    accounts = await judge(
        "wall clock jumps", "+1 h to -2 d, 7 jumps", load, origin, ledger, tmp_path / "to"
    )
    report(accounts)
    assert (accounts.failed, accounts.dropped, accounts.lost) == (0, 0, 0)
    found = records(tmp_path / "to")
    hours = {one["started_us"] // 3_600_000_000 for one in found}
    assert max(hours) - min(hours) >= 72
    assert all(0 < one["duration_us"] < 20_000_000 for one in found)
