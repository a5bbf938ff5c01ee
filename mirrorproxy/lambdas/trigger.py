"""What invokes `split`: which objects an event tells of.

Pure. Events are hostile: one of a shape that is not known is refused by an error that
names what was expected and the keys that came, never a value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from mirrorproxy.errors import MirrorproxyError
from mirrorproxy.sources.notices import UnknownNotice, Written, written

EXPECTED = (
    "split expects a notification of S3 (Records[].s3), SQS messages that hold such notifications "
    "(Records[].body), or one from SNS or EventBridge"
)
SEND_EXPECTED = "send expects a chunk that split made (mirrorproxy, v, id, bucket, key, digest)"

VERSION = 1

_MAX_KEYS = 12
_MAX_KEY = 40


class UnknownEvent(MirrorproxyError):
    """An event that is none of ours: it is left to the dead-letter queue."""


class ObjectEvent(msgspec.Struct, kw_only=True):
    """What `split` invokes itself with: the rest of an object.

    etag: the content it goes on with. skip: how many of its exchanges were taken already;
    part: the number of the part that follows; given: how many of its chunks were given away.
    run: see `Settings`. start_us, until_us: the
    time that the rest is spread over, microseconds since 1970; until_us 0: see `Settings`.
    hop: how often it was handed on.
    """

    mirrorproxy: Literal["object"] = "object"
    v: int = VERSION
    bucket: str
    key: str
    version: str | None = None
    etag: str | None = None
    skip: int = 0
    part: int = 0
    given: int = 0
    run: str | None = None
    start_us: int = 0
    until_us: int = 0
    hop: int = 0


class Work(NamedTuple):
    """One message of an event. message_id: None if it is no message of a queue.

    error: why nothing of it can be done.
    """

    message_id: str | None
    objects: list[ObjectEvent]
    error: str | None = None


def works(event: object) -> list[Work]:
    """Return what an event asks for. Raises UnknownEvent."""
    if isinstance(event, Mapping) and "mirrorproxy" in event:
        return [Work(None, [_own(event)])]
    records = event.get("Records") if isinstance(event, Mapping) else None
    if isinstance(records, list) and records and all(_is_message(one) for one in records):
        return [_message(one) for one in records]
    if isinstance(records, list) and records and all(_is_topic(one) for one in records):
        return [Work(None, _objects(one["Sns"]["Message"], one["Sns"])) for one in records]
    return [Work(None, _objects(json.dumps(event), event))]


def encoded_object(event: ObjectEvent) -> bytes:
    """Return the payload with which `split` invokes itself."""
    return msgspec.json.encode(event)


def shape_of(event: object) -> str:
    """Return what came, in words, with the names of its keys and none of its values."""
    if isinstance(event, Mapping):
        names = [_shown(name) for name in list(event)[:_MAX_KEYS]]
        more = f" and {len(event) - _MAX_KEYS} more" if len(event) > _MAX_KEYS else ""
        if not names:
            return "an object without keys"
        text = f"an object with the keys {', '.join(names)}{more}"
        inner = event.get("Records")
        if isinstance(inner, list) and inner:
            text += f", the first of its Records {shape_of(inner[0])}"
        return text
    if isinstance(event, list):
        return f"a list of {len(event)}"
    kinds = {"str": "a text", "NoneType": "nothing", "bool": "true or false"}
    return kinds.get(type(event).__name__, "a number")


def _own(event: Mapping[str, object]) -> ObjectEvent:
    try:
        found = msgspec.convert(event, ObjectEvent)
    except (msgspec.ValidationError, TypeError):
        raise UnknownEvent(f"{EXPECTED}; got {shape_of(event)}") from None
    if found.v != VERSION:
        raise UnknownEvent(f"a hand-over of version {found.v}; this mirrorproxy knows {VERSION}")
    numbers = (found.skip, found.part, found.given, found.start_us, found.until_us, found.hop)
    if not all(0 <= number < 1 << 62 for number in numbers):
        raise UnknownEvent("a hand-over with impossible values")
    return found


def _is_message(record: object) -> bool:
    return isinstance(record, Mapping) and all(
        isinstance(record.get(name), str) for name in ("messageId", "body")
    )


def _is_topic(record: object) -> bool:
    topic = record.get("Sns") if isinstance(record, Mapping) else None
    return isinstance(topic, Mapping) and isinstance(topic.get("Message"), str)


def _message(record: Mapping[str, str]) -> Work:
    message_id, body = record["messageId"], record["body"]
    try:
        inner: object = json.loads(body)
    except (ValueError, RecursionError):
        inner = body
    try:
        if isinstance(inner, Mapping) and "mirrorproxy" in inner:
            return Work(message_id, [_own(inner)])
        return Work(message_id, _objects(body, inner))
    except UnknownEvent as error:
        return Work(message_id, [], f"message {_shown(message_id)}: {error}")


def _objects(text: str, shown: object) -> list[ObjectEvent]:
    try:
        found = written(text)
    except UnknownNotice:
        raise UnknownEvent(f"{EXPECTED}; got {shape_of(shown)}") from None
    return [_object(one) for one in found]


def _object(one: Written) -> ObjectEvent:
    return ObjectEvent(bucket=one.bucket, key=one.key, version=one.version)


def _shown(name: object) -> str:
    text = str(name)[:_MAX_KEY]
    return text if text.isprintable() else ascii(text)[1:-1]
