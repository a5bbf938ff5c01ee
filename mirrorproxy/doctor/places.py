"""Places: the URLs of streams, buckets and queues, taken apart.

Pure. Raises ConfigError for what cannot be meant; whether it is there is found out later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from mirrorproxy.errors import ConfigError
from mirrorproxy.units import parse_duration

Packing = Literal["gzip", "plain"]

_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # Firehose API reference, DeliveryStreamName
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,75}(?:\.fifo)?")  # SQS API reference, CreateQueue
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]+")


class BucketPlace(msgspec.Struct, frozen=True, kw_only=True):
    """``s3://BUCKET/PREFIX``. prefix: "" or ends with "/". endpoint: None for AWS's own."""

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None


class StreamPlace(msgspec.Struct, frozen=True, kw_only=True):
    """``firehose://STREAM[,STREAM...]?bodies=s3://...&packing=...``; bodies: None if unsaid."""

    names: tuple[str, ...]
    packing: Packing = "gzip"
    bodies: BucketPlace | None = None
    region: str | None = None


class QueuePlace(msgspec.Struct, frozen=True, kw_only=True):
    """``sqs://QUEUE``, or a queue's own URL with sqs in place of https, then with url.

    visibility_s: how long a message stays with a worker that says nothing more of it.
    """

    name: str
    url: str | None = None
    region: str | None = None
    visibility_s: float = 60.0


Place = BucketPlace | StreamPlace | QueuePlace


def parse_place(text: str, option: str) -> Place | None:
    """Return what a URL names; None for what has no scheme: a directory, a file or "-".

    option: for errors. Raises ConfigError.
    """
    if "://" not in text:
        return None
    try:
        parts = urlsplit(text)
        values = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise ConfigError(f"no URL: {error}", file=option) from None
    region = values.get("region")
    if region is not None and not _REGION.fullmatch(region):
        raise ConfigError("region: expected a name such as eu-central-1", file=option)
    if parts.scheme == "firehose":
        return _stream(parts.netloc, values, region, option)
    if parts.scheme == "s3":
        return _bucket(parts.netloc, parts.path, values, option)
    if parts.scheme == "sqs":
        return _queue(parts.netloc + parts.path.rstrip("/"), values, option)
    raise ConfigError(
        f"{parts.scheme}:// is not known; firehose://, s3:// and sqs:// are", file=option
    )


def _stream(names: str, values: Mapping[str, str], region: str | None, option: str) -> StreamPlace:
    streams = tuple(names.split(","))
    if not all(_STREAM.fullmatch(name) for name in streams):
        raise ConfigError("expected firehose://STREAM, or several with commas", file=option)
    packing = values.get("packing", "gzip")
    if packing not in ("gzip", "plain"):
        raise ConfigError("packing: expected gzip or plain", file=option)
    bodies = None
    if "bodies" in values:
        named = parse_place(values["bodies"], option)
        if not isinstance(named, BucketPlace):
            raise ConfigError("bodies: expected s3://BUCKET/PREFIX", file=option)
        bodies = msgspec.structs.replace(named, region=named.region or region)
    return StreamPlace(
        names=streams,
        packing="gzip" if packing == "gzip" else "plain",
        bodies=bodies,
        region=region,
    )


def _bucket(bucket: str, path: str, values: Mapping[str, str], option: str) -> BucketPlace:
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError("expected s3://BUCKET/PREFIX", file=option)
    prefix = path.lstrip("/")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return BucketPlace(
        bucket=bucket,
        prefix=prefix,
        region=values.get("region"),
        endpoint=values.get("endpoint"),
    )


def _queue(name: str, values: Mapping[str, str], option: str) -> QueuePlace:
    region = values.get("region")
    try:
        visibility_s = parse_duration(values.get("visibility", QueuePlace(name="").visibility_s))
    except ValueError as error:
        raise ConfigError(f"visibility: {error}", file=option) from None
    host, _, path = name.partition("/")
    queue = path.rpartition("/")[2] if path else name
    if not _QUEUE.fullmatch(queue):
        raise ConfigError("expected sqs://QUEUE", file=option)
    url = None
    if path:
        url = f"https://{name}"
        found = re.fullmatch(r"sqs\.([a-z0-9-]+)\.[a-z0-9.-]+", host)
        region = region or (found[1] if found else None)
    return QueuePlace(name=queue, url=url, region=region, visibility_s=visibility_s)
