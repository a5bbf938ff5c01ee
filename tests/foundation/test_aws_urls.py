"""URLs of buckets, streams and queues: one spelling for capture, replay and doctor."""

from __future__ import annotations

import pytest

from mirrorproxy.aws_urls import (
    BucketUrl,
    QueueUrl,
    StreamsUrl,
    bodies_of,
    parse_bucket,
    parse_queue,
    parse_streams,
)
from mirrorproxy.doctor.places import parse_place
from mirrorproxy.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "url", "folder"),
    [
        ("s3://bucket", BucketUrl("bucket"), ""),
        ("s3://bucket/", BucketUrl("bucket"), ""),
        ("s3://my.bucket-1/a/b/", BucketUrl("my.bucket-1", "a/b/"), "a/b/"),
        ("s3://bucket/p/q", BucketUrl("bucket", "p/q"), "p/q/"),
        ("s3://bucket/a%20b", BucketUrl("bucket", "a b"), "a b/"),
        ("s3://Legacy_Bucket/p", BucketUrl("Legacy_Bucket", "p"), "p/"),
        ("s3://bucket/p?region=eu-central-1&endpoint=http://127.0.0.1:9000",
         BucketUrl("bucket", "p", "eu-central-1", "http://127.0.0.1:9000"), "p/"),
    ],
)  # fmt: skip
def test_a_bucket(text, url, folder):
    """The prefix as it is written, and as a folder to write into."""
    assert parse_bucket(text, "--to") == url
    assert url.folder == folder


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("firehose://a", StreamsUrl(("a",))),
        ("firehose://orders?bodies=s3://bucket/mirror",
         StreamsUrl(("orders",), BucketUrl("bucket", "mirror"))),
        ("firehose://a,b,c?bodies=s3://bucket&packing=plain&region=us-east-1",
         StreamsUrl(("a", "b", "c"), BucketUrl("bucket", "", "us-east-1"), "plain", "us-east-1")),
        ("firehose://a?bodies=s3://bucket/p?region=eu-west-1",
         StreamsUrl(("a",), BucketUrl("bucket", "p", "eu-west-1"))),
    ],
)  # fmt: skip
def test_streams(text, url):
    """The bucket is in their region unless it says otherwise."""
    assert parse_streams(text, "--to") == url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("sqs://captures", QueueUrl("captures")),
        ("sqs://captures.fifo?visibility=2m&region=eu-west-1",
         QueueUrl("captures.fifo", None, "eu-west-1", 120.0)),
        ("sqs://sqs.eu-west-1.amazonaws.com/123456789012/captures",
         QueueUrl("captures", "https://sqs.eu-west-1.amazonaws.com/123456789012/captures",
                  "eu-west-1")),
        ("sqs://queues.example.com/1/captures",
         QueueUrl("captures", "https://queues.example.com/1/captures")),
    ],
)  # fmt: skip
def test_a_queue(text, url):
    """By its name, or by its own URL, which may tell the region."""
    assert parse_queue(text, "SOURCE") == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("s3://", "expected s3://BUCKET/PREFIX"),
        ("s3:///prefix", "expected s3://BUCKET/PREFIX"),
        ("s3://[x", "no URL"),
        ("s3://bucket/p#f", "expected s3://"),
        ("s3://bucket?endpoint=localhost", "endpoint: expected a URL"),
        ("s3://bucket?region=", "region is given once, with a value"),
        ("s3://bucket?region=nowhere!", "region: expected a name such as"),
        ("s3://bucket?prefix=x", "s3:// has no option prefix; known: endpoint, region"),
        ("firehose://?bodies=s3://bucket/p", "expected firehose://STREAM"),
        ("firehose://a/b?bodies=s3://bucket/p", "expected firehose://STREAM"),
        ("firehose://a,,b?bodies=s3://bucket/p", "expected firehose://STREAM"),
        ("firehose://a b", "expected firehose://STREAM"),
        ("firehose://a,a?bodies=s3://bucket/p", "a stream is named twice"),
        ("firehose://a?bodies=/tmp/x", "expected s3://"),
        ("firehose://a?bodies=s3://bucket&packing=zstd", "packing: expected gzip or plain"),
        ("firehose://a?bodies=s3://bucket&bodies=s3://bucket", "bodies is given once"),
        ("sqs://", "expected sqs://QUEUE"),
        ("sqs://a b", "expected sqs://QUEUE"),
        ("sqs://h/a b", "expected sqs://QUEUE"),
        ("sqs://user@host/1/captures", "expected sqs://QUEUE"),
        ("sqs://q?visibility=soon", "visibility: "),
        ("sqs://q?visibility=13h", "visibility: from 1s to 12h"),
        ("sqs://q?wait=1s", "sqs:// has no option wait; known: region, visibility"),
        ("ftp://x", "ftp:// is not known"),
    ],
)
def test_what_names_nothing(text, reason):
    """One line, that begins with the option."""
    with pytest.raises(ConfigError, match=f"^--to: .*{reason}"):
        parse_place(text, "--to")


@pytest.mark.parametrize("text", ["./capture", "-", "capture.jsonl.gz"])
def test_a_path_is_no_place_in_aws(text):
    """Nothing is made of it."""
    assert parse_place(text, "SOURCE") is None


def test_large_bodies_need_a_bucket():
    """Firehose would not say where they are."""
    with pytest.raises(ConfigError, match="say where large bodies go"):
        bodies_of(parse_streams("firehose://a", "--to"), "--to")
