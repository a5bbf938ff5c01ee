"""The Firehose endpoint of these tests, judged by boto3's client and botocore's model."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.exceptions
import botocore.session
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator
from support.firehose import MAX_RECORD_BYTES, Fault, Firehose
from support.firehose_streams import object_key
from support.ministack import objects

MODEL = botocore.session.get_session().get_service_model("firehose")


@pytest.fixture
def client(firehose: Firehose) -> Iterator[Any]:
    made = client_of(firehose)
    yield made
    made.close()


def client_of(firehose: Firehose, region: str = "us-east-1") -> Any:
    return boto3.Session().client(
        "firehose",
        endpoint_url=firehose.url,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(read_timeout=1, retries={"total_max_attempts": 1}),
    )


def check(operation: str, answer: dict[str, Any]) -> None:
    """Hold an answer, as boto3 parsed it, to the model of the service."""
    parsed = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
    report = ParamValidator().validate(parsed, MODEL.operation_model(operation).output_shape)
    assert not report.has_errors(), report.generate_report()
    expected = MODEL.operation_model(operation).output_shape.members
    assert parsed.keys() <= expected.keys()


def batch(client: Any, *records: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = client.put_record_batch(
        DeliveryStreamName="stream", Records=[{"Data": record} for record in records]
    )
    check("PutRecordBatch", answer)
    return answer


def test_records_are_delivered_as_one_object_under_an_hour_folder(client, firehose, s3, bucket):
    """Nothing stands between records: Firehose adds no delimiter."""
    firehose.create("stream", bucket, "mirror/")
    assert batch(client, b"one,", b"two,")["FailedPutCount"] == 0
    answer = client.put_record(DeliveryStreamName="stream", Record={"Data": b"three"})
    check("PutRecord", answer)
    firehose.flush()
    [(key, content)] = objects(s3, bucket).items()
    assert content == b"one,two,three"
    folders = r"mirror/(\d{4})/(\d\d)/(\d\d)/(\d\d)/"
    name = r"stream-1-\1-\2-\3-\4-\d\d-\d\d-[0-9a-f-]{36}\.jsonl\.gz"
    assert re.fullmatch(folders + name, key)
    assert [one.records for one in firehose.delivered] == [3]


def test_a_stream_is_made_and_described_as_the_model_says(client, firehose, bucket):
    """What describes it is what it was made with."""
    answer = client.create_delivery_stream(
        DeliveryStreamName="made",
        DeliveryStreamType="DirectPut",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "CompressionFormat": "GZIP",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
        },
    )
    check("CreateDeliveryStream", answer)
    answer = client.describe_delivery_stream(DeliveryStreamName="made")
    check("DescribeDeliveryStream", answer)
    described = answer["DeliveryStreamDescription"]["Destinations"][0]
    assert described["ExtendedS3DestinationDescription"]["CompressionFormat"] == "GZIP"
    again = {
        "BucketARN": "arn:aws:s3:::b",
        "RoleARN": "arn:aws:iam::000000000000:role/f",
    }
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.create_delivery_stream(
            DeliveryStreamName="made", ExtendedS3DestinationConfiguration=again
        )


def test_a_stream_that_compresses_and_delimits(client, firehose, s3, bucket):
    """Its own compression and its newline after each record."""
    firehose.create(
        "stream",
        bucket,
        CompressionFormat="GZIP",
        ProcessingConfiguration={
            "Enabled": True,
            "Processors": [{"Type": "AppendDelimiterToRecord"}],
        },
    )
    batch(client, b"one", b"two")
    firehose.flush()
    [content] = objects(s3, bucket).values()
    assert gzip.decompress(content) == b"one\ntwo\n"


def test_a_prefix_with_times_of_its_own():
    """The oldest record's arrival, and no hour folders beside those that are asked for."""
    at = datetime(2026, 11, 25, 8, 9, 10, tzinfo=UTC)
    prefix = "a/!{timestamp:yyyy}/m=!{timestamp:MM}/"
    key = object_key({"Prefix": prefix}, "s", at)
    assert re.fullmatch(r"a/2026/m=11/s-1-2026-11-25-08-09-10-[0-9a-f-]{36}", key)


def test_an_object_ends_by_size(client, firehose, bucket):
    """1 MiB here: two records of 600 KB go into two objects."""
    firehose.create("stream", bucket)
    batch(client, bytes(600_000), bytes(600_000))
    firehose.flush()
    assert [one.records for one in firehose.delivered] == [1, 1]


def test_an_object_ends_by_age(client, firehose, bucket):
    """Half a second here, and nobody asks for it."""
    firehose.create("stream", bucket)
    batch(client, b"one")
    deadline = datetime.now(UTC).timestamp() + 30
    while not firehose.delivered:
        assert datetime.now(UTC).timestamp() < deadline
    assert firehose.delivered[0].records == 1


@pytest.mark.parametrize(
    ("records", "code"),
    [
        pytest.param([bytes(MAX_RECORD_BYTES)], None, id="a record of 1,024,000 bytes"),
        pytest.param([bytes(MAX_RECORD_BYTES + 1)], "ValidationException", id="one byte more"),
        pytest.param([bytes(1 << 19)] * 8, None, id="a batch of 4 MiB"),
        pytest.param(
            [bytes(1 << 19)] * 8 + [b"x"], "InvalidArgumentException", id="a byte over it"
        ),
        pytest.param([b"x"] * 500, None, id="500 records"),
        pytest.param([b"x"] * 501, "InvalidArgumentException", id="501 records"),
    ],
)
def test_limits_of_a_batch(client, firehose, bucket, records, code):
    """As in the API reference; nothing of a batch that is refused is accepted."""
    firehose.create("stream", bucket)
    if code is None:
        batch(client, *records)
        assert len(list(firehose.accepted())) == len(records)
        return
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        batch(client, *records)
    assert refused.value.response["Error"]["Code"] == code
    assert firehose.puts == []


def test_some_records_of_a_batch_are_rejected(client, firehose, bucket):
    """A 200 all the same, with an error in place of each rejected one."""
    firehose.create("stream", bucket)
    firehose.plan(Fault("partial", rejected=[1]))
    answer = batch(client, b"a", b"b", b"c")
    assert answer["FailedPutCount"] == 1
    codes = [one.get("ErrorCode") for one in answer["RequestResponses"]]
    assert codes == [None, "ServiceUnavailableException", None]
    assert list(firehose.accepted()) == [b"a", b"c"]


@pytest.mark.parametrize(
    ("kind", "error", "accepted"),
    [
        ("throttle", "ServiceUnavailableException", []),
        ("error", "InternalFailure", []),
        ("accepted then error", "InternalFailure", [b"a"]),
    ],
)
def test_answers_that_are_errors(client, firehose, bucket, kind, error, accepted):
    """What was accepted all the same stands in the log as not told."""
    firehose.create("stream", bucket)
    firehose.plan(Fault(kind))
    with pytest.raises(botocore.exceptions.ClientError) as failed:
        batch(client, b"a")
    assert failed.value.response["Error"]["Code"] == error
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert list(firehose.accepted(told=False)) == accepted


@pytest.mark.parametrize(
    ("fault", "error", "accepted"),
    [
        (Fault("reset"), botocore.exceptions.ConnectionClosedError, []),
        (Fault("accepted then reset"), botocore.exceptions.ConnectionClosedError, [b"a"]),
        (Fault("hang", seconds=3), botocore.exceptions.ReadTimeoutError, []),
    ],
)
def test_no_answer_at_all(client, firehose, bucket, fault, error, accepted):
    """The client sees a connection that breaks, or nothing."""
    firehose.create("stream", bucket)
    firehose.plan(fault)
    with pytest.raises(error):
        batch(client, b"a")
    assert list(firehose.accepted(told=False)) == accepted


def test_a_slow_answer_is_an_answer(client, firehose, bucket):
    """Late, and as told as any."""
    firehose.create("stream", bucket)
    firehose.plan(Fault("slow", seconds=0.1))
    assert batch(client, b"a")["FailedPutCount"] == 0
    assert list(firehose.accepted(told=True)) == [b"a"]


def test_an_object_is_delivered_twice(client, firehose, s3, bucket):
    """Under two keys, as at-least-once delivery may do."""
    firehose.create("stream", bucket)
    firehose.delivery.twice = 1
    batch(client, b"a")
    firehose.flush()
    assert list(objects(s3, bucket).values()) == [b"a", b"a"]


def test_a_bucket_that_is_down_gets_everything_later(client, firehose, s3, bucket):
    """Firehose goes on accepting, and tries again."""
    firehose.create("stream", bucket)
    firehose.delivery.down = True
    batch(client, b"a")
    with pytest.raises(RuntimeError, match="takes nothing"):
        firehose.flush(timeout_s=0.3)
    firehose.delivery.down = False
    firehose.flush()
    assert list(objects(s3, bucket).values()) == [b"a"]


def test_errors_that_people_make(client, firehose, bucket):
    """No such stream, a wrong region, a missing permission, an expired token."""

    def code(asked: Any) -> str:
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            asked.describe_delivery_stream(DeliveryStreamName="stream")
        found: str = refused.value.response["Error"]["Code"]
        return found

    assert code(client) == "ResourceNotFoundException"
    firehose.create("stream", bucket)
    assert code(client_of(firehose, "eu-west-1")) == "InvalidSignatureException"
    firehose.denied.add("firehose:DescribeDeliveryStream")
    assert code(client) == "AccessDeniedException"
    firehose.token_error = "ExpiredTokenException"
    assert code(client) == "ExpiredTokenException"
