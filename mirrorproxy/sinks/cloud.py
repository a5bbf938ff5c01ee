"""The AWS sinks with boto3 behind them, and the check that they can be used at all.

Owns which client does what. Imported in the shipper's process and in the check alone.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from mirrorproxy.aws_urls import S3, BucketUrl, StreamsUrl, bodies_of, parse_bucket, parse_streams
from mirrorproxy.errors import ConfigError, SinkRejected, SinkUnavailable
from mirrorproxy.sinks.aws import Refused, Service
from mirrorproxy.sinks.firehose import PERMISSION, FirehoseSink, put_records
from mirrorproxy.sinks.records import gzip_member, plain_lines
from mirrorproxy.sinks.s3 import S3Sink, put_object

_log = logging.getLogger(__name__)

_TO = "--to"

# A body in parts: one at a time is in memory, and a lost connection costs one of them.
_TRANSFER = TransferConfig(
    multipart_threshold=8 << 20, multipart_chunksize=8 << 20, use_threads=False
)


class S3Bucket:
    """A place in a bucket, see `s3.Bucket`."""

    def __init__(self, url: BucketUrl) -> None:
        self._bucket = url.bucket
        self._folder = url.folder
        self._service = Service("s3", f"the bucket {url.bucket}", url.region, url.endpoint)

    def put(self, key: str, content: io.BytesIO) -> None:
        """Store an object under a key relative to the prefix."""
        self._service.call(
            "s3:PutObject",
            lambda client: put_object(client, self._bucket, self._folder + key, content),
        )

    def put_body(self, ref: str, path: Path) -> None:
        """Store the file as the body object ``ref``."""
        self._service.call(
            "s3:PutObject",
            lambda client: client.upload_file(
                str(path), self._bucket, self._folder + ref, Config=_TRANSFER
            ),
        )

    def check(self) -> None:
        """Begin an upload and give it up: it takes every permission, and leaves nothing behind.

        Raises Refused, SinkUnavailable.
        """
        bucket, key = self._bucket, f"{self._folder}.mirrorproxy-check"
        upload = self._service.call(
            "s3:PutObject",
            lambda client: client.create_multipart_upload(Bucket=bucket, Key=key),
        )
        self._service.call(
            "s3:AbortMultipartUpload",
            lambda client: client.abort_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload["UploadId"]
            ),
        )

    def close(self) -> None:
        """Let go of connections."""
        self._service.close()


class Streams:
    """The streams of a URL."""

    def __init__(self, url: StreamsUrl) -> None:
        self._services = {
            stream: Service("firehose", f"the stream {stream}", url.region, None)
            for stream in url.streams
        }

    def put(self, stream: str, records: Sequence[bytes]) -> list[str | None]:
        """Put a batch, see `firehose.PutRecords`."""
        return self._services[stream].call(
            PERMISSION, lambda client: put_records(client, stream, records)
        )

    def check(self, empty: bytes) -> None:
        """Put a record without lines into every stream: nothing else tells whether it may be put.

        Raises Refused, SinkUnavailable.
        """
        for stream in self._services:
            self.put(stream, [empty])


def make_s3_sink(to: str, stream: str, roll_bytes: int, roll_age_s: float) -> S3Sink:
    """Return the sink of an ``s3://`` URL. Raises ConfigError."""
    bucket = S3Bucket(parse_bucket(to, _TO))
    return S3Sink(bucket, stream, roll_bytes=roll_bytes, roll_age_s=roll_age_s)


def make_firehose_sink(to: str) -> FirehoseSink:
    """Return the sink of a ``firehose://`` URL. Raises ConfigError."""
    url = parse_streams(to, _TO)
    bodies = S3Bucket(bodies_of(url, _TO))
    return FirehoseSink(url.streams, Streams(url).put, bodies, packing=url.packing)


def check(to: str) -> str | None:
    """Make sure that a target can be used; return why it can't be reached just now, or None.

    Raises ConfigError for what people have to mend.
    """
    try:
        if to.startswith(S3):
            S3Bucket(parse_bucket(to, _TO)).check()
            return None
        url = parse_streams(to, _TO)
        pack = gzip_member if url.packing == "gzip" else plain_lines
        Streams(url).check(pack(b"", 0))
        S3Bucket(bodies_of(url, _TO)).check()
    except (Refused, SinkRejected) as error:
        raise ConfigError(str(error), file=_TO) from error
    except SinkUnavailable as error:
        return str(error)
    return None
