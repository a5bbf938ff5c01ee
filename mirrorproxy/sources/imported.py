"""What imports have in common: exchanges that others wrote down, made into ours.

Pure. Owns the ids of what has none of ours, the reading of times, and what stands
for a value that was redacted before we saw it. The same input gives the same id,
wherever and however often it is read.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from mirrorproxy.codec import MAX_TIME_US
from mirrorproxy.record import Credential

UNKNOWN_SERVICE = "default"
"""The service of an exchange whose file names none."""

_NO_KEY = "h1:0000:"
_SECRET_NAME = re.compile(
    r"auth|cookie|token|secret|passw|key\b|session|credential|signature|otp\b", re.IGNORECASE
)
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def derived_id(started_us: int, identity: bytes) -> str:
    """Return an id like `clock.new_id`, with a hash of identity for its random bits."""
    digest = hashlib.blake2b(identity, digest_size=8).digest()
    tail = int.from_bytes(digest, "big") & ((1 << 62) - 1)
    ms, rest_us = divmod(started_us, 1000)
    number = ms << 80 | 7 << 76 | (rest_us * 4096 // 1000) << 64 | 2 << 62 | tail
    return number.to_bytes(16, "big").hex()


def time_us(text: str) -> int | None:
    """Return a moment of ISO 8601 in microseconds since 1970; None if it is none we can keep."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone == 'Z' else zone}")
    except ValueError:
        return None
    whole_us = (at - _EPOCH) // timedelta(microseconds=1)
    at_us = whole_us + int((fraction or "").ljust(6, "0")[:6])
    return at_us if 0 <= at_us <= MAX_TIME_US else None


def is_secret_name(name: str) -> bool:
    """Tell whether a header of that name may hold a secret."""
    return _SECRET_NAME.search(name) is not None


def redacted(name: str, client: str) -> Credential:
    """Return what is known of a header whose value was redacted: that its client has one."""
    digest = hashlib.blake2b(f"{name}\n{client}".encode(), digest_size=16).hexdigest()
    place = "cookie" if name.lower() == "cookie" else "header"
    return Credential(place, name, _NO_KEY + digest)


def as_bytes(text: str) -> str:
    """Return a text as records hold it: the bytes of its UTF-8 form, as latin-1."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("latin-1")
