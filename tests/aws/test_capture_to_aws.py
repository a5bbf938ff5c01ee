"""A whole capture that ships to AWS: killed shippers, outages, and what it says meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from shipping import flat, ids_of, stored
from support.firehose import Fault

sys.path.insert(0, str(Path(__file__).parents[1] / "capture"))
from running_capture import capture, origin, post

pytestmark = pytest.mark.usefixtures("aws_environ")


async def until(condition, running, seconds: float = 60.0):
    """Ask for the status until a condition holds; return it."""
    async with asyncio.timeout(seconds):
        while True:
            status = await running.status()
            if status["shipping"] and condition(status["shipping"]):
                return status["shipping"]
            await asyncio.sleep(0.05)


def target(bucket: str) -> str:
    return f"firehose://stream?bodies=s3://{bucket}/mirror"


async def test_every_request_is_in_the_bucket(tmp_path, firehose, s3, bucket):
    """Captured, shipped at the end, and nothing left in the spool."""
    firehose.create("stream", bucket, "mirror/")
    async with (
        origin() as app,
        capture(app.url, target(bucket), "--spool", str(tmp_path)) as mirror,
    ):
        assert await post(mirror.url, 250) == [200] * 250
        status, ledger, said = await mirror.end()
    assert status == 0, said
    assert ledger["shipped"] == 250
    await asyncio.to_thread(firehose.flush)
    found = stored(s3, bucket, "mirror/")
    assert len(found) == found.total() == 250


async def test_a_shipper_killed_in_mid_batch_loses_nothing(tmp_path, firehose, s3, bucket):
    """What comes twice is what was accepted and never answered."""
    firehose.create("stream", bucket)
    firehose.note = ids_of
    async with (
        origin() as app,
        capture(app.url, target(bucket), "--spool", str(tmp_path)) as mirror,
    ):
        firehose.plan(Fault("slow", seconds=60))
        assert await post(mirror.url, 150) == [200] * 150
        async with asyncio.timeout(30):
            while firehose.pending != 1:
                await asyncio.sleep(0.02)
        os.kill((await mirror.children())[-1], signal.SIGKILL)
        firehose.release()
        assert await post(mirror.url, 50) == [200] * 50
        status, _, said = await mirror.end()
    assert status == 0, said
    await asyncio.to_thread(firehose.flush)
    found = stored(s3, bucket)
    assert len(found) == 200
    first = firehose.puts[1]  # after the check at start
    assert first.fault == "slow"
    assert found - Counter(found.keys()) == flat(first.records)


async def test_an_outage_of_20_s(tmp_path, firehose, s3, bucket):
    """Requests are answered throughout, the spool holds, and everything arrives once."""
    firehose.create("stream", bucket)
    async with (
        origin() as app,
        capture(app.url, target(bucket), "--spool", str(tmp_path)) as mirror,
    ):
        firehose.weather = lambda: Fault("reset")
        loop = asyncio.get_running_loop()
        ends, sent = loop.time() + 20, 0
        while loop.time() < ends:
            assert await post(mirror.url, 50) == [200] * 50
            sent += 50
            await asyncio.sleep(0.2)
        shown = await until(lambda shipping: shipping["waiting"] == sent, mirror)
        assert shown["error"] == "cannot reach the stream stream: the connection was closed"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{mirror.admin}/metrics") as answer:
                assert "mirrorproxy_shipper_failing 1" in await answer.text()
        firehose.weather = lambda: None
        shown = await until(lambda shipping: shipping["shipped"] == sent, mirror)
        assert shown["retries"] > 2
        status, _, said = await mirror.end()
    assert status == 0, said
    await asyncio.to_thread(firehose.flush)
    found = stored(s3, bucket)
    assert len(found) == found.total() == sent


async def test_a_bucket_for_bodies_that_is_refused_holds_only_what_names_a_body(
    tmp_path, firehose, s3, bucket, ministack
):
    """It is retried, and said in the status."""
    firehose.create("stream", bucket)
    bodies = ministack.bucket()
    async with (
        origin() as app,
        capture(app.url, target(bodies), "--spool", str(tmp_path)) as mirror,
    ):
        s3.delete_bucket(Bucket=bodies)
        async with aiohttp.ClientSession() as session:
            large = b"x" * (1 << 20)
            async with session.post(f"{mirror.url}/large", data=large) as answer:
                assert answer.status == 200
        shown = await until(lambda shipping: shipping["error"], mirror)
        assert shown["error"] == (
            f"the bucket {bodies} is not there, in us-east-1: check its name, and ?region="
        )
        s3.create_bucket(Bucket=bodies)
        status, _, said = await mirror.end()
    assert status == 0, said
    await asyncio.to_thread(firehose.flush)
    assert stored(s3, bucket).total() == 1
