"""Heads of our own requests: written once, checked as strictly as those that come in.

Pure but for a bounded memory of lines. `heads` parses and passes on what others wrote.
"""

from __future__ import annotations

from typing import Final

from mirrorproxy.headers import HOP_BY_HOP, end_to_end
from mirrorproxy.http1.grammar import REQUEST_HEAD, TRAILERS
from mirrorproxy.record import HeaderList
from mirrorproxy.remembered import Remembered

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""RFC 9110, 9.2.2: sent twice, these leave the target as sent once."""


def serialize_request(
    method: str, target: str, headers: HeaderList, body_length: int | None
) -> bytes:
    """Return the head of a request of our own, with its framing.

    headers: latin-1 text; hop-by-hop and framing headers are taken out.
    body_length: in bytes; None sends no Content-Length (a request without a body).
    Raises ValueError if anything would not be read as it is meant.
    """
    try:
        block = b"".join(map(_known_line, headers))
    except ValueError:
        # Perhaps a header that is refused is one of those that Connection takes out.
        block = b"".join(map(_line, end_to_end(headers)))
    start = _latin1(f"{method} {target} HTTP/1.1\r\n")
    if not (method in _USUAL_METHODS and _is_visible(target)) and (
        start.count(b"\n") != 1 or not REQUEST_HEAD.fullmatch(start + b"\r\n")
    ):
        raise ValueError("the method or target holds bytes that HTTP does not allow")
    if body_length is None:
        return b"%b%b\r\n" % (start, block)
    return b"%b%bContent-Length: %d\r\n\r\n" % (start, block, body_length)


def retargeted(head: bytes, method: str, target: str, other: str) -> bytes | None:
    """Return a head of `serialize_request` with another target, None if it is to be written anew.

    method, target: of that head.
    """
    if not _is_visible(other):
        return None
    start = len(method) + 1
    return b"%b%b%b" % (head[:start], other.encode(), head[start + len(target) :])


class _UnusualHeaderError(ValueError):
    """A header that takes others out, or that is too long to be remembered."""


_USUAL_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
)


def _is_visible(target: str) -> bool:
    """Tell whether a target has only visible ASCII: much faster than the grammar's expression."""
    return target.isascii() and target.isprintable() and bool(target) and " " not in target


_NOT_WRITTEN: Final = HOP_BY_HOP | {"content-length"}
_MAX_REMEMBERED_CHARS: Final = 2048


def _usual_line(header: tuple[str, str]) -> bytes:
    name, value = header
    if len(name) + len(value) > _MAX_REMEMBERED_CHARS:
        raise _UnusualHeaderError
    start = _beginnings[name]
    if not start:
        return b""
    # No control byte is printable, so nothing in such a value could end the line.
    if value.isascii() and value.isprintable():
        return b"%b%b\r\n" % (start, value.encode())
    return _checked(name, value)


def _beginning(name: str) -> bytes:
    """Return what the lines of a header begin with, b"" if it is not written."""
    lower = name.lower()
    if lower == "connection":
        raise _UnusualHeaderError
    return b"" if lower in _NOT_WRITTEN else _checked(name, "").rstrip(b"\r\n")


# Values such as request ids are new each time, but their names are not.
_beginnings = Remembered(_beginning)

# The same few headers go out with every request: each is written and checked once.
_known_line = Remembered(_usual_line).__getitem__


def _line(header: tuple[str, str]) -> bytes:
    """Return the line of a header, b"" for one that is not written; raises ValueError."""
    name, value = header
    if name.lower() in _NOT_WRITTEN:
        return b""
    return _checked(name, value)


def _checked(name: str, value: str) -> bytes:
    line = _latin1(f"{name}: {value}\r\n")
    # A colon would end the name early: another header, such as Transfer-Encoding.
    if ":" in name or line.count(b"\n") != 1 or not TRAILERS.fullmatch(line + b"\r\n"):
        raise ValueError("a header holds bytes that HTTP does not allow")
    return line


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("a head can only hold latin-1 text") from error
