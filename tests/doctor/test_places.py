"""URLs of streams, buckets and queues."""

from __future__ import annotations

import pytest

from mirrorproxy.doctor.places import BucketPlace, QueuePlace, StreamPlace, parse_place
from mirrorproxy.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param("./capture", None, id="a directory"),
        pytest.param("-", None, id="standard input"),
        pytest.param(
            "firehose://a,b?bodies=s3://captures/p&region=eu-west-1&packing=plain",
            StreamPlace(
                names=("a", "b"),
                packing="plain",
                region="eu-west-1",
                bodies=BucketPlace(bucket="captures", prefix="p/", region="eu-west-1"),
            ),
            id="streams",
        ),
        pytest.param("firehose://a", StreamPlace(names=("a",)), id="a stream alone"),
        pytest.param(
            "s3://captures?endpoint=http://127.0.0.1:9000",
            BucketPlace(bucket="captures", endpoint="http://127.0.0.1:9000"),
            id="a bucket at an address of its own",
        ),
        pytest.param("s3://captures/a/b/", BucketPlace(bucket="captures", prefix="a/b/"), id="s3"),
        pytest.param("sqs://captures", QueuePlace(name="captures"), id="a queue"),
        pytest.param(
            "sqs://captures?visibility=2m&region=eu-west-1",
            QueuePlace(name="captures", region="eu-west-1", visibility_s=120.0),
            id="a queue with options",
        ),
        pytest.param(
            "sqs://sqs.eu-west-1.amazonaws.com/123456789012/captures",
            QueuePlace(
                name="captures",
                url="https://sqs.eu-west-1.amazonaws.com/123456789012/captures",
                region="eu-west-1",
            ),
            id="a queue's own URL",
        ),
    ],
)
def test_places(text, place):
    """As capture and replay take them."""
    assert parse_place(text, "--to") == place


@pytest.mark.parametrize(
    "text",
    [
        "ftp://x", "s3://", "s3://UPPER/x", "firehose://a b", "firehose://?bodies=s3://captures",
        "firehose://a?packing=zip", "firehose://a?bodies=./x", "sqs://", "sqs://a b", "sqs://h/a b",
        "s3://captures?region=nowhere!", "s3://[x", "sqs://q?visibility=soon",
    ],
)  # fmt: skip
def test_what_names_nothing(text):
    """A mistake in one line that names the option."""
    with pytest.raises(ConfigError, match=r"^--to: "):
        parse_place(text, "--to")
