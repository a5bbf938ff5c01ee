"""``--follow`` and ``--delay``: what is written while it is read, from directories and S3."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import stored_captures
from stored_captures import SECOND, exchange, put, worker, workers, write_file
from support.commands import Answer, Application, serving
from support.ministack import Ministack

from mirrorproxy.clock import wall_us

END = ("--idle-exit", "4s", "--concurrency", 8)


@pytest.fixture
def target():
    application = Application()
    with serving(application):
        yield application


def sent(target: Application) -> list[str]:
    return [request.target for request in target.requests]


def waited_for(target: Application, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(target.requests) < number:
        assert time.monotonic() < deadline, target.requests
        time.sleep(0.02)


def in_s3(ministack: Ministack, s3: Any, bucket: str, tmp_path: Path) -> tuple[str, Any]:
    return f"s3://{bucket}/live", lambda some: put(s3, bucket, some, prefix="live/")


def in_directory(ministack: Ministack, s3: Any, bucket: str, tmp_path: Path) -> tuple[str, Any]:
    root = tmp_path / "capture"
    root.mkdir()
    return str(root), lambda some: write_file(root, some)


@pytest.fixture(params=[in_s3, in_directory])
def capture(request, ministack, s3, bucket, tmp_path):
    """A capture that is written: what names it, and what stores exchanges in it."""
    return request.param(ministack, s3, bucket, tmp_path)


def test_new_objects_are_sent_as_they_appear(ministack, capture, target):
    """What was captured before is left alone; the replay ends when nothing comes."""
    spec, store = capture
    store([exchange(wall_us() - 60 * SECOND, 99)])
    words = (
        spec,
        "--follow",
        "--from",
        "-20s",
        "--speed",
        "max",
        "--idle-exit",
        "6s",
        "--target",
        target.url,
    )
    with worker(ministack.environ(), *words) as one:
        store([exchange(wall_us(), 1)])
        waited_for(target, 1)
        store([exchange(wall_us(), 2)])
        ledger = one.finish()
    assert sent(target) == ["/1", "/2"]
    assert (ledger["exit"], ledger["balanced"]) == (0, True)


def test_a_replay_goes_on_from_its_checkpoint_after_a_crash(ministack, capture, tmp_path):
    """Objects that were done with are not sent again; the one in the middle is, whole."""
    spec, store = capture
    checkpoint = tmp_path / "checkpoint"
    started_us = wall_us()
    counter = stored_captures.Counter(60)
    target = Application(lambda _request: (counter.add(), Answer(200))[1])
    words = (
        spec, "--follow", "--checkpoint", checkpoint, "--speed", "max", "--late", "send",
        "--from", "-1h", "--target", target.url, *END,
    )  # fmt: skip
    with serving(target):
        store([exchange(started_us - 1800 * SECOND + n, n) for n in range(50)])
        with worker(ministack.environ(), *words, "--limit-rate", 50) as first:
            waited_for(target, 50)
            deadline = time.monotonic() + 60
            while not (checkpoint.exists() and json.loads(checkpoint.read_bytes())["done"]):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            store([exchange(started_us - 1200 * SECOND + n, 50 + n) for n in range(200)])
            assert counter.reached.wait(60)
            first.kill()
        before = len(target.requests)
        store([exchange(started_us - 600 * SECOND, 250)])
        with worker(ministack.environ(), *words) as second:
            ledger = second.finish()
    assert 60 <= before < 250
    assert set(sent(target)) == {f"/{n}" for n in range(251)}
    assert ledger["answered"] == 201
    assert len(target.requests) == before + 201


def test_with_a_delay_workers_keep_step(ministack, s3, bucket, tmp_path):
    """Each sends what was captured exactly so long ago, without talking to another."""
    spec, store = in_s3(ministack, s3, bucket, tmp_path)
    at: list[tuple[str, int]] = []
    target = Application(lambda request: (at.append((request.target, wall_us())), Answer())[1])
    words = (spec, "--follow", "--delay", "12s", "--idle-exit", "14s", "--target", target.url)
    with serving(target), workers(ministack.environ(), 2, *words) as running:
        captured_us = wall_us() + 5 * SECOND
        store([exchange(captured_us + n * SECOND // 2, n) for n in range(4)])
        ledgers = [one.finish() for one in running]
    assert [path for path, _ in at] == [f"/{n // 2}" for n in range(8)]
    for path, sent_us in at:
        due_us = captured_us + int(path[1:]) * SECOND // 2 + 12 * SECOND
        assert 0 <= sent_us - due_us < 3 * SECOND
    assert [(ledger["exit"], ledger["skipped"]) for ledger in ledgers] == [(0, {}), (0, {})]


def test_what_comes_after_its_time_is_late(ministack, capture, target):
    """Counted and skipped, or sent at once with --late send."""
    spec, store = capture
    for late, count in (("skip", 0), ("send", 1)):
        words = (spec, "--follow", "--from", "-1h", "--delay", "2s", "--late", late, *END)
        store([exchange(wall_us() - 60 * SECOND, count)])
        with worker(ministack.environ(), *words, "--target", target.url) as one:
            ledger = one.finish()
        assert ledger["skipped"] == ({} if count else {"late": 1})
        assert ledger["answered"] == 2 * count


def test_an_outage_is_told_once_and_got_over(tmp_path, target):
    """S3 goes away and comes back, while it is followed; the replay goes on."""
    with Ministack(tmp_path) as ministack:
        s3, bucket = ministack.client("s3"), ministack.bucket()
        put(s3, bucket, [exchange(wall_us(), 1)])
        words = (
            f"s3://{bucket}", "--follow", "--from", "-1h", "--speed", "max", "--target", target.url
        )  # fmt: skip
        with worker(ministack.environ(), *words) as one:
            waited_for(target, 1)
            ministack.stop()
            assert "trying again" in one.process.stderr.readline()
            ministack.start()
            s3.create_bucket(Bucket=bucket)
            put(s3, bucket, [exchange(wall_us(), 2)])
            waited_for(target, 2)
            one.process.terminate()
            ledger = one.finish()
    assert sent(target) == ["/1", "/2"]
    assert ledger["balanced"]
    assert "the source can be read again" in ledger["said"]
