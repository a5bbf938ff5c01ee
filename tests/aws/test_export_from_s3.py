"""``mirrorproxy export s3://...``, and HAR and GoReplay's files that lie in S3."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from stored_captures import HOUR, SECOND, T0, exchange, put

from mirrorproxy.cli import main
from mirrorproxy.keys import body_ref
from mirrorproxy.sources.gor_records import GorRecord, read_records


@pytest.fixture(autouse=True)
def environment(ministack, monkeypatch):
    """The variables that point boto3 at the emulator."""
    for name, value in ministack.environ().items():
        monkeypatch.setenv(name, value)


def records(data: bytes) -> list[GorRecord]:
    return [one for one in read_records(io.BytesIO(data).read1) if isinstance(one, GorRecord)]


def test_a_span_of_a_bucket_with_its_body_objects(s3, bucket, tmp_path):
    """In captured order; a large body is fetched from where it lies."""
    large = exchange(T0 + 1 * SECOND, 1, method="POST")
    ref = body_ref(large.started_us, large.id)
    asked = msgspec.structs.replace(large.request, body_ref=ref, body_bytes=5)
    s3.put_object(Bucket=bucket, Key=f"orders/{ref}", Body=b"large")
    put(
        s3,
        bucket,
        [exchange(T0 + 2 * SECOND, 2), msgspec.structs.replace(large, request=asked)],
        prefix="orders/",
    )
    put(s3, bucket, [exchange(T0 + 5 * HOUR, 3)], prefix="orders/")
    out = tmp_path / "x.gor"
    words = [f"s3://{bucket}/orders", "--from", "2025-11-23T08:00:00Z", "--to"]
    assert main(["export", *words, "2025-11-23T09:00:00Z", "--out", str(out)]) == 0
    messages = [one.message for one in records(out.read_bytes()) if one.kind == 1]
    assert [message.split()[1] for message in messages] == [b"/1", b"/2"]
    assert messages[0].endswith(b"\r\n\r\nlarge")


@pytest.mark.parametrize("name", ["captures.har", "captures.gor.gz"])
def test_an_export_in_a_bucket_is_a_source(s3, bucket, tmp_path, name, capsysbinary):
    """Whatever it is called and however it is packed."""
    put(s3, bucket, [exchange(T0, 1), exchange(T0 + SECOND, 2)], prefix="orders/")
    out = tmp_path / name
    assert main(["export", f"s3://{bucket}/orders", "--out", str(out)]) == 0
    s3.put_object(Bucket=bucket, Key=f"imports/{name}", Body=out.read_bytes())
    capsysbinary.readouterr()
    assert main(["export", f"s3://{bucket}/imports", "--format", "har"]) == 0
    entries = json.loads(capsysbinary.readouterr().out)["log"]["entries"]
    assert [entry["request"]["url"] for entry in entries] == [
        f"{'https' if name.endswith('.har') else 'http'}://api.example.com/{n}" for n in (1, 2)
    ]
