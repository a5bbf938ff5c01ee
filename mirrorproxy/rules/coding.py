"""Content codings: bodies taken out of them to be looked into, and put in again.

Pure. Owns the reasons why rules can't rewrite a body.
"""

from __future__ import annotations

import zlib
from typing import Final

SKIP_COMPRESSED = "body compressed"
SKIP_BINARY = "body not text"
SKIP_NOT_JSON = "body not JSON"
SKIP_NOT_FORM = "body not a form"

MAX_PLAIN_BYTES: Final = 64 * 1024 * 1024
"""Of a decompressed body: the capture limit, so that a bomb costs no more than any body."""

_GZIP: Final = 31  # zlib's window bits, see zlib.decompressobj
_ZLIB: Final = 15
_RAW: Final = -15


class NotSentError(Exception):
    """A shot that is not sent. reason: one of the SKIP_ constants, here or in `plan`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CannotRewriteError(NotSentError):
    """A body that is not what a rewrite needs."""


def media_type(content_type: str | None) -> str:
    """Return a Content-Type without its parameters, in lower case; "" without one."""
    return (content_type or "").partition(";")[0].strip().lower()


def plain_body(body: bytes, content_encoding: str | None, limit: int = MAX_PLAIN_BYTES) -> bytes:
    """Return a body without its content coding, of limit bytes at most.

    Raises CannotRewriteError for any but one of gzip and deflate, and for damage.
    """
    coding = _coding(content_encoding)
    if not coding or not body:
        return body
    if coding == "deflate":
        # Meant is zlib's frame (RFC 9110, 8.4.1.2); some send it bare.
        try:
            return _inflated(body, _ZLIB, limit)
        except CannotRewriteError:
            return _inflated(body, _RAW, limit)
    return _inflated(body, _GZIP, limit)


def _coding(content_encoding: str | None) -> str:
    """Return gzip, deflate or "" for none."""
    codings = [
        coding
        for part in (content_encoding or "").lower().split(",")
        if (coding := part.strip()) not in ("", "identity", "none", "aws-chunked")
    ]
    if not codings:
        return ""
    if len(codings) > 1 or codings[0] not in ("gzip", "x-gzip", "deflate"):
        raise CannotRewriteError(SKIP_COMPRESSED)
    return "deflate" if codings[0] == "deflate" else "gzip"


def _inflated(body: bytes, window: int, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    rest = body
    is_damaged = False
    while rest:
        stream = zlib.decompressobj(window)
        try:
            data = stream.decompress(rest, room + 1)
        except zlib.error:
            is_damaged = True
            break
        room -= len(data)
        if room < 0 or not stream.eof:
            is_damaged = True
            break
        parts.append(data)
        # gzip may have several members (RFC 1952, 2.2).
        rest = stream.unused_data if window == _GZIP else b""
    if is_damaged:
        raise CannotRewriteError(SKIP_COMPRESSED)
    return b"".join(parts)


def compressed(body: bytes, content_encoding: str | None) -> bytes:
    """Return a plain body in the content coding that `plain_body` took off."""
    coding = _coding(content_encoding)
    if not coding:
        return body
    # Without a time in its head, so that the same rules give the same bytes.
    stream = zlib.compressobj(6, zlib.DEFLATED, _GZIP if coding == "gzip" else _ZLIB)
    return stream.compress(body) + stream.flush()
