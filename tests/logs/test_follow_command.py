"""``mirrorproxy capture --access-log`` as a whole: real processes, rotations and kills."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
from support.access_lines import line
from support.commands import Application, free_port, run, serving
from traefik_log import traefik

DEADLINE_S = 30


class Following:
    """A capture that follows a log."""

    def __init__(self, process: asyncio.subprocess.Process, admin: str) -> None:
        self.process = process
        self._admin = admin

    async def status(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self._admin}/status") as got:
            found: dict[str, Any] = await got.json()
            return found

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until something holds of the status."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    status = await self.status()
                    if holds(status):
                        return status
                assert self.process.returncode is None
                await asyncio.sleep(0.05)

    async def captured(self, count: int) -> dict[str, Any]:
        return await self.until(lambda status: status["ledger"]["captured"] >= count)

    async def end(self) -> tuple[int | None, dict[str, Any]]:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            out, _ = await self.process.communicate()
        return self.process.returncode, json.loads(out)


@contextlib.asynccontextmanager
async def following(log: Path, to: Path, *options: str) -> AsyncIterator[Following]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mirrorproxy", "capture", "--access-log", str(log), "--to", str(to),
        "--admin", f"127.0.0.1:{port}", "--name", "test", "--json", *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    running = Following(process, f"http://127.0.0.1:{port}")
    try:
        await running.until(lambda status: not status["unready"])
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def append(log: Path, *numbers: int) -> None:
    with log.open("ab") as file:
        file.writelines(line(RequestCount=one, RequestPath=f"/{one}") + b"\n" for one in numbers)


def targets(to: Path) -> list[str]:
    done = run(["inspect", str(to), "--json"], to)
    assert done.returncode == 0, done.stderr
    return sorted(
        (json.loads(one)["request"]["target"] for one in done.stdout.splitlines()),
        key=lambda target: int(target[1:]),
    )


def paths(count: int) -> list[str]:
    return [f"/{number}" for number in range(count)]


def test_a_log_is_followed_by_a_capture_of_its_own(tmp_path):
    """What would listen, or is no file, is refused in one line."""
    for options, said in {
        ("--listen", "127.0.0.1:0"): "--listen: not beside an access log",
        ("--upstream", "http://127.0.0.1:9"): "--upstream: not beside an access log",
        ("--response-body",): "--response-body: not beside an access log",
        ("--workers", "2"): "--workers: not beside an access log",
        ("--service", "a b"): "--service: a name has letters",
        ("--percent", "101"): "--percent: a share is from 0 to 100",
        ("--access-log", "."): "--access-log: a directory",
        ("--access-log", ""): "--access-log: say which log",
    }.items():
        done = run(["capture", "--access-log", "a.log", "--to", "capture", *options], tmp_path)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


async def test_a_log_is_shipped_through_both_rotations(tmp_path):
    """From before the log exists to the ledger: nothing missing, nothing twice."""
    log, to = tmp_path / "access.log", tmp_path / "capture"
    async with following(log, to) as mirror:
        append(log, *range(5))
        await mirror.captured(5)
        log.rename(tmp_path / "access.log.1")
        append(tmp_path / "access.log.1", 5, 6)
        append(log, *range(7, 10))
        await mirror.captured(10)
        (tmp_path / "access.log.copy").write_bytes(log.read_bytes())
        os.truncate(log, 0)
        append(log, 10, 11)
        with log.open("ab") as file:
            file.write(b"no json\n")
        await mirror.until(lambda status: status["ledger"]["seen"] == 13)
        status, ledger = await mirror.end()
    assert (status, ledger["balanced"]) == (0, True)
    assert (ledger["seen"], ledger["captured"], ledger["shipped"]) == (13, 12, 12)
    assert ledger["dropped"]["unreadable"] == 1
    assert targets(to) == paths(12)


async def test_a_killed_follower_loses_nothing(tmp_path):
    """Another takes over where the position was kept; what it repeats has the same ids."""
    log, to = tmp_path / "access.log", tmp_path / "capture"
    async with following(log, to) as mirror:
        append(log, *range(50))
        status = await mirror.captured(50)
        append(log, *range(50, 100))
        os.kill(status["workers"][0]["pid"], signal.SIGKILL)
        append(log, *range(100, 150))
        await mirror.until(
            lambda status: (
                status["workers"][0]["restarts"] == 1 and status["ledger"]["captured"] >= 150
            )
        )
        append(log, 150)
        await mirror.captured(151)
        code, ledger = await mirror.end()
    assert (code, ledger["balanced"], ledger["lost"]) == (0, True, 0)
    assert targets(to) == paths(151)


async def test_a_killed_capture_goes_on_where_it_was_though_the_log_was_rotated(tmp_path):
    """The rest of the old file first, then the new one."""
    log, to = tmp_path / "access.log", tmp_path / "capture"
    async with following(log, to) as mirror:
        append(log, *range(5))
        await mirror.captured(5)
        mirror.process.kill()
        await mirror.process.communicate()
    append(log, 5)
    log.rename(tmp_path / "access.log.1")
    append(log, 6)
    async with following(log, to) as mirror:
        await mirror.until(lambda status: status["ledger"]["captured"] >= 7)
        code, ledger = await mirror.end()
    assert (code, ledger["balanced"]) == (0, True)
    assert targets(to) == paths(7)


async def test_the_log_of_a_real_traefik_is_followed_through_its_rotation(tmp_path):
    """Renamed, then told by a signal to open the log anew, as logrotate does it."""
    production, to = Application(), tmp_path / "capture"
    options = ("--service", "shop")
    with serving(production), traefik(production.url, tmp_path) as proxy:
        async with following(proxy.log, to, *options) as mirror:
            for number in range(20):
                if number == 10:
                    proxy.log.rename(tmp_path / "access.log.1")
                await asyncio.to_thread(proxy.get, f"/{number}", "Authorization: Bearer secret")
                if number == 14:
                    proxy.reopen()
            await asyncio.to_thread(proxy.wait_logged, '"/19"')
            await mirror.captured(20)
            code, ledger = await mirror.end()
    assert (code, ledger["balanced"]) == (0, True)
    done = run(["inspect", str(to), "--json", "--path", "/*", "--service", "shop"], tmp_path)
    found = [json.loads(one) for one in done.stdout.splitlines()]
    asked = [one for one in found if one["request"]["target"] != "/ready"]
    assert [one["request"]["target"] for one in asked] == paths(20)
    assert all(one["credentials"][0]["name"] == "Authorization" for one in asked)
