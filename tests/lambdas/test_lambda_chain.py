"""The functions as processes of the emulator, behind a capture, and their dead-letter queues."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from emulated import Functions, until
from lambda_chain import run_chain
from stored_captures import SECOND, T0, exchange, put
from support.ministack import Ministack

from mirrorproxy.lambdas.chunk import EVENT_LIMIT_BYTES

REQUESTS = int(os.environ.get("CHAIN_REQUESTS", "300"))


@pytest.mark.timeout(300)
def test_what_was_captured_is_sent_once_and_evenly(ministack: Ministack, tmp_path: Path):
    """Client, capture, Firehose, S3, SQS, split, send, target: real programs, every one."""
    figures = run_chain(ministack, tmp_path, REQUESTS, over_s=4, chunk_shots=1000)
    print(json.dumps(figures))
    assert (figures["captured"], figures["objects"]) == (REQUESTS, 1)
    assert figures["split"] == {
        "read": REQUESTS, "selected": REQUESTS, "planned": REQUESTS, "given": REQUESTS,
        "stored": 0, "balanced": True,
    }  # fmt: skip
    assert figures["send"] == {
        "planned": REQUESTS, "answered": REQUESTS, "unsent": 0, "doubled": 0, "handed_on": 0,
    }  # fmt: skip
    assert (figures["different"], figures["most_often"]) == (REQUESTS, 1)
    assert figures["bodies"] == REQUESTS
    assert figures["tokens"] == {"Bearer of-staging": REQUESTS}
    assert figures["dead_letters"] == 0
    # A machine that stands still for a while is no fault of the spreading.
    stood_still = max(figures["lag_ms_max"], figures["latency_ms_max"]) > 100
    assert figures["largest_to_mean"] <= 1.3 or stood_still


@pytest.mark.timeout(300)
def test_what_cannot_be_used_or_sent_is_in_the_dead_letter_queue(
    ministack: Ministack, s3, bucket, target
):
    """An unknown event, and chunks that there was no room for; those are sent when asked again."""
    functions = Functions(
        ministack,
        bucket,
        target.url,
        variables={
            "MIRRORPROXY_SPREAD_OVER": "1s",
            "MIRRORPROXY_MAX_CHUNK_SHOTS": "10",
            "MIRRORPROXY_MAX_SENDERS": "3",
        },
    )
    functions.client.invoke(
        FunctionName=functions.split, InvocationType="Event", Payload=b'{"hello":"secret"}'
    )
    letters: list[dict] = []
    until("a dead letter", lambda: letters.extend(_letters(functions)) or bool(letters))
    assert letters[0]["requestPayload"] == {"hello": "secret"}
    said = letters[0]["responsePayload"]["errorMessage"]
    assert said.startswith("split expects a notification of S3")
    assert said.endswith("got an object with the keys hello")

    # One at a time: the emulator puts what it has no room for into the queue at once.
    functions.client.put_function_concurrency(
        FunctionName=functions.send, ReservedConcurrentExecutions=1
    )
    functions.hear_directly()
    made = [exchange(T0 + n * SECOND // 10, n) for n in range(30)]
    for n, one in enumerate(made):
        one.client = f"203.0.113.{n}"
    put(s3, bucket, made)
    events: list[dict] = []

    def is_accounted_for() -> bool:
        events.extend(one["requestPayload"] for one in _letters(functions))
        lost = sum(event["shots"] for event in events)
        return sum(functions.total(functions.send, "Answered")) + lost == 30

    until("every shot answered, or in the queue", is_accounted_for)
    assert functions.total(functions.split, "Planned") == [30]
    assert events
    assert all(len(json.dumps(event)) < EVENT_LIMIT_BYTES for event in events)
    for event in events:
        functions.client.invoke(FunctionName=functions.send, Payload=json.dumps(event))
    assert sorted(int(one.target[1:]) for one in target.requests) == list(range(30))
    assert functions.total(functions.send, "Answered", "Doubled") == [30, 0]


def _letters(functions: Functions) -> list[dict]:
    """Take the dead letters; S3's own test event is none of them."""
    return [one for one in functions.dead_letters() if "s3:TestEvent" not in json.dumps(one)]
