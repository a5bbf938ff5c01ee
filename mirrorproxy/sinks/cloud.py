"""The AWS sinks with boto3 behind them, and the check that they can be used at all.

Owns which client does what. Imported in the shipper's process and in the check alone.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from mirrorproxy.errors import ConfigError, SinkRejected, SinkUnavailable
from mirrorproxy.sinks.aws import Refused, Service
from mirrorproxy.sinks.firehose import PERMISSION, FirehoseSink, put_records
from mirrorproxy.sinks.records import gzip_member, plain_lines
from mirrorproxy.sinks.s3 import S3Sink, put_object
from mirrorproxy.sinks.targets import FirehoseTarget, S3Target, parse_firehose, parse_s3

_log = logging.getLogger(__name__)

# A body in parts: one at a time is in memory, and a lost connection costs one of them.
_TRANSFER = TransferConfig(
    multipart_threshold=8 << 20, multipart_chunksize=8 << 20, use_threads=False
)


class S3Bucket:
    """A place in a bucket, see `s3.Bucket`. region: where the target names none."""

    def __init__(self, target: S3Target, region: str | None = None) -> None:
        self._target = target
        self._service = Service(
            "s3", f"the bucket {target.bucket}", target.region or region, target.endpoint
        )

    def put(self, key: str, content: io.BytesIO) -> None:
        """Store an object under a key relative to the prefix."""
        at = self._target
        self._service.call(
            "s3:PutObject",
            lambda client: put_object(client, at.bucket, at.prefix + key, content),
        )

    def put_body(self, ref: str, path: Path) -> None:
        """Store the file as the body object ``ref``."""
        at = self._target
        self._service.call(
            "s3:PutObject",
            lambda client: client.upload_file(
                str(path), at.bucket, at.prefix + ref, Config=_TRANSFER
            ),
        )

    def check(self) -> None:
        """Begin an upload and give it up: it takes every permission, and leaves nothing behind.

        Raises Refused, SinkUnavailable.
        """
        at, key = self._target, f"{self._target.prefix}.mirrorproxy-check"
        upload = self._service.call(
            "s3:PutObject",
            lambda client: client.create_multipart_upload(Bucket=at.bucket, Key=key),
        )
        self._service.call(
            "s3:AbortMultipartUpload",
            lambda client: client.abort_multipart_upload(
                Bucket=at.bucket, Key=key, UploadId=upload["UploadId"]
            ),
        )

    def close(self) -> None:
        """Let go of connections."""
        self._service.close()


class Streams:
    """Firehose's side of a target."""

    def __init__(self, target: FirehoseTarget) -> None:
        self._services = {
            stream: Service("firehose", f"the stream {stream}", target.region, None)
            for stream in target.streams
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
    bucket = S3Bucket(parse_s3(to))
    return S3Sink(bucket, stream, roll_bytes=roll_bytes, roll_age_s=roll_age_s)


def make_firehose_sink(to: str) -> FirehoseSink:
    """Return the sink of a ``firehose://`` URL. Raises ConfigError."""
    target = parse_firehose(to)
    bodies = S3Bucket(target.bodies, target.region)
    return FirehoseSink(target.streams, Streams(target).put, bodies, packing=target.packing)


def check(to: str) -> str | None:
    """Make sure that a target can be used; return why it can't be reached just now, or None.

    Raises ConfigError for what people have to mend.
    """
    try:
        if to.startswith("s3://"):
            S3Bucket(parse_s3(to)).check()
            return None
        target = parse_firehose(to)
        pack = gzip_member if target.packing == "gzip" else plain_lines
        Streams(target).check(pack(b"", 0))
        S3Bucket(target.bodies, target.region).check()
    except (Refused, SinkRejected) as error:
        raise ConfigError(str(error), file="--to") from error
    except SinkUnavailable as error:
        return str(error)
    return None
