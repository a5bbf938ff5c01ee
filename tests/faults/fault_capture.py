"""A real ``mirrorproxy capture`` that is to be hurt, and everything it has ever started.

Owns its processes: none of them outlives the block, each ended by its own pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from mirrorproxy.demo.processes import free_port

DEADLINE_S = 40.0

Process = tuple[int, str]
"""A pid and when it was started: a pid alone may have become somebody else's."""


class Mirror:
    """A capture that runs, or ran."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, admin: int, log: Path):
        self.process = process
        self.address = ("127.0.0.1", port)
        self.log = log
        self._admin = admin
        self._seen: set[Process] = set()

    async def status(self) -> dict[str, Any]:
        """Return what /status says. Raises OSError when nobody answers."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._admin)
            writer.write(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = await reader.read()
            writer.close()
        found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
        self._note()
        return found

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first status for which something holds."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(OSError):
                    status = await self.status()
                    if holds(status):
                        return status
                assert self.process.returncode is None, self.said()
                await asyncio.sleep(0.03)

    async def wait_ready(self) -> None:
        """Return when every worker serves."""
        await self.until(lambda status: not status["unready"])

    async def workers(self) -> list[int]:
        """Return the pids of the workers that run."""
        return [one["pid"] for one in (await self.status())["workers"] if one["pid"]]

    async def shipper(self) -> int:
        """Return the pid of the shipper that runs."""
        status = await self.until(lambda status: status["shipper"]["pid"] != 0)
        pid: int = status["shipper"]["pid"]
        return pid

    async def end(self) -> dict[str, Any]:
        """Drain it; return the ledger, with the exit status as ``exit``."""
        self._note()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S + 20):
            code = await self.process.wait()
        text = self.log.with_suffix(".out").read_text()
        assert text, self.said()
        return {**json.loads(text.splitlines()[-1]), "exit": code}

    async def kill_all(self) -> float:
        """Kill every process at once, the supervisor first; return when."""
        self._note()
        moment = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        for pid in self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.process.wait()
        await self.wait_gone()
        return moment

    async def wait_gone(self) -> None:
        """Return when none of its children runs."""
        async with asyncio.timeout(DEADLINE_S):
            while self._alive():
                await asyncio.sleep(0.02)

    def said(self) -> str:
        """Return its standard error so far."""
        return self.log.read_text()

    def finish(self) -> None:
        """Make sure that nothing is left."""
        self._note()
        for pid in (
            *self._alive(),
            *([] if self.process.returncode is not None else [self.process.pid]),
        ):
            for number in (signal.SIGKILL, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _note(self) -> None:
        pid = self.process.pid
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            for child in map(int, text.split()):
                if started := _started(child):
                    self._seen.add((child, started))

    def _alive(self) -> list[int]:
        return [pid for pid, started in self._seen if _started(pid) == started]


def _started(pid: int) -> str:
    """Return when a process was started, "" if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def rss_bytes(pid: int) -> int:
    """Return the memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def mirror(
    upstream: str,
    to: Path,
    *options: str,
    workers: int = 2,
    port: int | None = None,
    config: str = "",
    wrapper: Sequence[str] = (),
    environ: dict[str, str] | None = None,
) -> AsyncIterator[Mirror]:
    """Run a capture until the block ends. wrapper: a command that runs it."""
    port, admin = port or free_port(), free_port()
    base = to.parent / f"{to.name}-{admin}"
    if config:
        base.with_suffix(".yaml").write_text(config)
        options = ("--config", str(base.with_suffix(".yaml")), *options)
    with (
        open(base.with_suffix(".log"), "wb") as errors,
        open(base.with_suffix(".out"), "wb") as ledger,
    ):
        process = await asyncio.create_subprocess_exec(
            *wrapper, sys.executable, "-m", "mirrorproxy", "capture",
            "--listen", f"127.0.0.1:{port}", "--upstream", upstream, "--to", str(to),
            "--admin", f"127.0.0.1:{admin}", "--workers", str(workers), "--name", "fault",
            "--roll-age", "1s", "--json", *options,
            stdout=ledger, stderr=errors, env={**os.environ, **(environ or {})},
        )  # fmt: skip
    running = Mirror(process, port, admin, base.with_suffix(".log"))
    try:
        await running.wait_ready()
        yield running
    finally:
        running.finish()
        await process.wait()


def records(to: Path) -> list[dict[str, Any]]:
    """Return every record of an undamaged capture."""
    return [
        json.loads(line)
        for path in sorted(to.glob("[0-9]*/**/*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]


async def replay(to: Path, target: str) -> dict[str, Any]:
    """Replay a capture as fast as it goes; return the ledger, with the exit status as ``exit``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mirrorproxy", "replay", str(to), "--target", target,
        "--speed", "max", "--concurrency", "32", "--json",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE_S * 2):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out, errors.decode()
    return {**json.loads(out), "exit": process.returncode}
