"""Notices: messages that say which objects were written to S3.

Pure. Owns the shapes of S3's event notifications: direct, through SNS (wrapped
or raw) and through EventBridge. Messages are hostile: a shape that is not known
is refused, never guessed at.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_plus

import msgspec

from mirrorproxy.keys import BODIES

_TEST_EVENT = "s3:TestEvent"
_CREATED = "ObjectCreated:"
_MAX_DEPTH = 4


class Written(NamedTuple):
    """An object that was written. version: of a versioned bucket, else None."""

    bucket: str
    key: str
    version: str | None


class UnknownNotice(ValueError):
    """A message that is no notice; its text says why, with nothing of the message."""


class _Bucket(msgspec.Struct):
    name: str


class _Object(msgspec.Struct):
    key: str
    version: str | None = msgspec.field(default=None, name="versionId")


class _S3(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _Record(msgspec.Struct):
    event: str = msgspec.field(name="eventName")
    s3: _S3


class _BridgeObject(msgspec.Struct):
    key: str
    version: str | None = msgspec.field(default=None, name="version-id")


class _Detail(msgspec.Struct):
    bucket: _Bucket
    object: _BridgeObject


class _Message(msgspec.Struct):
    """What any of the shapes may hold at its top."""

    records: list[_Record] | None = msgspec.field(default=None, name="Records")
    event: str | None = msgspec.field(default=None, name="Event")
    kind: str | None = msgspec.field(default=None, name="Type")
    message: str | None = msgspec.field(default=None, name="Message")
    detail_type: str | None = msgspec.field(default=None, name="detail-type")
    detail: _Detail | None = None


_decoder = msgspec.json.Decoder(_Message)


def written(body: str) -> list[Written]:
    """Return the objects that a message tells of, none for S3's own test or other events.

    Body objects are left out: records name them. Raises UnknownNotice.
    """
    for _ in range(_MAX_DEPTH):
        try:
            message = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise UnknownNotice("not a notification of S3") from None
        if message.kind == "Notification" and message.message is not None:
            body = message.message
            continue
        return [one for one in _objects(message) if not _is_body(one.key)]
    raise UnknownNotice("wrapped too often")


def _objects(message: _Message) -> list[Written]:
    if message.records is not None:
        return [
            # S3 encodes keys as a form does: "+" for a blank (User guide, event message structure).
            Written(
                record.s3.bucket.name, unquote_plus(record.s3.object.key), record.s3.object.version
            )
            for record in message.records
            if record.event.removeprefix("s3:").startswith(_CREATED)
        ]
    if message.event == _TEST_EVENT:
        return []
    if message.detail_type is not None and message.detail is not None:
        if message.detail_type != "Object Created":
            return []
        # EventBridge gives keys as they are.
        detail = message.detail
        return [Written(detail.bucket.name, detail.object.key, detail.object.version or None)]
    raise UnknownNotice("no notification of S3 that is known")


def _is_body(key: str) -> bool:
    return key.startswith(BODIES) or f"/{BODIES}" in key
