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
    """``sqs://QUEUE``, or ``https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE``, then with url."""

    name: str
    url: str | None = None
    region: str | None = None


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
        return _queue(parts.netloc + parts.path.rstrip("/"), region, option)
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


def _queue(name: str, region: str | None, option: str) -> QueuePlace:
    host, _, path = name.partition("/")
    if path:  # a queue's own URL, with sqs in place of https
        found = re.fullmatch(r"sqs\.([a-z0-9-]+)\.[a-z0-9.-]+", host)
        queue = path.rpartition("/")[2]
        if _QUEUE.fullmatch(queue):
            return QueuePlace(
                name=queue, url=f"https://{name}", region=region or (found[1] if found else None)
            )
    elif _QUEUE.fullmatch(name):
        return QueuePlace(name=name, region=region)
    raise ConfigError("expected sqs://QUEUE", file=option)
