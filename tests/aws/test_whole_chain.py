"""From a client to a fleet that replays what it sent, and a worker that is killed in between."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from support.counting import CountingApplication
from support.ministack import Ministack
from whole_chain import capture_all, cloud, report, run_chain, until, worker

REQUESTS = int(os.environ.get("CHAIN_REQUESTS", "1500"))


@pytest.mark.timeout(600)
def test_every_request_is_replayed_exactly_once(ministack: Ministack, tmp_path: Path):
    """By two workers that do not know of each other, while it is captured."""
    figures = run_chain(ministack, tmp_path, REQUESTS)
    print(json.dumps(figures))
    assert figures["captured"] == figures["shipped"] == REQUESTS
    assert (figures["different"], figures["most_often"]) == (REQUESTS, 1)
    assert sum(figures["by_worker"]) == REQUESTS
    # A worker to whom nothing came says so with status 3.
    assert figures["exits"] == [0 if answered else 3 for answered in figures["by_worker"]]
    assert figures["report_exit"] == 0
    assert figures["report"] == {
        "shots": REQUESTS, "sent": REQUESTS, "answered": REQUESTS, "not_sent": 0, "repeated": 0,
        "by_several": 0, "extra": 0,
    }  # fmt: skip


@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_in_mid_object_loses_nothing(ministack: Ministack, tmp_path: Path):
    """Its messages come again; what was sent twice is counted by who reports."""
    requests, answered_first = 1000, 330
    killed, other = tmp_path / "killed", tmp_path / "other"
    with (
        cloud(ministack, buffer_bytes=4 << 10) as parts,
        CountingApplication() as production,
        CountingApplication(hold_after=answered_first) as staging,
    ):
        asyncio.run(capture_all(parts, tmp_path, production.url, requests))
        first = worker(parts, staging.url, killed)
        try:
            outcomes = killed / "outcomes.jsonl"
            until("shots in flight", lambda: staging.held == 8)
            # Every answer that it got is on disk, though it never ends well.
            until("outcomes", lambda: outcomes.read_bytes().count(b"\n") == answered_first)
            first.kill()
        finally:
            first.kill()
        staging.release()
        second = worker(parts, staging.url, other)
        try:
            until("every request", lambda: len(staging.came) == requests and not parts.messages)
            second.process.terminate()
            ledger = second.finish()
        finally:
            second.kill()
        assert ledger["exit"] == 0, ledger["said"]
        status, found = report(tmp_path, killed, other)
    again = ids(killed) & ids(other)
    print(json.dumps({"again": len(again), "report": found["once"], "other": ledger["answered"]}))
    assert again
    # Nothing is lost, and what was done with its whole object is not sent again.
    assert len(staging.came) == requests
    assert sum(staging.came.values()) - requests == len(again) + staging.held
    assert status == 1
    assert found["once"] == {
        "shots": requests, "sent": requests, "answered": requests, "not_sent": 0,
        "repeated": len(again), "by_several": len(again), "extra": len(again),
    }  # fmt: skip
    assert found["workers"][0]["ledger"] is False


def ids(out: Path) -> set[str]:
    return {json.loads(line)["id"] for line in (out / "outcomes.jsonl").read_text().splitlines()}
