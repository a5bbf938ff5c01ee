"""Shipping to Firehose by boto3, over the network, through everything that goes wrong with it."""

from __future__ import annotations

from collections import Counter

import pytest
from shipping import drain, fill, fill_with_body, firehose_sink, flat, ids_of, stored
from support.firehose import Fault
from support.ministack import objects

from mirrorproxy.spool.shipper import Shipper

pytestmark = pytest.mark.usefixtures("aws_environ")


def target(bucket: str, more: str = "") -> str:
    return f"firehose://stream?bodies=s3://{bucket}/mirror{more}"


def test_records_arrive_as_gzip_objects(tmp_path, firehose, s3, bucket):
    """Members of 100 lines and more, one after the other: a valid gzip object of lines."""
    firehose.create("stream", bucket, "mirror/")
    ids = fill(tmp_path, 1000)
    shipper = drain(tmp_path, firehose_sink(target(bucket)))
    firehose.flush()
    assert stored(s3, bucket, "mirror/") == Counter(ids)
    assert all(len(ids_of(record)) >= 100 for record in firehose.accepted())
    assert shipper.status().shipped == 1000
    assert list((tmp_path / "segments").iterdir()) == []


def test_plain_packing_leaves_compression_to_the_stream(tmp_path, firehose, s3, bucket):
    """Lines with their newlines, in a stream that compresses by itself."""
    firehose.create("stream", bucket, "mirror/", CompressionFormat="GZIP")
    ids = fill(tmp_path, 300)
    drain(tmp_path, firehose_sink(target(bucket, "&packing=plain")))
    firehose.flush()
    assert stored(s3, bucket) == Counter(ids)


def test_only_rejected_records_are_resent(tmp_path, firehose, s3, bucket):
    """Every second record of two batches is rejected; nothing stands twice."""
    firehose.create("stream", bucket)
    firehose.plan(Fault("partial"), Fault("partial"))
    ids = fill(tmp_path, 5000)
    shipper = drain(tmp_path, firehose_sink(target(bucket)))
    firehose.flush()
    assert stored(s3, bucket) == Counter(ids)
    assert shipper.status().rejected > 0


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("throttle"), id="throttle"),
        pytest.param(Fault("error"), id="500"),
        pytest.param(Fault("reset"), id="reset"),
        pytest.param(Fault("hang", seconds=0.5), id="hang"),
        pytest.param(Fault("slow", seconds=0.5), id="slow"),
    ],
)
def test_what_was_not_accepted_comes_again_once(tmp_path, firehose, s3, bucket, fault):
    """No record is lost, and none doubled."""
    firehose.create("stream", bucket)
    firehose.plan(*[fault] * 3)
    ids = fill(tmp_path, 500)
    drain(tmp_path, firehose_sink(target(bucket)))
    firehose.flush()
    assert stored(s3, bucket) == Counter(ids)


@pytest.mark.parametrize("kind", ["accepted then error", "accepted then reset"])
def test_duplicates_are_those_that_were_accepted_and_not_told(tmp_path, firehose, s3, bucket, kind):
    """By the endpoint's own log, to the record."""
    firehose.create("stream", bucket)
    firehose.plan(Fault(kind), Fault("partial"), Fault(kind))
    ids = fill(tmp_path, 3000)
    drain(tmp_path, firehose_sink(target(bucket)))
    firehose.flush()
    twice = stored(s3, bucket) - Counter(ids)
    assert twice == flat(map(ids_of, firehose.accepted(told=False)))
    assert twice


def test_expired_credentials_are_renewed_and_tried_again(
    tmp_path, firehose, s3, bucket, monkeypatch
):
    """Said in the status while it lasts, whatever number of attempts that takes."""
    firehose.create("stream", bucket)
    firehose.token_error = "ExpiredTokenException"
    ids = fill(tmp_path, 200)
    shipper = Shipper(tmp_path, firehose_sink(target(bucket)), jitter=lambda: 0.0)
    try:
        while shipper.status().retries < 3:
            shipper.step()
        assert shipper.status().error == "the AWS token has expired: renew the credentials"
        firehose.token_error = None
        while shipper.status().shipped < 200:
            shipper.step()
        assert shipper.status().error is None
    finally:
        shipper.close()
    firehose.flush()
    assert stored(s3, bucket) == Counter(ids)


def test_a_record_refused_for_good_is_quarantined_alone(tmp_path, firehose, s3, bucket):
    """The batch is parted until the one is found; the others arrive."""
    firehose.create("stream", bucket)
    ids = fill(tmp_path, 3000)
    poisoned = ids[500]
    firehose.refuses = lambda record: poisoned in ids_of(record)
    shipper = drain(tmp_path, firehose_sink(target(bucket)))
    firehose.flush()
    kept = list((tmp_path / "quarantine").glob("*.ndjson"))
    quarantined = [record for path in kept for record in ids_of(path.read_bytes())]
    assert poisoned in quarantined
    assert shipper.status().quarantined == len(quarantined) < 1500
    assert stored(s3, bucket) == Counter(set(ids) - set(quarantined))
    assert "refuses it for good" in (shipper.status().quarantine_error or "")


def test_a_line_too_large_for_firehose_is_quarantined_and_named(tmp_path, firehose, bucket):
    """A line of more than 1,000 KiB even when it is packed; nothing is sent of it."""
    firehose.create("stream", bucket)
    fill(tmp_path, 1, body="x" * 1_100_000)
    shipper = drain(tmp_path, firehose_sink(target(bucket, "&packing=plain")))
    assert shipper.status().quarantined == 1
    assert "Firehose takes 1024000" in (shipper.status().quarantine_error or "")
    assert firehose.puts == []


def test_a_body_is_stored_before_the_record_that_names_it(tmp_path, firehose, s3, bucket):
    """In parts where it is large, under the key that the record gives."""
    firehose.create("stream", bucket, "mirror/")
    body = bytes(range(256)) * 80_000  # 20 MB: three parts
    record, ref = fill_with_body(tmp_path, body)
    present: list[bool] = []
    firehose.note = lambda _record: present.append(
        "Contents" in s3.list_objects_v2(Bucket=bucket, Prefix=f"mirror/{ref}")
    )
    drain(tmp_path, firehose_sink(target(bucket)))
    firehose.flush()
    assert present == [True]
    assert stored(s3, bucket) == Counter([record])
    assert objects(s3, bucket, "mirror/bodies/") == {f"mirror/{ref}": body}
    assert not (tmp_path / ref).exists()


def test_a_session_stays_in_one_stream(tmp_path, firehose, s3, bucket):
    """Three streams share the load; each client's records are all in one of them."""
    for name in ("a", "b", "c"):
        firehose.create(name, bucket, f"{name}/")
    ids = fill(tmp_path, 3000, clients=50)
    drain(tmp_path, firehose_sink(f"firehose://a,b,c?bodies=s3://{bucket}/x"))
    firehose.flush()
    clients = {record: number % 50 for number, record in enumerate(ids)}
    parts = {name: stored(s3, bucket, f"{name}/") for name in "abc"}
    assert sum(parts.values(), Counter()) == Counter(ids)
    sessions = [{clients[record] for record in part} for part in parts.values()]
    assert all(sessions)
    assert sum(map(len, sessions)) == 50


def test_a_stream_that_is_down_does_not_hold_memory(tmp_path, firehose, bucket):
    """Whatever waits in the spool: a few megabytes are held, the rest stays on disk."""
    firehose.create("stream", bucket)
    firehose.weather = lambda: Fault("throttle")
    fill(tmp_path, 9000, body="".join(chr(33 + n % 90) for n in range(2000)))
    sink = firehose_sink(target(bucket))
    shipper = Shipper(tmp_path, sink, jitter=lambda: 0.0)
    try:
        for _ in range(300):
            shipper.step()
        assert not sink.has_room() or sum(sink.held()) < 1000
        assert shipper.status().shipped == 0
        assert shipper.status().waiting == 9000
    finally:
        shipper.close()
