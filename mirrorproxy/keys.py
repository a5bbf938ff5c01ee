"""Object keys: where record objects and body objects lie, and what a key says.

Owns the layout that Firehose leaves in S3, alike in a directory and in a
bucket. Pure: builds and reads names, never opens anything.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

BODIES = "bodies/"
"""The folder of the body objects, beside the year folders of the record objects."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID = re.compile(r"[0-9a-f]{32}")
_HOUR_FOLDER = re.compile(r"(?:^|(?<=/))[0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9]{2}/[^/]*\Z")
_FOLDER_TIME = re.compile(r"(?:^|(?<=/))([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})/[^/]*\Z")
_NAME_TIME = re.compile(
    r"-[0-9]+-([0-9]{4})-([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{2})-[^/]*\Z"
)


def object_key(prefix: str, stream: str, at_us: int, unique: str) -> str:
    """Return ``<prefix>YYYY/MM/DD/HH/<stream>-1-YYYY-MM-DD-HH-MM-SS-<unique>.jsonl.gz``.

    prefix: empty, or ends with "/". stream: letters, digits, "_", "." and "-",
    at most 64 (Firehose API reference, DeliveryStreamName). at_us: when the
    object's first record arrived, microseconds since 1970; the key is in UTC.
    unique: a UUID.
    Raises ValueError if prefix, stream or unique do not have that form.
    """
    if prefix and (not prefix.endswith("/") or prefix.startswith("/")):
        raise ValueError("a prefix is empty, or ends and does not begin with a slash")
    if not _STREAM.fullmatch(stream) or not _STREAM.fullmatch(unique):
        raise ValueError("a stream's name has 1 to 64 letters, digits, '_', '.' or '-'")
    at = _utc(at_us)
    return f"{prefix}{at:%Y/%m/%d/%H}/{stream}-1-{at:%Y-%m-%d-%H-%M-%S}-{unique}.jsonl.gz"


def body_ref(at_us: int, record_id: str) -> str:
    """Return ``bodies/YYYY/MM/DD/HH/<id>``, relative to `base_of` the record's object.

    at_us: when the exchange began, microseconds since 1970.
    Raises ValueError if record_id is not 32 lower-case hex digits.
    """
    if not _ID.fullmatch(record_id):
        raise ValueError("an id has 32 lower-case hex digits")
    return f"{BODIES}{_utc(at_us):%Y/%m/%d/%H}/{record_id}"


def base_of(key: str) -> str:
    """Return what stands before ``YYYY/MM/DD/HH/`` in a record object's key.

    Empty or ends with "/". A key without hour folders (a file lying about)
    gives its own folder. ``key`` uses "/" throughout.
    """
    match = _HOUR_FOLDER.search(key)
    return key[: match.start()] if match else key[: key.rfind("/") + 1]


def key_time_us(key: str) -> int | None:
    """Return the time in the object's name, microseconds since 1970, or None.

    It is when the oldest record in the object arrived, to the second.
    """
    return _time_us(_NAME_TIME.search(key))


def time_us(key: str) -> int | None:
    """Return `key_time_us`, or else when the hour of the object's folder begins, or None."""
    at_us = key_time_us(key)
    return _time_us(_FOLDER_TIME.search(key)) if at_us is None else at_us


def _time_us(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    try:
        at = datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    return (at - _EPOCH) // timedelta(microseconds=1)


def _utc(at_us: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=at_us)
    except OverflowError as error:
        raise ValueError("a time is in microseconds since 1970, up to the year 9999") from error
