"""The doctor before S3, SQS and Firehose over the network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run
from support.firehose import Firehose
from support.ministack import Ministack

from mirrorproxy.doctor.aws import failure_of

Doctor = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def doctor(ministack: Ministack, firehose: Firehose, tmp_path: Path) -> Doctor:
    """Run the command; return its status, and level and text of each line that is not ok."""

    def examine(*arguments: str, **environ: str) -> tuple[int, list[str]]:
        result = run(
            ["doctor", "--json", "--spool", str(tmp_path), "--spool-limit", "1MiB", *arguments],
            tmp_path,
            {**ministack.environ(), "AWS_ENDPOINT_URL_FIREHOSE": firehose.url, **environ},
        )
        assert result.stderr == ""
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        return result.returncode, [
            f"{one['level']}: {one['what']}: {one['says']}"
            for one in lines
            if one["level"] != "ok" and not one["what"].startswith("spool")
        ]

    return examine


WELL = {
    "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
    "CloudWatchLoggingOptions": {"Enabled": True},
}


def private(s3: Any, bucket: str) -> str:
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    return bucket


def test_a_good_stream_and_bucket(doctor, firehose, s3, bucket):
    """Status 0, and nothing is left in the bucket."""
    firehose.create("orders", private(s3, bucket), "captures/", **WELL)
    assert doctor("--to", f"firehose://orders?bodies=s3://{bucket}/captures/") == (0, [])
    assert firehose.puts == []
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_compression_and_a_delimiter_are_problems(doctor, firehose, s3, bucket):
    """With packing gzip, each by itself; status 1."""
    firehose.create(
        "packed",
        private(s3, bucket),
        "captures/",
        **WELL,
        CompressionFormat="GZIP",
        ProcessingConfiguration={
            "Enabled": True,
            "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": []}],
        },
    )
    status, said = doctor("--to", f"firehose://packed?bodies=s3://{bucket}/captures/")
    assert status == 1
    assert said == [
        "problem: stream packed: compresses (GZIP) what is compressed already: packing gzip",
        "problem: stream packed: adds a delimiter to every record: gzip members must reach the "
        "bucket as they are",
    ]


def test_a_missing_permission_is_named(doctor, firehose, s3, bucket):
    """Putting is needed, describing is not."""
    firehose.create("closed", private(s3, bucket), "captures/", **WELL)
    firehose.denied = {"firehose:PutRecordBatch", "firehose:DescribeDeliveryStream"}
    status, said = doctor("--to", f"firehose://closed?bodies=s3://{bucket}/captures/")
    assert (status, said) == (
        1,
        [
            "unchecked: stream closed settings: permission denied",
            "problem: stream closed PutRecordBatch: permission denied",
        ],
    )


def test_expired_credentials(doctor, firehose, s3, bucket):
    """Are told as what they are."""
    firehose.create("expired", private(s3, bucket), "captures/", **WELL)
    firehose.token_error = "ExpiredTokenException"
    status, said = doctor("--to", f"firehose://expired?bodies=s3://{bucket}/captures/")
    assert status == 1
    assert said[0].startswith("problem: stream expired: ExpiredTokenException: ")


def test_what_is_not_there(doctor):
    """A stream, a bucket, a queue."""
    to = "firehose://nowhere?bodies=s3://nobodys-bucket/x/"
    assert doctor("--to", to, "sqs://nowhere") == (
        1,
        [
            "problem: stream nowhere: is not there",
            "problem: bucket nobodys-bucket: is not there",
            "problem: queue nowhere: is not there",
        ],
    )


def test_a_queue_with_its_dead_letters(doctor, ministack, s3, bucket):
    """Its settings, what is allowed, and what nobody could replay. No message is touched."""
    sqs = ministack.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    queue = sqs.create_queue(
        QueueName="captures",
        Attributes={
            "RedrivePolicy": json.dumps(
                {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": "5"}
            ),
            "Policy": json.dumps({"Statement": [{"Principal": {"Service": "s3.amazonaws.com"}}]}),
        },
    )["QueueUrl"]
    for url in (queue, dead):
        sqs.send_message(QueueUrl=url, MessageBody="x")
    assert doctor("sqs://captures?visibility=10s", f"s3://{private(s3, bucket)}/orders/") == (
        0,
        [
            "warning: queue captures: workers let go of a message after 10s: a short halt, and "
            "everything in the object is sent twice",
            "warning: dead-letter queue dead: holds 1 messages: objects that nobody could replay",
            f"warning: bucket {bucket} listing: holds nothing below orders/",
        ],
    )
    (message,) = sqs.receive_message(
        QueueUrl=queue, MessageSystemAttributeNames=["ApproximateReceiveCount"]
    )["Messages"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_without_credentials(doctor, bucket):
    """One problem, and nothing more is asked."""
    status, said = doctor(
        "--to",
        f"s3://{bucket}/",
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_CONFIG_FILE=os.devnull,
    )
    assert (status, said) == (1, ["problem: credentials: Unable to locate credentials"])


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", "denied"), ("403", "denied"), ("404", "missing"),
        ("NoSuchBucket", "missing"), ("ExpiredToken", "expired"), ("PermanentRedirect", "region"),
        ("InvalidClientTokenId", "credentials"), ("InvalidArgumentException", "refused"),
        ("SlowDown", "other"),
    ],
)  # fmt: skip
def test_codes_of_errors(code, kind):
    """What each means for whoever asks."""
    failure = failure_of({"Error": {"Code": code, "Message": "two\nlines"}})
    assert (failure.kind, failure.text) == (kind, f"{code}: two lines")
