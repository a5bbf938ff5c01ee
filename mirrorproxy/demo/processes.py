"""The demo's child processes: mirrorproxy's own commands, started and always ended.

Output goes to files beside the capture, so that a full pipe can't stop a child.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from mirrorproxy.demo import DemoFailed

UP_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 45.0  # longer than capture's own bounds for draining and shipping
COMMAND_TIMEOUT_S = 60.0
POLL_S = 0.05


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses at this moment.

    Not one of those that systems hand out by themselves (Linux from 32768 on): any
    outgoing connection might take it before its server does.
    """
    choose = random.SystemRandom()
    while True:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", choose.randrange(12_000, 32_000)))
            except OSError:
                continue
            port: int = listener.getsockname()[1]
            return port


@contextlib.asynccontextmanager
async def started(arguments: Sequence[str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``mirrorproxy ARGUMENTS`` while the block lasts; its output goes to log.

    A process that is still there at the end is asked to stop, then killed.
    """
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *_command(arguments), stdout=output, stderr=output, stdin=asyncio.subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        await _end(process)


async def stop(process: asyncio.subprocess.Process, log: Path) -> None:
    """Ask a process to drain and end. Raises DemoFailed if it does not end well."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        status = await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        raise DemoFailed(f"capture did not stop within {STOP_TIMEOUT_S:.0f} s, see {log}") from None
    if status != 0:
        raise DemoFailed(f"capture ended with status {status}: {last_line(log)}")


async def wait_until_listening(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    """Return once something accepts on the port. Raises DemoFailed if the process ends first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + UP_TIMEOUT_S
    while loop.time() < deadline:
        if process.returncode is not None:
            raise DemoFailed(f"capture did not start: {last_line(log)}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(POLL_S)
            continue
        writer.close()
        return
    raise DemoFailed(f"capture did not listen within {UP_TIMEOUT_S:.0f} s, see {log}")


async def output_of(arguments: Sequence[str], log: Path) -> bytes:
    """Run ``mirrorproxy ARGUMENTS`` to its end and return its standard output.

    Standard error goes to log. Raises DemoFailed if the status is not 0.
    """
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *_command(arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            stdin=asyncio.subprocess.DEVNULL,
        )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    except TimeoutError:
        raise DemoFailed(f"{arguments[0]} took over {COMMAND_TIMEOUT_S:.0f} s, see {log}") from None
    finally:
        await _end(process)
    if process.returncode != 0:
        reason = last_line(log) or output.decode("utf-8", "replace").strip()
        raise DemoFailed(f"{arguments[0]} ended with status {process.returncode}: {reason}")
    return output


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty, or "" if there is none."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "mirrorproxy", *arguments]


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
