"""Clients that are slow on purpose, or idle in crowds: the others do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_accounts import Accounts, judge
from fault_capture import mirror, records, rss_bytes
from fault_load import Load, Writer, exchange, marked_origin, request_for

Report = Callable[[Accounts], None]

LIMITS = "limits: {head_timeout: 1s, body_timeout: 1s, send_timeout: 1s}\n"
MIB = 1 << 20
SLOW = 30
BIG_ANSWER = 8 * MIB


async def slow_head(address: tuple[str, int]) -> bytes:
    """Send a head byte by byte; return what comes."""
    reader, writer = await asyncio.open_connection(*address)
    answer = asyncio.create_task(_rest(reader, writer))
    for byte in b"POST /m/slow-head HTTP/1.1\r\nHost: app.test\r\nX-Padding: " + b"a" * 60:
        if answer.done():
            break
        writer.write(bytes((byte,)))
        await asyncio.sleep(0.1)
    return await answer


async def slow_body(address: tuple[str, int], number: int) -> bytes:
    """Send half of a body, then nothing; return what comes."""
    reader, writer = await asyncio.open_connection(*address)
    request = request_for(f"slow-body-{number}")
    writer.write(request[:-30])
    return await _rest(reader, writer)


async def dripped_body(address: tuple[str, int], number: int) -> bytes:
    """Send a body slowly, but never as slowly as the limit; return what comes."""
    reader, writer = await asyncio.open_connection(*address)
    request = request_for(f"dripped-{number}").replace(
        b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"
    )
    writer.write(request[:-10])
    for byte in request[-10:]:
        await asyncio.sleep(0.3)
        writer.write(bytes((byte,)))
    return await _rest(reader, writer)


async def slow_reading(address: tuple[str, int], number: int) -> bytes:
    """Ask for a large answer, and take none of it until the mirror has given up."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, address)
    with raw:
        raw.send(request_for(f"slow-reading-{number}", query="?big"))
        await asyncio.sleep(3)
    return b""


async def _rest(reader: asyncio.StreamReader, writer: Writer) -> bytes:
    got = b""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(20):
            while data := await reader.read(65536):
                got += data
    writer.close()
    return got


async def big_answer(_target: bytes, _reader: asyncio.StreamReader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG_ANSWER)
    for _ in range(BIG_ANSWER // MIB):
        writer.write(bytes(MIB))
        await writer.drain()


async def test_slowloris(tmp_path: Path, report: Report) -> None:
    """Slow heads, bodies and readers are cut off, in bounded memory; all others are served."""
    async with (
        marked_origin() as origin,
        mirror(origin.url, tmp_path / "to", workers=1, config=LIMITS) as running,
    ):
        origin.ending = big_answer
        load = Load(running.address, "beside", 100_000, pause_s=0.05)
        task = asyncio.create_task(load.run())
        await load.reached(50)
        (worker,) = await running.workers()
        before = rss_bytes(worker)
        slow = asyncio.gather(
            *(slow_head(running.address) for _ in range(SLOW)),
            *(slow_body(running.address, number) for number in range(SLOW)),
            *(dripped_body(running.address, number) for number in range(SLOW)),
            *(slow_reading(running.address, number) for number in range(SLOW)),
        )
        most = 0
        while not slow.done():
            most = max(most, rss_bytes(worker) - before)
            await asyncio.sleep(0.1)
        answers = await slow
        load.stop.set()
        await task
        await running.until(lambda status: status["ledger"]["in_flight"] == 0)
        ledger = await running.end()
    accounts = await judge(
        "slowloris", f"{SLOW} each: heads, bodies, dripped bodies, readers", load, origin, ledger,
        tmp_path / "to", extra_seen=3 * SLOW,
    )  # fmt: skip
    accounts.note = (
        f"memory +{most / MIB:.0f} MiB, answers of {SLOW * BIG_ANSWER // MIB} MiB pending"
    )
    report(accounts)
    statuses = [answer[9:12] for answer in answers]
    assert statuses[:SLOW] == [b"408"] * SLOW
    assert statuses[SLOW : 2 * SLOW] == [b"408"] * SLOW
    assert statuses[2 * SLOW : 3 * SLOW] == [b"200"] * SLOW
    failures = Counter(one.get("failure") for one in records(tmp_path / "to"))
    assert failures["client_stalled"] == SLOW
    assert ledger["dropped"]["client stalled"] == SLOW
    assert accounts.failed == 0
    assert most < 48 * MIB


@pytest.mark.fault
async def test_idle_connections(tmp_path: Path, report: Report) -> None:
    """A crowd that keeps its connections costs memory that can be planned, and no request."""
    idle, active = 10_000, 200
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < idle + 1000:
        pytest.skip(f"{hard} open files are too few for {idle} connections")
    crowd: list[socket.socket] = []
    async with (
        marked_origin() as origin,
        mirror(origin.url, tmp_path / "to", workers=1) as running,
        contextlib.AsyncExitStack() as stack,
    ):
        (worker,) = await running.workers()
        before = rss_bytes(worker)
        began = time.monotonic()
        for number in range(idle):
            crowd.append(stack.enter_context(socket.create_connection(running.address)))
            crowd[-1].sendall(request_for(f"idle-{number}"))
            if number % 200 == 199:
                await asyncio.sleep(0.02)
        await running.until(lambda status: status["workers"][0]["open_connections"] >= idle)
        await running.until(lambda status: status["ledger"]["captured"] == idle)
        load = Load(running.address, "active", 20 * active, clients=active, pause_s=0.1)
        await load.run()
        rss = rss_bytes(worker)
        lived = time.monotonic() - began
        # Each of them still is what it was: a connection that answers.
        for number in range(0, idle, 97):
            crowd[number].setblocking(False)
            streams = await asyncio.open_connection(sock=crowd[number])
            await streams[0].readuntil(f"\r\n\r\nidle-{number}".encode())
            assert (await exchange(*streams, f"again-{number}"))[0] == "answered"
            streams[1].close()
        ledger = await running.end()
    accounts = await judge(
        "idle connections", f"{idle:,} idle beside {active} active, {lived:.0f} s", load, origin,
        ledger, tmp_path / "to", extra_seen=2 * idle,
    )  # fmt: skip
    accounts.note = f"worker {rss / MIB:.0f} MiB, was {before / MIB:.0f}"
    report(accounts)
    assert accounts.failed == 0
    assert rss < 250 * MIB
