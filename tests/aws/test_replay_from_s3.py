"""``mirrorproxy replay s3://...`` from the emulator to an application."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
import stored_captures
from stored_captures import HOUR, SECOND, T0, exchange, put
from support.commands import Application, serving
from support.ministack import Ministack

from mirrorproxy.cli import main
from mirrorproxy.keys import body_ref

Replay = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def target():
    application = Application()
    with serving(application):
        yield application


@pytest.fixture
def replay(ministack: Ministack, target: Application, capfd, monkeypatch) -> Replay:
    """Run the command in this process; return its status, its ledger and its standard error."""
    for name, value in ministack.environ().items():
        monkeypatch.setenv(name, value)

    def run(*words: object) -> tuple[int, dict[str, Any], str]:
        pace = () if "--speed" in words or "--delay" in words else ("--speed", "max")
        # An application in Python takes no more at once.
        at_once = () if "--concurrency" in words else ("--concurrency", 8)
        status = main(stored_captures.arguments(*words, *pace, *at_once, "--target", target.url))
        out, err = capfd.readouterr()
        return status, json.loads(out) if out else {}, err

    return run


def paths(target: Application) -> list[str]:
    return [request.target for request in target.requests]


def test_a_prefix_is_replayed_in_the_order_of_capture(s3, bucket, target, replay):
    """Objects of two streams, merged by the time of each exchange."""
    first = [exchange(T0 + n * SECOND, n) for n in range(0, 20, 2)]
    other = [exchange(T0 + n * SECOND, n) for n in range(1, 20, 2)]
    put(s3, bucket, first, prefix="orders/", stream="a")
    put(s3, bucket, other, prefix="orders/", stream="b")
    put(s3, bucket, [exchange(T0, 99)], prefix="other/")
    status, ledger, _ = replay(f"s3://{bucket}/orders", "--concurrency", 1)
    assert status == 0
    assert paths(target) == [f"/{n}" for n in range(20)]
    assert (ledger["read"], ledger["answered"], ledger["balanced"]) == (20, 20, True)


def test_only_what_was_captured_in_the_span_is_sent(s3, bucket, target, replay):
    """Whole objects are read, and the rest of them counted as outside the time asked for."""
    for hour in range(-3, 6):
        put(s3, bucket, [exchange(T0 + hour * HOUR + n * SECOND, n) for n in (0, 1)])
    asked = ("--from", "2025-11-23T08:00:01Z", "--to", "2025-11-23T10:00:01+00:00")
    status, ledger, _ = replay(f"s3://{bucket}/", *asked)
    assert status == 0
    assert len(paths(target)) == 4
    # Of hours 8, 9, 10 and, for what came late, 11: the hours before and after are not read.
    assert ledger["skipped"] == {"outside time": 4}


def test_what_came_late_into_its_object_is_found(s3, bucket, target, replay):
    """After an outage, records lie in objects named for a later hour: as far as --lookback."""
    put(s3, bucket, [exchange(T0, 1)], named_us=T0 + 3 * HOUR)
    asked = ("--from", "2025-11-23T08:00:00Z", "--to", "2025-11-23T09:00:00Z")
    assert replay(f"s3://{bucket}", *asked)[1]["read"] == 0
    assert replay(f"s3://{bucket}", *asked, "--lookback", "3h")[1]["answered"] == 1
    assert paths(target) == ["/1"]


def test_large_objects_are_read_in_parts(s3, bucket, target, replay):
    """An object that is larger than what is fetched at once."""
    body = "x" * 9_000
    exchanges = [
        exchange(T0 + n, n, method="POST", body=body + str(n), body_encoding="utf8")
        for n in range(700)
    ]
    put(s3, bucket, exchanges, content=stored_captures.lines(exchanges))
    status, ledger, _ = replay(f"s3://{bucket}/")
    assert (status, ledger["answered"]) == (0, 700)
    assert {len(request.body) for request in target.requests} == {9_001, 9_002, 9_003}


def test_bodies_that_lie_apart_are_fetched(s3, bucket, target, replay):
    """Relative to what stands before the year in the record's own key."""
    one = exchange(T0, 1)
    ref = body_ref(T0, one.id)
    one = exchange(T0, 1, method="PUT", body_ref=ref, body_bytes=6)
    missing = ref[:-1] + ("1" if ref.endswith("0") else "0")
    put(s3, bucket, [one, exchange(T0 + 1, 2, method="PUT", body_ref=missing)], prefix="p/")
    s3.put_object(Bucket=bucket, Key=f"p/{ref}", Body=b"\x00whole")
    status, ledger, said = replay(f"s3://{bucket}/p")
    assert len(said.splitlines()) == 1
    assert [request.body for request in target.requests] == [b"\x00whole"]
    assert (status, ledger["shed"]) == (1, {"body unreadable": 1})
    assert f": s3://{bucket}/p/{ref[:-1]}0: no such object" in said


def test_every_form_of_object_is_read(s3, bucket, target, replay):
    """Known by their bytes: compressed by Firehose, many members, plain, joined, misnamed."""
    parts = [[exchange(T0 + n * SECOND + k, 10 * n + k) for k in range(3)] for n in range(5)]
    last = stored_captures.lines(parts[4])
    forms = [
        gzip.compress(stored_captures.lines(parts[0])),
        stored_captures.packed(parts[1][:1]) + stored_captures.packed(parts[1][1:]),
        stored_captures.lines(parts[2]),
        stored_captures.lines(parts[3]).replace(b"\n", b""),
        gzip.compress(last[:400]) + gzip.compress(last[400:]),
    ]  # fmt: skip
    for part, form in zip(parts, forms, strict=True):
        put(s3, bucket, part, content=form)
    status, _, said = replay(f"s3://{bucket}/")
    assert (status, said) == (0, "")
    assert sorted(paths(target)) == sorted(f"/{10 * n + k}" for n in range(5) for k in range(3))


@pytest.mark.parametrize("compression", ["GZIP", "UNCOMPRESSED"])
def test_what_firehose_stored_is_replayed(s3, bucket, firehose, target, replay, compression):
    """Without a delimiter between its records: compressed by Firehose itself, or packed by us."""
    firehose.create("orders", bucket, "orders/", CompressionFormat=compression)
    client = boto3.Session().client(
        "firehose", endpoint_url=firehose.url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    packs = [[exchange(T0 + 3 * n + k, 3 * n + k) for k in range(3)] for n in range(4)]
    form = stored_captures.lines if compression == "GZIP" else stored_captures.packed
    records = [{"Data": form(pack)} for pack in packs]
    answer = client.put_record_batch(DeliveryStreamName="orders", Records=records)
    client.close()
    assert answer["FailedPutCount"] == 0
    firehose.flush()
    status, ledger, _ = replay(f"s3://{bucket}/orders/", "--concurrency", 1)
    assert (status, ledger["answered"]) == (0, 12)
    assert paths(target) == [f"/{n}" for n in range(12)]


def test_damage_is_counted_by_key_and_offset_and_the_rest_is_sent(s3, bucket, target, replay):
    """A member with a flipped byte, half an object, and something foreign."""
    good = stored_captures.packed([exchange(T0, 1)])
    flipped = bytearray(stored_captures.packed([exchange(T0 + 1, 2)]))
    flipped[40] ^= 1
    damaged = put(s3, bucket, [exchange(T0, 1)], content=good + bytes(flipped) + good[:-30])
    foreign = put(s3, bucket, [exchange(T0, 5)], stream="x", content=b'{"level":"info"}\n')
    status, ledger, said = replay(f"s3://{bucket}/")
    assert (status, paths(target), ledger["unreadable"]) == (1, ["/1"], 3)
    assert f"s3://{bucket}/{damaged}: byte {len(good)}: a damaged member (1 lost)" in said
    assert f"s3://{bucket}/{damaged}: byte {len(good) + len(flipped)}: a truncated member" in said
    assert f"s3://{bucket}/{foreign}: byte 0: " in said


def test_access_logs_that_fluentd_shipped_are_replayed(s3, bucket, target, replay):
    """Traefik's JSON lines, gzip, in hour folders that say the time alone."""
    entry = {
        "RequestMethod": "GET", "RequestPath": "/from-log?x=1", "RequestHost": "api.example.com",
        "RequestProtocol": "HTTP/1.1", "StartUTC": "2025-11-23T08:20:00.5Z", "Duration": 1000,
        "DownstreamStatus": 200, "ServiceName": "orders@docker",
    }  # fmt: skip
    text = json.dumps({"log": json.dumps(entry), "container_name": "/traefik"}) + "\n"
    s3.put_object(
        Bucket=bucket, Key="logs/2025/11/23/08/traefik_0.gz", Body=gzip.compress(text.encode())
    )
    asked = ("--from", "2025-11-23T08:10:00Z", "--to", "2025-11-23T08:30:00Z")
    status, ledger, _ = replay(f"s3://{bucket}/logs/", *asked)
    assert (status, ledger["answered"], paths(target)) == (0, 1, ["/from-log?x=1"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["s3://not-there/x"], "s3://not-there: no such bucket", id="bucket"),
        pytest.param(["s3:///x"], "expected s3://BUCKET/PREFIX", id="no bucket"),
        pytest.param(["s3://b/x?regoin=y"], "has no option regoin", id="misspelt"),
        pytest.param(["s3://bb", "--from", "today"], "--from: expected a time such", id="time"),
        pytest.param(["s3://bb", "--from", "-1h", "--to", "-2h"], "--to: is not after", id="order"),
        pytest.param(["sqs://no-such-queue"], "sqs://no-such-queue: no such queue", id="queue"),
        pytest.param(["sqs://q", "s3://bb"], "sqs:// is read alone", id="both"),
        pytest.param(["sqs://q", "--speed", "1"], "needs --delay TIME or --speed max", id="pace"),
        pytest.param(["s3://bb", "--delay", "5m"], "--delay: means nothing without", id="delay"),
        pytest.param(["-", "--follow"], "--follow: -: only directories", id="pipe"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(replay, words, said):
    """Before anything is sent."""
    status, ledger, err = replay(*words)
    assert (status, ledger) == (2, {})
    assert said in err
    assert err.count("\n") == 1
