"""Disks that are full, read-only or fail: requests go on, what is not recorded is counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_accounts import Accounts, judge
from fault_capture import Mirror, mirror
from fault_load import Load, marked_origin

Report = Callable[[Accounts], None]
Mount = Callable[..., contextlib.AbstractContextManager[None]]

UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def mount(require_program: Callable[[str], str]) -> Mount:
    """A context manager that mounts something for a while; only root may."""
    program = require_program("mount")

    @contextlib.contextmanager
    def mounted(*arguments: str, at: Path) -> Iterator[None]:
        at.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [program, *arguments, str(at)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"cannot mount (only root may): {done.stderr.strip()}")
        try:
            yield
        finally:
            # Lazily, so that a failed test leaves nothing behind either.
            subprocess.run(["umount", "--lazy", str(at)], check=True)

    return mounted


def tmpfs(mount: Mount, at: Path, size: str) -> contextlib.AbstractContextManager[None]:
    return mount("-t", "tmpfs", "-o", f"size={size},mode=700", "mirrorproxy-test", at=at)


def limit_files(pid: int, size: int) -> None:
    """Let every write of a process fail that would make a file longer than size bytes."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))


def dropped(status: dict[str, object]) -> int:
    ledger = status["ledger"]
    assert isinstance(ledger, dict)
    total: int = sum(ledger["dropped"].values())
    return total


async def until_recording(running: Mirror) -> None:
    """Return once records are written again."""
    captured = (await running.status())["ledger"]["captured"]
    await running.until(lambda status: status["ledger"]["captured"] > captured)


async def with_load(
    running: Mirror, name: str, hurt: Callable[[Load], object], **options: float
) -> Load:
    """Run a load while something is done to the mirror, and for a moment longer."""
    load = Load(running.address, name, 100_000, pause_s=options.get("pause_s", 0.03))
    task = asyncio.create_task(load.run())
    try:
        await load.reached(50)
        await hurt(load)
        await load.reached(len(load.outcomes) + 50)
    finally:
        load.stop.set()
        await task
    return load


async def test_failing_writes_of_workers(tmp_path: Path, report: Report) -> None:
    """EFBIG at each append: dropped as `disk`, and recorded again once the disk is well."""
    async with marked_origin() as origin, mirror(origin.url, tmp_path / "to") as running:

        async def hurt(load: Load) -> None:
            pids = await running.workers()
            for pid in pids:
                limit_files(pid, 0)
            await running.until(lambda status: dropped(status) > 100)
            for pid in pids:
                limit_files(pid, UNLIMITED)
            await until_recording(running)

        load = await with_load(running, "failing", hurt)
        ledger = await running.end()
    accounts = await judge(
        "failing writes (EFBIG), workers", "every write", load, origin, ledger, tmp_path / "to"
    )
    report(accounts)
    assert accounts.failed == 0
    assert ledger["dropped"]["disk"] == accounts.dropped > 100


@pytest.mark.fault
async def test_failing_writes_of_the_shipper(tmp_path: Path, report: Report) -> None:
    """Neither object nor checkpoint can be written: records wait, and none is lost."""
    async with marked_origin() as origin, mirror(origin.url, tmp_path / "to") as running:

        async def hurt(load: Load) -> None:
            shipper = await running.shipper()
            limit_files(shipper, 0)
            await load.reached(len(load.outcomes) + 600)
            await asyncio.sleep(1.5)
            assert await running.shipper() == shipper
            limit_files(shipper, UNLIMITED)
            await running.until(lambda status: status["shipping"]["error"] is None)

        load = await with_load(running, "unshipped", hurt)
        ledger = await running.end()
    accounts = await judge(
        "failing writes (EFBIG), shipper", "every write", load, origin, ledger, tmp_path / "to"
    )
    report(accounts)
    assert (accounts.failed, accounts.dropped) == (0, 0)


async def fill(running: Mirror) -> None:
    """Stop shipping until records are dropped, and some more; then let it go on."""
    shipper = await running.shipper()
    os.kill(shipper, signal.SIGSTOP)
    try:
        await running.until(lambda status: dropped(status) > 100)
    finally:
        os.kill(shipper, signal.SIGCONT)
    await until_recording(running)


@pytest.mark.fault
async def test_spool_at_its_limit(tmp_path: Path, report: Report) -> None:
    """--spool-limit: dropped as `spool_full` until the shipper has made room."""
    config = "spool: {limit: 300KiB, segment: 64KiB}\n"
    async with (
        marked_origin() as origin,
        mirror(origin.url, tmp_path / "to", config=config) as running,
    ):
        load = await with_load(running, "limit", lambda _: fill(running))
        ledger = await running.end()
    accounts = await judge(
        "full spool", "limit of 300 KiB, shipper stopped", load, origin, ledger, tmp_path / "to"
    )
    report(accounts)
    assert accounts.failed == 0
    assert ledger["dropped"]["spool full"] == accounts.dropped > 100


@pytest.mark.fault
async def test_full_disk(tmp_path: Path, report: Report, mount: Mount) -> None:
    """ENOSPC in the spool: dropped, counted; the shipper has kept room for its checkpoint."""
    spool = tmp_path / "spool"
    with tmpfs(mount, spool, "4m"):
        async with (
            marked_origin() as origin,
            mirror(origin.url, tmp_path / "to", "--spool", str(spool)) as running,
        ):

            async def hurt(_: Load) -> None:
                await running.until(lambda status: status["ledger"]["shipped"] > 0)
                disk = os.statvfs(spool)
                (spool / "filler").write_bytes(bytes(disk.f_bavail * disk.f_frsize - 300_000))
                await fill(running)

            load = await with_load(running, "full", hurt)
            ledger = await running.end()
    accounts = await judge(
        "full disk below the spool", "tmpfs, 300 KB free, shipper stopped", load, origin, ledger,
        tmp_path / "to",
    )  # fmt: skip
    report(accounts)
    assert accounts.failed == 0
    assert ledger["dropped"]["disk"] > 100


@pytest.mark.fault
async def test_disk_filled_by_others(tmp_path: Path, report: Report, mount: Mount) -> None:
    """Not a byte is left, not even for a checkpoint: all goes on once there is room again."""
    spool = tmp_path / "spool"
    with tmpfs(mount, spool, "4m"):
        options = ("--spool", str(spool))
        async with (
            marked_origin() as origin,
            mirror(origin.url, tmp_path / "to", *options) as running,
        ):

            async def hurt(load: Load) -> None:
                with contextlib.suppress(OSError), open(spool / "filler", "wb", 0) as filler:
                    while True:
                        filler.write(bytes(4096))
                await running.until(lambda status: dropped(status) > 100)
                (spool / "filler").unlink()
                await until_recording(running)

            load = await with_load(running, "filled", hurt)
            ledger = await running.end()
    accounts = await judge(
        "disk below the spool filled by others", "tmpfs, to the last byte", load, origin, ledger,
        tmp_path / "to",
    )  # fmt: skip
    report(accounts)
    assert accounts.failed == 0
    assert ledger["dropped"]["disk"] > 100


@pytest.mark.fault
async def test_one_full_disk_for_all(tmp_path: Path, report: Report, mount: Mount) -> None:
    """Spool and capture fill one disk, as they may by default: all goes on once it has room."""
    to = tmp_path / "to"
    with tmpfs(mount, to, "4m"):
        async with marked_origin() as origin, mirror(origin.url, to) as running:

            async def hurt(_: Load) -> None:
                await running.until(lambda status: status["ledger"]["shipped"] > 0)
                disk = os.statvfs(to)
                (to / ".spool" / "filler").write_bytes(
                    bytes(disk.f_bavail * disk.f_frsize - 300_000)
                )
                await running.until(lambda status: dropped(status) > 100)
                subprocess.run(["mount", "-o", "remount,size=64m", str(to)], check=True)
                await until_recording(running)

            load = await with_load(running, "one-disk", hurt)
            ledger = await running.end()
        accounts = await judge(
            "full disk below spool and target", "tmpfs, 300 KB free, then 64 MiB", load, origin,
            ledger, to,
        )  # fmt: skip
    report(accounts)
    assert accounts.failed == 0
    assert ledger["dropped"]["disk"] > 100


@pytest.mark.fault
async def test_full_target(tmp_path: Path, report: Report, mount: Mount) -> None:
    """The capture's disk is full: records wait in the spool, and go there once it has room."""
    to = tmp_path / "to"
    with tmpfs(mount, to, "64k"):
        options = ("--spool", str(tmp_path / "spool"))
        async with marked_origin() as origin, mirror(origin.url, to, *options) as running:

            async def hurt(load: Load) -> None:
                await running.until(lambda status: bool((status["shipping"] or {}).get("error")))
                await load.reached(len(load.outcomes) + 300)
                subprocess.run(["mount", "-o", "remount,size=64m", str(to)], check=True)

            load = await with_load(running, "target", hurt, pause_s=0.01)
            ledger = await running.end()
        accounts = await judge(
            "full disk below the target", "tmpfs of 64 KiB, then 64 MiB", load, origin, ledger, to
        )
    report(accounts)
    assert (accounts.failed, accounts.dropped) == (0, 0)


@pytest.mark.fault
async def test_read_only_spool(tmp_path: Path, report: Report, mount: Mount) -> None:
    """EROFS for the next segment: dropped, counted, until the spool can be written again."""
    segments = tmp_path / "to" / ".spool" / "segments"
    config = "spool: {segment_age: 500ms}\n"
    async with (
        marked_origin() as origin,
        mirror(origin.url, tmp_path / "to", config=config) as running,
    ):

        async def hurt(load: Load) -> None:
            # A second look at the same folder, without the right to write.
            with mount("--bind", str(segments), at=segments):
                subprocess.run(["mount", "-o", "remount,bind,ro", str(segments)], check=True)
                await running.until(lambda status: dropped(status) > 100)
                status = await running.status()
                assert "the spool cannot be written" in status["unready"]
            await until_recording(running)

        load = await with_load(running, "read-only", hurt)
        ledger = await running.end()
    accounts = await judge(
        "read-only spool", "segments mounted ro", load, origin, ledger, tmp_path / "to"
    )
    report(accounts)
    assert accounts.failed == 0
    assert ledger["dropped"]["disk"] == accounts.dropped > 100
