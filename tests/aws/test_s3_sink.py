"""Shipping to S3 without Firehose, by boto3, over the network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from shipping import drain, fill, fill_with_body, ids_of, stored
from support.ministack import Ministack, objects

from mirrorproxy.aws_urls import BucketUrl
from mirrorproxy.errors import SinkUnavailable
from mirrorproxy.sinks.cloud import S3Bucket, make_s3_sink
from mirrorproxy.sinks.s3 import S3Sink
from mirrorproxy.spool.shipper import Shipper

pytestmark = pytest.mark.usefixtures("aws_environ")


@pytest.fixture
def down(tmp_path, monkeypatch) -> Iterator[Ministack]:
    """An emulator of its own, which is stopped and started at will."""
    with Ministack(tmp_path / "emulator") as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.url)
        yield own


def test_objects_have_the_layout_of_every_capture(tmp_path, s3, bucket):
    """Hour folders, the mirror's name, gzip members of lines."""
    ids = fill(tmp_path, 500)
    drain(tmp_path, make_s3_sink(f"s3://{bucket}/mirror/", "mirror-1", 64 << 20, 10.0))
    assert stored(s3, bucket) == Counter(ids)
    [key] = objects(s3, bucket)
    folders = r"mirror/(\d{4})/(\d\d)/(\d\d)/(\d\d)/"
    name = r"mirror-1-1-\1-\2-\3-\4-\d\d-\d\d-[0-9a-f-]{36}\.jsonl\.gz"
    assert re.fullmatch(folders + name, key)


def test_an_object_ends_by_size(tmp_path, s3, bucket):
    """No object holds more than one pack beyond what is asked for."""
    ids = fill(tmp_path, 3000)
    drain(tmp_path, make_s3_sink(f"s3://{bucket}", "m", 1, 10.0))
    assert stored(s3, bucket) == Counter(ids)
    assert len(objects(s3, bucket)) > 1


def test_a_body_lies_under_the_prefix(tmp_path, s3, bucket):
    """Relative to what stands before the hour folders of the record's object."""
    record, ref = fill_with_body(tmp_path, b"\x00" * 2_000_000)
    drain(tmp_path, make_s3_sink(f"s3://{bucket}/a/b", "m", 64 << 20, 10.0))
    assert stored(s3, bucket, "a/b/") == Counter([record])
    assert objects(s3, bucket, "a/b/bodies/") == {f"a/b/{ref}": b"\x00" * 2_000_000}


def test_an_answer_that_is_lost_doubles_nothing(tmp_path, s3, bucket):
    """The object goes to the same key again."""

    class Forgetful(S3Bucket):
        lost = 2

        def put(self, key, content):
            super().put(key, content)
            if self.lost:
                self.lost -= 1
                raise SinkUnavailable("no answer in time")

    ids = fill(tmp_path, 300)
    sink = S3Sink(
        Forgetful(BucketUrl(bucket)), "m", roll_bytes=1 << 20, roll_age_s=10, jitter=lambda: 0.05
    )
    shipper = drain(tmp_path, sink)
    assert stored(s3, bucket) == Counter(ids)
    assert shipper.status().retries == 2


def test_an_outage_is_waited_for(tmp_path, down):
    """The bucket's server is gone, and comes back: everything arrives once."""
    name = down.bucket()
    ids = fill(tmp_path / "spool", 300)
    record, _ = fill_with_body(tmp_path / "spool", b"body")
    down.stop()
    sink = make_s3_sink(f"s3://{name}", "m", 1, 10.0)
    shipper = Shipper(tmp_path / "spool", sink, jitter=lambda: 0.0)
    while shipper.status().retries < 5:
        shipper.step()
    assert shipper.status().error == f"cannot reach the bucket {name}: no connection"
    shipper.close()
    down.start()
    s3 = down.client("s3")
    s3.create_bucket(Bucket=name)
    drain(tmp_path / "spool", make_s3_sink(f"s3://{name}", "m", 1, 10.0))
    assert stored(s3, name) == Counter([*ids, record])
    assert all(map(ids_of, (c for k, c in objects(s3, name).items() if "bodies/" not in k)))
