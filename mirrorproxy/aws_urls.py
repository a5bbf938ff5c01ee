"""URLs of what lies in AWS: a bucket, streams, a queue. One spelling for all who read or write.

Pure: text in, values out. Nothing is asked of AWS here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from mirrorproxy.errors import ConfigError
from mirrorproxy.units import parse_duration

Packing = Literal["gzip", "plain"]

VISIBILITY_S = 60.0
"""How long a message stays with a worker that says nothing more of it, unless the URL says so."""

S3, SQS, FIREHOSE = "s3://", "sqs://", "firehose://"

# Of old ones too: until 2018 names could be longer, with capitals and underscores.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # Firehose API reference, DeliveryStreamName
_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}(?:\.fifo)?")  # SQS API reference, CreateQueue
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")
_QUEUE_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.[a-z0-9.-]+")


class BucketUrl(NamedTuple):
    """``s3://BUCKET/PREFIX``. prefix: as it is written, without a slash before it.

    region, endpoint: None for AWS's own defaults (environment, profile).
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None

    @property
    def folder(self) -> str:
        """The prefix for what is written there: "", or it ends with a slash."""
        folder = self.prefix.strip("/")
        return f"{folder}/" if folder else ""


class StreamsUrl(NamedTuple):
    """``firehose://STREAM[,STREAM...]``, and where large bodies go: what stands before the hour
    folders of the streams' own objects. bodies: None if it is not said.
    """

    streams: tuple[str, ...]
    bodies: BucketUrl | None = None
    packing: Packing = "gzip"
    region: str | None = None


class QueueUrl(NamedTuple):
    """``sqs://QUEUE``, or the queue's own URL with sqs in place of https.

    address: the queue's own URL, if that was given. visibility_s: from 1 second to 12 hours.
    """

    name: str
    address: str | None = None
    region: str | None = None
    visibility_s: float = VISIBILITY_S


def parse_bucket(url: str, at: str) -> BucketUrl:
    """Return what ``s3://BUCKET/PREFIX[?region=&endpoint=]`` names.

    at: the option or file that says so, for errors. Raises ConfigError.
    """
    parts, options = _parts(url, "s3", ("endpoint", "region"), at)
    if not _BUCKET.fullmatch(parts.netloc):
        raise ConfigError("expected s3://BUCKET/PREFIX", file=at)
    endpoint = options.get("endpoint")
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise ConfigError("endpoint: expected a URL with http:// or https://", file=at)
    prefix = unquote(parts.path.removeprefix("/"))
    return BucketUrl(parts.netloc, prefix, options.get("region"), endpoint)


def parse_streams(url: str, at: str) -> StreamsUrl:
    """Return what ``firehose://STREAM[,STREAM...][?bodies=s3://BUCKET/PREFIX&region=&packing=]``
    names. The bucket is in the region of the streams unless it says otherwise. Raises ConfigError.
    """
    parts, options = _parts(url, "firehose", ("bodies", "packing", "region"), at)
    streams = tuple(parts.netloc.split(","))
    if parts.path.strip("/") or not all(map(_STREAM.fullmatch, streams)):
        raise ConfigError(
            "expected firehose://STREAM[,STREAM...]?bodies=s3://BUCKET/PREFIX", file=at
        )
    if len(set(streams)) < len(streams):
        raise ConfigError("a stream is named twice", file=at)
    packing = options.get("packing", "gzip")
    if packing not in ("gzip", "plain"):
        raise ConfigError("packing: expected gzip or plain", file=at)
    region, bodies = options.get("region"), None
    if "bodies" in options:
        bodies = parse_bucket(options["bodies"], at)
        bodies = bodies._replace(region=bodies.region or region)
    return StreamsUrl(streams, bodies, "gzip" if packing == "gzip" else "plain", region)


def bodies_of(streams: StreamsUrl, at: str) -> BucketUrl:
    """Return where the large bodies go that are put into streams. Raises ConfigError."""
    if streams.bodies is None:
        raise ConfigError(
            "say where large bodies go, beside the stream's own objects: ?bodies=s3://BUCKET/PREFIX",
            file=at,
        )
    return streams.bodies


def parse_queue(url: str, at: str) -> QueueUrl:
    """Return what ``sqs://QUEUE`` or ``sqs://HOST/ACCOUNT/QUEUE`` names, with ``?region=`` and
    ``&visibility=``. Raises ConfigError.
    """
    expected = "expected sqs://QUEUE, or the queue's URL with sqs:// for https://"
    parts, options = _parts(url, "sqs", ("region", "visibility"), at)
    path = parts.path.rstrip("/")
    name = path.rpartition("/")[2] if path else parts.netloc
    if "@" in parts.netloc or not _QUEUE.fullmatch(name):
        raise ConfigError(expected, file=at)
    try:
        visibility_s = parse_duration(options.get("visibility", VISIBILITY_S))
    except ValueError as error:
        raise ConfigError(f"visibility: {error}", file=at) from error
    if not 1 <= visibility_s <= 43_200:  # SQS API reference, ChangeMessageVisibility
        raise ConfigError("visibility: from 1s to 12h", file=at)
    if not path:
        return QueueUrl(name, None, options.get("region"), visibility_s)
    found = _QUEUE_HOST.fullmatch(parts.netloc)
    region = options.get("region") or (found[1] if found else None)
    return QueueUrl(name, f"https://{parts.netloc}{path}", region, visibility_s)


def _parts(
    url: str, scheme: str, known: tuple[str, ...], at: str
) -> tuple[SplitResult, Mapping[str, str]]:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"no URL: {error}", file=at) from error
    if parts.scheme != scheme or parts.fragment:
        raise ConfigError(f"expected {scheme}://...", file=at)
    options: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in known:
            raise ConfigError(
                f"{scheme}:// has no option {key}; known: {', '.join(known)}", file=at
            )
        if key in options or not value:
            raise ConfigError(f"{key} is given once, with a value", file=at)
        options[key] = value
    if (region := options.get("region")) and not _REGION.fullmatch(region):
        raise ConfigError("region: expected a name such as eu-central-1", file=at)
    return parts, options
