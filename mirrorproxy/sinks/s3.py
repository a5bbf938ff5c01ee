"""The S3 sink: objects of the same layout as a directory's or Firehose's, by size and age.

Owns the object being made, in memory, and the one being stored. An object keeps its key
over every attempt: an upload whose answer was lost is overwritten by the next, not doubled.
"""

from __future__ import annotations

import io
import random
import time
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from mirrorproxy.errors import SinkRejected, SinkUnavailable
from mirrorproxy.keys import object_key
from mirrorproxy.members import pack as pack_member
from mirrorproxy.packs import Pack, Receipt, Shape, SinkState
from mirrorproxy.retry import RetrySchedule

MAX_OBJECT_BYTES = 32 << 20
"""The most that an object holds, whatever is asked for: two of them lie in memory at most."""

_HURRY_LIMIT_S = 1.0


class Bucket(Protocol):
    """What stores objects. Both raise SinkUnavailable, or SinkRejected."""

    def put(self, key: str, content: io.BytesIO) -> None:
        """Store an object under a key relative to the prefix."""

    def put_body(self, ref: str, path: Path) -> None:
        """Store the file as the body object ``ref``."""

    def close(self) -> None:
        """Let go of connections."""


class S3Sink:
    """Puts objects of lines and body objects into a bucket.

    stream: the first part of object names. roll_bytes, roll_age_s: an object ends when it has so
    many bytes, is so old, or holds so long a stretch of captured time.
    Raises ValueError for a stream that can't be a name.
    """

    def __init__(
        self,
        bucket: Bucket,
        stream: str,
        *,
        roll_bytes: int,
        roll_age_s: float,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
        unique: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        object_key("", stream, 0, "x")
        self.shape = Shape()
        self._bucket = bucket
        self._stream = stream
        self._roll_bytes = min(roll_bytes, MAX_OBJECT_BYTES)
        self._roll_age_s = roll_age_s
        self._schedule = RetrySchedule(jitter)
        self._monotonic = monotonic
        self._unique = unique
        self._object: _Object | None = None
        self._ended: _Object | None = None
        self._error: str | None = None
        self._settled: list[Receipt] = []

    def put_body(self, ref: str, path: Path) -> None:
        """Store a body object, in several parts where it is large."""
        self._bucket.put_body(ref, path)

    def put(self, pack: Pack) -> None:
        """Append the pack as one gzip member to the object being made."""
        try:
            member = pack_member(pack.lines, pack.count)
        except ValueError as error:
            raise SinkRejected(str(error)) from error
        if self._object and abs(pack.at_us - self._object.at_us) >= self._roll_age_s * 1e6:
            # As in a directory: readers merge objects by the time in their key.
            self._end()
        if self._object is None:
            key = object_key("", self._stream, pack.at_us, self._unique())
            self._object = _Object(key, pack.at_us, self._monotonic())
        self._object.content.write(member)
        self._object.numbers.append(pack.number)
        if self._object.content.tell() >= self._roll_bytes:
            self._end()

    def has_room(self) -> bool:
        """Tell whether no object waits to be stored."""
        return self._ended is None

    def poll(self) -> None:
        """End the object if it is old enough, and store what has ended."""
        now = self._monotonic()
        if self._object and now - self._object.began_s >= self._roll_age_s:
            self._end()
        if self._ended and self._schedule.is_due(now):
            self._store()

    def flush(self) -> None:
        """End the object and store it."""
        self._schedule.hurry(self._monotonic(), _HURRY_LIMIT_S)
        self._end()
        self.poll()

    def held(self) -> Collection[int]:
        """Return the packs in objects that are not stored."""
        return [
            number
            for one in (self._ended, self._object)
            if one is not None
            for number in one.numbers
        ]

    def state(self) -> SinkState:
        """Return how storing is."""
        return SinkState(
            self._error, self._schedule.waits_s(self._monotonic()), self._schedule.retries
        )

    def settled(self) -> list[Receipt]:
        """Return the packs whose object is stored."""
        settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Give up what is held."""
        self._bucket.close()

    def _end(self) -> None:
        if self._object and self._ended is None:
            self._ended, self._object = self._object, None
            if self._schedule.is_due(self._monotonic()):
                self._store()

    def _store(self) -> None:
        ended = self._ended
        if ended is None:
            return
        self._schedule.started()
        refused = None
        try:
            self._bucket.put(ended.key, ended.content)
        except SinkUnavailable as error:
            self._error = str(error)
            self._schedule.failed(self._monotonic())
            return
        except SinkRejected as error:
            refused = str(error)
        self._error = None
        self._schedule.succeeded()
        self._settled += [Receipt(number, refused) for number in ended.numbers]
        self._ended = None


class _Object:
    """An object being made."""

    def __init__(self, key: str, at_us: int, now_s: float) -> None:
        self.key = key
        self.at_us = at_us
        self.began_s = now_s
        self.content = io.BytesIO()
        self.numbers: list[int] = []


def put_object(client: Any, bucket: str, key: str, content: io.BytesIO) -> None:
    """Store an object by boto3's client."""
    content.seek(0)
    client.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/gzip")
