"""The supervisor, with real processes that misbehave on command."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from mirrorproxy.capture.child import MAX_SETTINGS_BYTES
from mirrorproxy.capture.listeners import Address, address_of, bind_shared
from mirrorproxy.capture.live import Live, decode, encode
from mirrorproxy.capture.slots import SLOTS, SlotLocks
from mirrorproxy.capture.supervisor import Plan, Supervisor
from mirrorproxy.metrics import INDEX, CounterFile
from mirrorproxy.topology import App, Instance, Topology

CHILD = str(Path(__file__).parent / "fake_child.py")


class Mirror:
    """A supervisor under test with its spool and address."""

    def __init__(
        self,
        spool: Path,
        workers: int = 1,
        orphans: Sequence[int] = (),
        program: str = sys.executable,
        ship_timeout_s: float = 5,
        **settings: object,
    ) -> None:
        self.spool = spool
        (spool / "segments").mkdir(exist_ok=True)
        self.counters = CounterFile(spool / "counters", SLOTS)
        self.locks = SlotLocks(spool / "slots")
        sockets = bind_shared(Address("127.0.0.1", 0), workers)
        self.address = address_of(sockets[0])
        common = {"spool": str(spool), **settings}
        self.supervisor = Supervisor(
            Plan(
                worker=(program, CHILD, "worker"),
                shipper=(program, CHILD, "shipper"),
                worker_settings=lambda slot, live: json.dumps(
                    {**common, "slot": slot, "live": encode(live).decode()}
                ).encode(),
                shipper_settings=json.dumps({"spool": str(spool)}).encode(),
                drain_timeout_s=5,
                ship_timeout_s=ship_timeout_s,
            ),
            counters=self.counters,
            locks=self.locks,
            sockets=dict(enumerate(sockets)),
            orphans=orphans,
            spool=spool,
        )

    async def ask(self, word: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(word)
        try:
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionResetError:
            return b"reset"
        finally:
            writer.close()


class SlotHolder:
    """A process that holds a slot, as a worker of another supervisor does."""

    async def start(self, locks: Path, slot: int) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from mirrorproxy.capture.slots import SlotLocks;"
            f"SlotLocks(Path({str(locks)!r})).hold({slot}); print('held', flush=True);"
            "sys.stdin.read()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout
        assert await self.process.stdout.readline() == b"held\n"

    async def let_go(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        await self.process.wait()


@contextlib.asynccontextmanager
async def running(mirror: Mirror) -> AsyncIterator[asyncio.Task[None]]:
    run = asyncio.create_task(mirror.supervisor.run())
    try:
        await asyncio.wait_for(mirror.supervisor.wait_ready(), 20)
        yield run
        mirror.supervisor.drain()
        await asyncio.wait_for(run, 20)
    finally:
        if not run.done():
            mirror.supervisor.abort()
            await run
        mirror.locks.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_dead_worker_is_replaced_on_the_same_socket(tmp_path: Path) -> None:
    """A connection made while no worker lives is answered by the next one."""
    mirror = Mirror(tmp_path)
    async with running(mirror):
        first = await mirror.ask(b"pid")
        await mirror.ask(b"die")
        second = await mirror.ask(b"pid")
        assert first.isdigit()
        assert second.isdigit()
        assert first != second
        assert mirror.supervisor.worker_statuses()[0].restarts == 1


async def test_hung_worker_is_killed(tmp_path: Path) -> None:
    """A worker whose heart stops is killed, and the next one answers."""
    mirror = Mirror(tmp_path)
    async with running(mirror):
        first = await mirror.ask(b"pid")
        assert await mirror.ask(b"hang") in (b"", b"reset")
        assert await mirror.ask(b"pid") != first


async def test_records_of_a_dead_worker_are_reconciled(tmp_path: Path) -> None:
    """What it wrote but did not count is captured; what it saw beyond that is lost."""
    mirror = Mirror(tmp_path)
    async with running(mirror):
        await mirror.ask(b"record")
        await mirror.ask(b"pid")
        totals = mirror.counters.totals()
        assert (totals["seen"], totals["captured"], totals["lost"]) == (2, 1, 1)


async def test_dead_shipper_is_replaced_and_drained_last(tmp_path: Path) -> None:
    """Another shipper takes over, and is told to finish when the workers have ended."""
    mirror = Mirror(tmp_path)
    pid_file = tmp_path / "shipper.pid"
    async with running(mirror) as run:
        await until(pid_file.exists)
        first = int(pid_file.read_text())
        os.kill(first, signal.SIGKILL)
        await until(lambda: pid_file.read_text() not in ("", str(first)))
        mirror.supervisor.drain()
        await run
        assert (tmp_path / "drained").read_text() == pid_file.read_text()


async def test_drain_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """A request that is under way when draining begins gets its answer; new ones are refused."""
    mirror = Mirror(tmp_path)
    async with running(mirror) as run:
        slow = asyncio.create_task(mirror.ask(b"slow"))
        await mirror.ask(b"pid")
        mirror.supervisor.drain()
        assert mirror.supervisor.unready() == ["draining"]
        assert await slow == b"slow"
        await run
        with pytest.raises(ConnectionRefusedError):
            await mirror.ask(b"pid")
        assert [status.state for status in mirror.supervisor.worker_statuses()] == ["ended"]


async def test_abort_ends_everything_at_once(tmp_path: Path) -> None:
    """No child outlives an abort, and none is started again."""
    mirror = Mirror(tmp_path, workers=2)
    async with running(mirror) as run:
        pids = [status.pid for status in mirror.supervisor.worker_statuses()]
        mirror.supervisor.abort()
        await asyncio.wait_for(run, 5)
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


async def test_worker_that_dies_at_start_is_not_started_in_a_spin(tmp_path: Path) -> None:
    """Early deaths in a row make the supervisor wait between starts."""
    mirror = Mirror(tmp_path, die_at_start=True)
    run = asyncio.create_task(mirror.supervisor.run())
    try:
        await until(lambda: mirror.supervisor.worker_statuses()[0].restarts == 3)
        assert mirror.supervisor.unready() == ["worker 0 is waiting"]
    finally:
        mirror.supervisor.abort()
        await run
        mirror.locks.close()


async def test_processes_that_cannot_be_started_do_not_keep_the_end_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said that they did not start, and draining gives up when its time is over."""
    mirror = Mirror(tmp_path, program=str(tmp_path / "gone"), ship_timeout_s=0.1)
    run = asyncio.create_task(mirror.supervisor.run())
    try:
        await until(lambda: mirror.supervisor.worker_statuses()[0].restarts > 0)
        assert mirror.supervisor.unready() == ["worker 0 is waiting"]
        mirror.supervisor.drain()
        await asyncio.wait_for(run, 10)
    finally:
        mirror.supervisor.abort()
        await run
        mirror.locks.close()
    assert "worker 0 did not start; starting another in 0.0 s" in caplog.text
    assert "the shipper did not start; starting another in 0.0 s" in caplog.text
    assert "killed by signal" not in caplog.text


async def test_orphans_are_reconciled_once_they_let_go(tmp_path: Path) -> None:
    """A slot that another supervisor's worker still holds is left alone until it is free."""
    holder = SlotHolder()
    await holder.start(tmp_path / "slots", 7)
    mirror = Mirror(tmp_path, orphans=[7])
    numbers = mirror.counters.slot(7)
    numbers[INDEX["seen"]] = 3
    async with running(mirror):
        await asyncio.sleep(0.6)
        assert mirror.counters.read(7)["lost"] == 0
        await holder.let_go()
        await until(lambda: mirror.counters.read(7)["lost"] == 3)


async def test_shipper_is_drained_only_when_orphans_have_ended(tmp_path: Path) -> None:
    """What a killed supervisor's workers still write is shipped too."""
    holder = SlotHolder()
    await holder.start(tmp_path / "slots", 7)
    mirror = Mirror(tmp_path, orphans=[7])
    async with running(mirror) as run:
        mirror.supervisor.drain()
        await until(lambda: mirror.supervisor.worker_statuses()[0].state == "ended")
        assert mirror.supervisor.shipper_status().state == "ready"
        await holder.let_go()
        await asyncio.wait_for(run, 10)
        assert (tmp_path / "drained").exists()


ORDERS = Topology((App(name="orders", instances=(Instance("http", "10.0.3.7", 8080),)),))


async def told(mirror: Mirror, expected: Live) -> None:
    """Wait until whichever worker answers was told that."""
    async with asyncio.timeout(20):
        while decode(await mirror.ask(b"live")) != expected:
            await asyncio.sleep(0.01)


async def test_workers_are_told_what_is_so(tmp_path: Path) -> None:
    """Topologies and shares, whole each time, while they run."""
    mirror = Mirror(tmp_path)
    async with running(mirror):
        first = await mirror.ask(b"pid")
        mirror.supervisor.publish(ORDERS)
        await told(mirror, Live(topology=ORDERS))
        mirror.supervisor.set_percent("orders", 5)
        await told(mirror, Live(topology=ORDERS, percents={"orders": 5}))
        mirror.supervisor.set_percent(None, 50)
        mirror.supervisor.set_percent("orders", None)
        await told(mirror, Live(topology=ORDERS, percent=50))
        assert await mirror.ask(b"pid") == first


async def test_a_restarted_worker_knows_it_from_the_start(tmp_path: Path) -> None:
    """It must not turn away what the one before it served."""
    mirror = Mirror(tmp_path)
    mirror.supervisor.publish(ORDERS)
    async with running(mirror):
        assert decode(await mirror.ask(b"live")) == Live(topology=ORDERS)
        mirror.supervisor.set_percent(None, 1)
        await mirror.ask(b"die")
        assert decode(await mirror.ask(b"live")) == Live(topology=ORDERS, percent=1)


async def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    """A share that is none, a topology too large for any worker: all stays as it was."""
    mirror = Mirror(tmp_path)
    mirror.supervisor.publish(ORDERS)
    with pytest.raises(ValueError, match="a share is from 0 to 100, not 101"):
        mirror.supervisor.set_percent("orders", 101)
    huge = Topology((App(name="orders", hosts=("x" * MAX_SETTINGS_BYTES,)),))
    with pytest.raises(ValueError, match="is too large"):
        mirror.supervisor.publish(huge)
    assert mirror.supervisor.live == Live(topology=ORDERS)
    mirror.supervisor.abort()
    mirror.locks.close()


async def test_leaving_is_said_before_anything_ends(tmp_path: Path) -> None:
    """No new traffic should come, and what comes is served."""
    mirror = Mirror(tmp_path)
    async with running(mirror):
        mirror.supervisor.leave()
        assert mirror.supervisor.unready() == ["draining"]
        assert (await mirror.ask(b"pid")).isdigit()
        assert not mirror.supervisor.is_draining
