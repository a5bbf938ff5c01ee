"""Places: what a URL names, a bucket, streams or a queue; the rest is a directory or a file."""

from __future__ import annotations

from mirrorproxy.aws_urls import (
    FIREHOSE,
    S3,
    SQS,
    BucketUrl,
    QueueUrl,
    StreamsUrl,
    parse_bucket,
    parse_queue,
    parse_streams,
)
from mirrorproxy.errors import ConfigError

Place = BucketUrl | StreamsUrl | QueueUrl


def parse_place(text: str, option: str) -> Place | None:
    """Return what a URL names; None for what has no scheme: a directory, a file or "-".

    option: for errors. Raises ConfigError.
    """
    scheme, separator, _ = text.partition("://")
    if not separator:
        return None
    match f"{scheme}://":
        case "firehose://":
            return parse_streams(text, option)
        case "s3://":
            return parse_bucket(text, option)
        case "sqs://":
            return parse_queue(text, option)
    raise ConfigError(f"{scheme}:// is not known; {FIREHOSE}, {S3} and {SQS} are", file=option)
