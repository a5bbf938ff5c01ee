"""Exchanges cut at every byte, by the application or by the client.

Production gets what it would get without a mirror, the next request its own
answer, and the ledger a line for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from fault_accounts import Accounts, judge
from fault_capture import Mirror, mirror, records
from fault_load import (
    Load,
    Outcome,
    Writer,
    answer_for,
    exchange,
    marked_origin,
    one_request,
    request_for,
    reset,
)

Report = Callable[[Accounts], None]

AT_ONCE = 6


def chunked_answer_for(marker: str) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    first, second = marker[:3].encode(), marker[3:].encode()
    return head + b"3;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (first, len(second), second)


async def end_as_asked(target: bytes, reader: asyncio.StreamReader, writer: Writer) -> None:
    """End an answer after ``cut`` bytes, ``how`` the query says; or read ``early`` bytes only."""
    asked = {
        name: values[0] for name, values in parse_qs(target.partition(b"?")[2].decode()).items()
    }
    marker = target.partition(b"?")[0].rpartition(b"/")[2].decode()
    if "early" in asked:
        await reader.readexactly(int(asked["early"]))
    else:
        answer = chunked_answer_for(marker) if asked["frame"] == "chunked" else answer_for(marker)
        writer.write(answer[: int(asked["cut"])])
        await writer.drain()
        if asked["how"] == "stall":
            # As long as the mirror wants to wait; its end of the connection ends this.
            await reader.read()
            return
        # So that the mirror has read this much before it hears of the end.
        await asyncio.sleep(0.004)
    if asked["how"] == "reset":
        reset(writer)
    else:
        writer.close()


async def send_one(load: Load, marker: str, query: str, data: bytes | None = None) -> str:
    """Send one request on a fresh connection, note its outcome and return it."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(*load.address)
    try:
        async with asyncio.timeout(20):
            if data is None:
                kind, _ = await exchange(reader, writer, marker, query)
            else:
                writer.write(data)
                head = await reader.readuntil(b"\r\n\r\n")
                kind = head.split(b" ")[1].decode()
    except (OSError, asyncio.IncompleteReadError):
        kind = "cut"
    finally:
        writer.close()
    load.outcomes.append(Outcome(marker, kind, began, began, time.monotonic()))
    return kind


async def at_once(jobs: Iterable[Callable[[], object]]) -> None:
    """Run jobs, a few at a time, in order."""
    left = iter(jobs)

    async def work() -> None:
        for job in left:
            await job()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


@pytest.mark.parametrize(
    "step", [pytest.param(5, id="short"), pytest.param(1, id="long", marks=pytest.mark.fault)]
)
async def test_upstream_cuts_its_answer_at_every_byte(
    tmp_path: Path, report: Report, step: int
) -> None:
    """502 before the head was whole, a cut answer after it; never a whole one that is not."""
    unexpected: list[tuple[str, str, str]] = []
    async with marked_origin() as origin, mirror(origin.url, tmp_path / "to", workers=1) as running:
        origin.ending = end_as_asked
        load = Load(running.address, "cut", 0)

        async def job(how: str, frame: str, at: int, marker: str, expected: str) -> None:
            kind = await send_one(load, marker, f"?how={how}&frame={frame}&cut={at}")
            clean = await send_one(load, f"{marker}-clean", "")
            if (kind, clean) != (expected, "answered"):
                unexpected.append((marker, kind, clean))

        jobs = []
        for how in ("reset", "close"):
            for frame, make in (("length", answer_for), ("chunked", chunked_answer_for)):
                size = len(make(f"{how}-{frame}-000"))
                for at in sorted({*range(0, size, step), size - 1}):
                    marker = f"{how}-{frame}-{at:03d}"
                    whole = make(marker)
                    expected = "cut" if at >= whole.index(b"\r\n\r\n") + 4 else "502"
                    jobs.append((how, frame, at, marker, expected))
        await at_once(lambda arguments=one: job(*arguments) for one in jobs)
        ledger = await running.end()
    accounts = await judge(
        "application cuts its answer", f"{len(jobs)} cuts, {step} byte(s) apart", load, origin,
        ledger, tmp_path / "to", excused_kinds=("502", "cut"),
    )  # fmt: skip
    report(accounts)
    assert unexpected == []
    failures = Counter(one.get("failure") for one in records(tmp_path / "to"))
    assert failures.pop(None) == len(jobs)
    assert failures.total() == len(jobs)
    assert set(failures) <= {"reset", "closed_early", "bad_response"}


@pytest.mark.fault
async def test_upstream_resets_before_it_answers(tmp_path: Path, report: Report) -> None:
    """When accepting, after the head, within the body: 502, counted, and nothing is asked twice."""
    body = bytes(300_000)
    expected: Counter[str] = Counter()
    async with marked_origin() as origin, mirror(origin.url, tmp_path / "to", workers=1) as running:
        origin.ending = end_as_asked
        load = Load(running.address, "early", 0)
        for number in range(8):
            origin.reset_next = 1
            assert await send_one(load, f"accept-{number}", "") == "502"
            expected["reset"] += 1
        for at in (0, 1, 100, 65_536, 200_000, 299_999):
            for how in ("reset", "close"):
                head = request_for(f"early-{how}-{at}", query=f"?how={how}&early={at}")
                head = re.sub(rb"Content-Length: \d+", b"Content-Length: 300000", head)
                data = head[: head.index(b"\r\n\r\n") + 4] + body
                assert await send_one(load, f"early-{how}-{at}", "", data) == "502"
                assert await send_one(load, f"early-{how}-{at}-clean", "") == "answered"
        ledger = await running.end()
    accounts = await judge(
        "application resets before it answers", "20 resets", load, origin, ledger,
        tmp_path / "to", excused_kinds=("502",),
    )  # fmt: skip
    # The replay sends what the mirror took whole, with bodies that are no marker's.
    accounts.problems = [one for one in accounts.problems if not one.startswith("the replay sent")]
    report(accounts)


@pytest.mark.fault
async def test_upstream_stalls(tmp_path: Path, report: Report) -> None:
    """An answer that never begins is a 504 once the time-out is over."""
    async with (
        marked_origin() as origin,
        mirror(origin.url, tmp_path / "to", "--response-timeout", "300ms", workers=1) as running,
    ):
        origin.ending = end_as_asked
        load = Load(running.address, "stall", 0)

        async def job(at: int) -> None:
            kind = await send_one(load, f"stall-{at}", f"?how=stall&frame=length&cut={at}")
            assert kind == "504"
            assert await send_one(load, f"stall-{at}-clean", "") == "answered"

        await at_once(lambda at=at: job(at) for at in range(0, 60, 5))
        ledger = await running.end()
    report(
        await judge(
            "application stalls", "12 answers that never begin", load, origin, ledger,
            tmp_path / "to", excused_kinds=("504",),
        )
    )  # fmt: skip


def request_to_abort(marker: str) -> bytes:
    """Return a request whose head and body have the same lengths for all markers."""
    return (
        b"POST /m/%b HTTP/1.1\r\nHost: app.test\r\nContent-Type: application/json\r\n"
        b"Content-Length: 40\r\n\r\n%b"
    ) % (marker.encode(), b'{"text":"nothing that anybody waits for"}'[:40])


def points(request: bytes, step: int) -> list[int]:
    """Return where to cut a request: every step-th byte, both sides of the head's end, the end."""
    head = request.index(b"\r\n\r\n") + 4
    return sorted({*range(0, len(request), step), head - 1, head, head + 1, len(request) - 1})


async def abort_at(running: Mirror, data: bytes, how: str) -> None:
    """Send the beginning of a request, then go."""
    _, writer = await asyncio.open_connection(*running.address)
    writer.write(data)
    await writer.drain()
    if how == "reset":
        # So that the mirror has read this much: a reset takes what is unread with it.
        await asyncio.sleep(0.01)
        reset(writer)
    else:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    "step", [pytest.param(9, id="short"), pytest.param(1, id="long", marks=pytest.mark.fault)]
)
async def test_client_aborts_its_request_at_every_byte(
    tmp_path: Path, report: Report, step: int
) -> None:
    """What has no whole head is not seen; what has no whole body is dropped, and counted."""
    async with marked_origin() as origin, mirror(origin.url, tmp_path / "to", workers=1) as running:
        load = Load(running.address, "abort", 0)
        cuts = dropped = 0

        async def job(how: str, at: int) -> None:
            marker = f"{how}-{at:04d}"
            await abort_at(running, request_to_abort(marker)[:at], how)
            now = time.monotonic()
            load.outcomes.append(Outcome(marker, "aborted", now, now, now))
            assert await send_one(load, f"{marker}-clean", "") == "answered"

        jobs = []
        for how in ("reset", "close"):
            request = request_to_abort(f"{how}-0000")
            head = request.index(b"\r\n\r\n") + 4
            jobs += [(how, at) for at in points(request, step)]
            cuts += len(points(request, step))
            dropped += sum(at >= head for at in points(request, step))
        await at_once(lambda one=one: job(*one) for one in jobs)
        await running.until(lambda status: status["ledger"]["in_flight"] == 0)
        ledger = await running.end()
    accounts = await judge(
        "client aborts its request", f"{cuts} aborts, {step} byte(s) apart", load, origin, ledger,
        tmp_path / "to", excused_kinds=("aborted",),
    )  # fmt: skip
    report(accounts)
    assert ledger["dropped"]["client aborted"] == dropped
    assert ledger["captured"] == cuts
    assert not [marker for marker in origin.served if not marker.endswith("-clean")]


@pytest.mark.parametrize("how", ["reset", pytest.param("close", marks=pytest.mark.fault)])
async def test_client_leaves_before_its_answer_ends(
    tmp_path: Path, report: Report, how: str
) -> None:
    """Production has acted on the request: it is recorded, and replayed."""
    async with (
        marked_origin(delay_s=0.02) as origin,
        mirror(origin.url, tmp_path / "to", workers=1) as running,
    ):
        load = Load(running.address, "leave", 0)
        size = 60

        async def job(at: int) -> None:
            marker = f"leave-{how}-{at:03d}"
            reader, writer = await asyncio.open_connection(*running.address)
            writer.write(request_for(marker))
            await writer.drain()
            if at:
                await reader.readexactly(at)
            else:
                await asyncio.sleep(0.01)
            reset(writer) if how == "reset" else writer.close()
            now = time.monotonic()
            load.outcomes.append(Outcome(marker, "aborted", now, now, now))
            assert await one_request(running.address, f"{marker}-clean") == "answered"
            now = time.monotonic()
            load.outcomes.append(Outcome(f"{marker}-clean", "answered", now, now, now))

        await at_once(lambda at=at: job(at) for at in range(0, size, 3))
        await running.until(lambda status: status["ledger"]["in_flight"] == 0)
        ledger = await running.end()
    accounts = await judge(
        f"client leaves before its answer ({how})", "20 clients", load,
        origin, ledger, tmp_path / "to", excused_kinds=("aborted",),
    )  # fmt: skip
    report(accounts)
    assert ledger["captured"] == 40
