"""The URLs of --to: what they mean, and what is wrong with others."""

from __future__ import annotations

import pytest

from mirrorproxy.errors import ConfigError
from mirrorproxy.sinks.targets import FirehoseTarget, S3Target, parse_firehose, parse_s3


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("s3://bucket", S3Target("bucket")),
        ("s3://bucket/", S3Target("bucket")),
        ("s3://my.bucket-1/a/b/", S3Target("my.bucket-1", "a/b/")),
        ("s3://bucket/a%20b", S3Target("bucket", "a b/")),
        ("s3://bucket/p?region=eu-central-1&endpoint=http://127.0.0.1:9000",
         S3Target("bucket", "p/", "eu-central-1", "http://127.0.0.1:9000")),
    ],
)  # fmt: skip
def test_a_place_in_a_bucket(url, target):
    """A prefix is empty or ends with a slash."""
    assert parse_s3(url) == target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("firehose://orders?bodies=s3://bucket/mirror",
         FirehoseTarget(("orders",), S3Target("bucket", "mirror/"))),
        ("firehose://a,b,c?bodies=s3://bucket&packing=plain&region=us-east-1",
         FirehoseTarget(("a", "b", "c"), S3Target("bucket"), "plain", "us-east-1")),
        ("firehose://a?bodies=s3%3A%2F%2Fbucket%2Fp%3Fregion%3Deu-west-1",
         FirehoseTarget(("a",), S3Target("bucket", "p/", "eu-west-1"))),
    ],
)  # fmt: skip
def test_streams(url, target):
    """Their names keep their case."""
    assert parse_firehose(url) == target


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("firehose://?bodies=s3://bucket/p", "not a stream"),
        ("firehose://a/b?bodies=s3://bucket/p", "not a stream"),
        ("firehose://a,,b?bodies=s3://bucket/p", "not a stream"),
        ("firehose://a,a?bodies=s3://bucket/p", "a stream is named twice"),
        ("firehose://a", "say where large bodies go"),
        ("firehose://a?bodies=/tmp/x", "not a bucket"),
        ("firehose://a?bodies=s3://bucket&packing=zstd", "packing is gzip or plain"),
        ("firehose://a?bodies=s3://bucket&region=Frankfurt", "a region is a name such as"),
        ("firehose://a?bodies=s3://bucket&bodies=s3://bucket", "bodies is given once"),
    ],
)
def test_what_is_wrong_with_a_stream(url, reason):
    """Before anything is asked of AWS."""
    with pytest.raises(ConfigError, match=reason):
        parse_firehose(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://", "not a bucket"),
        ("s3:///prefix", "not a bucket"),
        ("s3://Upper/p", "not a bucket"),
        ("s3://bucket?endpoint=localhost", "endpoint is a URL"),
        ("s3://bucket?region=", "region is given once, with a value"),
        ("s3://bucket?prefix=x", "s3:// has no option prefix; known: endpoint, region"),
    ],
)
def test_what_is_wrong_with_a_bucket(url, reason):
    """One line each."""
    with pytest.raises(ConfigError, match=reason):
        parse_s3(url)
