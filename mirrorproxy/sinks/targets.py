"""The URLs of ``--to`` that name AWS: which bucket, which streams, how packed.

Pure: text in, values out. Nothing is asked of AWS here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from mirrorproxy.errors import ConfigError

Packing = Literal["gzip", "plain"]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")


@dataclass(frozen=True)
class S3Target:
    """A place in a bucket. prefix: empty, or ends with "/". region, endpoint: None for AWS's own
    defaults (environment, profile).
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True)
class FirehoseTarget:
    """Streams, and where body objects go: what stands before the hour folders of the streams'
    own objects.
    """

    streams: tuple[str, ...]
    bodies: S3Target
    packing: Packing = "gzip"
    region: str | None = None


def parse_s3(url: str) -> S3Target:
    """Return what ``s3://BUCKET/PREFIX[?region=&endpoint=]`` names. Raises ConfigError."""
    parts = urlsplit(url)
    options = _options(parts.query, {"region", "endpoint"}, "s3://")
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc):
        raise ConfigError("not a bucket: s3://BUCKET/PREFIX", file="--to")
    prefix = unquote(parts.path).strip("/")
    endpoint = options.get("endpoint")
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise ConfigError("endpoint is a URL with http:// or https://", file="--to")
    return S3Target(parts.netloc, f"{prefix}/" if prefix else "", options.get("region"), endpoint)


def parse_firehose(url: str) -> FirehoseTarget:
    """Return what ``firehose://STREAM[,STREAM...]?bodies=s3://BUCKET/PREFIX[&region=&packing=]``
    names. Raises ConfigError.
    """
    parts = urlsplit(url)
    options = _options(parts.query, {"bodies", "region", "packing"}, "firehose://")
    streams = tuple(parts.netloc.split(","))
    if parts.path.strip("/") or not all(map(_STREAM.fullmatch, streams)):
        raise ConfigError(
            "not a stream: firehose://STREAM[,STREAM...]?bodies=s3://BUCKET/PREFIX", file="--to"
        )
    if len(set(streams)) < len(streams):
        raise ConfigError("a stream is named twice", file="--to")
    if "bodies" not in options:
        raise ConfigError(
            "say where large bodies go, beside the stream's own objects: ?bodies=s3://BUCKET/PREFIX",
            file="--to",
        )
    packing = options.get("packing", "gzip")
    if packing not in {"gzip", "plain"}:
        raise ConfigError("packing is gzip or plain", file="--to")
    return FirehoseTarget(
        streams,
        parse_s3(options["bodies"]),
        "gzip" if packing == "gzip" else "plain",
        options.get("region"),
    )


def _options(query: str, known: set[str], scheme: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise ConfigError(
                f"{scheme} has no option {key}; known: {', '.join(sorted(known))}", file="--to"
            )
        if key in found or not value:
            raise ConfigError(f"{key} is given once, with a value", file="--to")
        found[key] = value
    if (region := found.get("region")) and not _REGION.fullmatch(region):
        raise ConfigError("a region is a name such as eu-central-1", file="--to")
    return found
