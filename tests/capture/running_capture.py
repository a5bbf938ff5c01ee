"""A real ``mirrorproxy capture`` with an origin behind it, for the tests beside this file."""

import asyncio
import contextlib
import gzip
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO, Any

import aiohttp

from mirrorproxy.demo.processes import free_port

DEADLINE_S = 30


class Origin:
    """Answers every request with its own number; holds those to /slow until released."""

    def __init__(self) -> None:
        self.answered = 0
        self.release = asyncio.Event()
        self.waiting = asyncio.Event()
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                await reader.readexactly(length)
                if head.split(b" ")[1].startswith(b"/slow"):
                    self.waiting.set()
                    await self.release.wait()
                self.answered += 1
                body = b"%d" % self.answered
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def origin() -> AsyncIterator[Origin]:
    """Serve an origin on a free port."""
    served = Origin()
    server = await asyncio.start_server(served.answer, "127.0.0.1", 0)
    served.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield served
    finally:
        served.release.set()
        server.close()


class Running:
    """A capture that runs. Times out rather than hangs."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, admin: int, errors: IO[bytes]
    ) -> None:
        self.process = process
        self.errors = errors
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin}"

    async def status(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin}/status") as got:
            found: dict[str, Any] = await got.json()
            return found

    async def is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{self.admin}/readyz") as response:
                    return response.status == 200
        except aiohttp.ClientError:
            return False

    async def wait_ready(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not await self.is_ready():
                assert self.process.returncode is None
                await asyncio.sleep(0.02)

    async def worker_pids(self) -> list[int]:
        return [worker["pid"] for worker in (await self.status())["workers"]]

    async def children(self) -> list[int]:
        status = await self.status()
        return [*(worker["pid"] for worker in status["workers"]), status["shipper"]["pid"]]

    async def end(self, number: int = signal.SIGTERM) -> tuple[int, dict[str, Any], str]:
        """Signal it, and return its exit status, ledger and standard error."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> tuple[int, dict[str, Any], str]:
        async with asyncio.timeout(DEADLINE_S):
            out, _ = await self.process.communicate()
        assert self.process.returncode is not None
        self.errors.seek(0)
        return (
            self.process.returncode,
            json.loads(out) if out else {},
            self.errors.read().decode(),
        )


@contextlib.asynccontextmanager
async def capture(
    upstream: str | None,
    to: Path | str,
    *options: str,
    port: int | None = None,
    workers: int = 1,
    environ: dict[str, str] | None = None,
    program: Sequence[str] = ("-m", "mirrorproxy"),
    wait: bool = True,
) -> AsyncIterator[Running]:
    """Run a capture until the block ends; whatever is left of it is killed.

    program: what Python runs in place of the command; it can read its standard input.
    wait: until it is ready.
    """
    port, admin = port or free_port(), free_port()
    # A file rather than a pipe: workers that outlive their supervisor would keep it open.
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program, "capture",
            "--listen", f"127.0.0.1:{port}", "--to", str(to),
            *(["--upstream", upstream] if upstream else []),
            "--admin", f"127.0.0.1:{admin}", "--workers", str(workers), "--name", "test",
            "--json", *options,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
            env={**os.environ, **(environ or {})},
        )  # fmt: skip
        running = Running(process, port, admin, errors)
        try:
            if wait:
                await running.wait_ready()
            yield running
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def post(url: str, count: int, **headers: str) -> list[int]:
    """Send requests one after the other on fresh connections; return the statuses, 0 for none."""
    statuses = []
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        for number in range(count):
            try:
                async with session.post(f"{url}/orders/{number}", json={"n": number}) as response:
                    await response.read()
                    statuses.append(response.status)
            except aiohttp.ClientError:
                statuses.append(0)
    return statuses


def records(to: Path) -> list[dict[str, Any]]:
    """Return every record of a capture."""
    return [
        json.loads(line)
        for path in sorted(to.glob("[0-9]*/**/*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
