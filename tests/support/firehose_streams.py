"""The streams of a Firehose endpoint: records buffered by size and age, delivered as objects.

Owns buffers, object keys and delivery; no HTTP. What emulators leave out is here: the
buffering hints, compression, prefixes with ``!{timestamp:...}``, objects that are delivered
twice, and a bucket that takes nothing for a while.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

Store = Callable[[str, str, bytes], None]
"""Puts an object into a bucket: bucket, key, content. Any exception is a bucket that is down."""

ACCOUNT = "000000000000"
_TICK_S = 0.02
_RETRY_S = 0.1
_EXPRESSION = re.compile(r"!\{([a-z]+):([^}]*)\}")
# Java's patterns of time, as far as a prefix uses them.
_TIMES = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


class Delivered(NamedTuple):
    """An object that was stored."""

    bucket: str
    key: str
    records: int


@dataclass
class Delivery:
    """Disturbs delivery. down: the bucket takes nothing. twice: so many objects are doubled."""

    down: bool = False
    twice: int = 0


@dataclass
class _Buffer:
    at: datetime
    began_s: float
    records: list[bytes] = field(default_factory=list)
    size: int = 0


class Stream:
    """One stream. described: the ExtendedS3DestinationConfiguration it was made with.

    buffer_bytes, buffer_age_s: instead of the hints, which are in MiB and seconds.
    """

    def __init__(
        self,
        name: str,
        region: str,
        described: Mapping[str, Any],
        store: Store,
        delivery: Delivery,
        *,
        buffer_bytes: int | None = None,
        buffer_age_s: float | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self.described = dict(described)
        self.arn = f"arn:aws:firehose:{region}:{ACCOUNT}:deliverystream/{name}"
        self.bucket = str(described["BucketARN"]).removeprefix("arn:aws:s3:::")
        hints = described.get("BufferingHints", {})
        self._buffer_bytes = buffer_bytes or hints.get("SizeInMBs", 5) << 20
        self._buffer_age_s = (
            buffer_age_s if buffer_age_s is not None else hints.get("IntervalInSeconds", 300)
        )
        self._store = store
        self._delivery = delivery
        self._now = now
        self._buffer: _Buffer | None = None
        self._full: list[_Buffer] = []
        self.delivered: list[Delivered] = []

    @property
    def is_empty(self) -> bool:
        """Whether everything accepted has been delivered."""
        return self._buffer is None and not self._full

    def add(self, record: bytes) -> None:
        """Accept a record."""
        record += self._delimiter()
        if self._buffer and self._buffer.size + len(record) > self._buffer_bytes:
            self.end()
        if self._buffer is None:
            self._buffer = _Buffer(self._now(), time.monotonic())
        self._buffer.records.append(record)
        self._buffer.size += len(record)

    def end(self) -> None:
        """End the buffer, whatever is in it: it is delivered next."""
        if self._buffer:
            self._full.append(self._buffer)
            self._buffer = None

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            if self._buffer and time.monotonic() - self._buffer.began_s >= self._buffer_age_s:
                self.end()
            if not self._full:
                await asyncio.sleep(_TICK_S)
                continue
            try:
                await self._deliver(self._full[0])
                del self._full[0]
            except Exception:
                await asyncio.sleep(_RETRY_S)

    async def _deliver(self, buffer: _Buffer) -> None:
        if self._delivery.down:
            raise OSError("the bucket is down")
        content = b"".join(buffer.records)
        if self.described.get("CompressionFormat") == "GZIP":
            content = gzip.compress(content, 1)
        await self._put(buffer, content)
        if self._delivery.twice:
            self._delivery.twice -= 1
            await self._put(buffer, content)

    async def _put(self, buffer: _Buffer, content: bytes) -> None:
        key = object_key(self.described, self.name, buffer.at)
        await asyncio.to_thread(self._store, self.bucket, key, content)
        self.delivered.append(Delivered(self.bucket, key, len(buffer.records)))

    def _delimiter(self) -> bytes:
        processing = self.described.get("ProcessingConfiguration", {})
        kinds = [one["Type"] for one in processing.get("Processors", ())]
        return b"\n" if processing.get("Enabled") and "AppendDelimiterToRecord" in kinds else b""


def object_key(described: Mapping[str, Any], stream: str, at: datetime) -> str:
    """Return the key of an object whose oldest record arrived at a time.

    A prefix that names no time gets ``YYYY/MM/DD/HH/`` after it (Firehose developer guide,
    "Custom prefixes for Amazon S3 objects").
    """
    prefix = str(described.get("Prefix", ""))
    if "!{timestamp:" not in prefix:
        prefix += "!{timestamp:yyyy/MM/dd/HH/}"
    compressed = described.get("CompressionFormat", "UNCOMPRESSED") == "GZIP"
    extension = described.get("FileExtension") or (".gz" if compressed else "")
    name = f"{stream}-1-{at:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}"
    return _EXPRESSION.sub(lambda found: _evaluated(found, at), prefix) + name + extension


def _evaluated(found: re.Match[str], at: datetime) -> str:
    space, text = found.groups()
    if space == "timestamp":
        for java, python in _TIMES.items():
            text = text.replace(java, python)
        return at.strftime(text)
    if (space, text) == ("firehose", "random-string"):
        return uuid.uuid4().hex[:11]
    return ""
