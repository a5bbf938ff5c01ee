"""Messages out of raw bytes, the plain way: the judge of what the proxy writes.

Written against RFC 9112 on its own, without anything of the proxy's. Takes only
what has one meaning: any doubt is `Unsound`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Fields = list[tuple[bytes, bytes]]

_START = re.compile(
    rb"[!#$%&'*+.^_`|~\w-]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.1"
    rb"|HTTP/1\.1 [1-9]\d\d( [^\x00-\x08\x0a-\x1f\x7f]*)?"
)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~\w-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)", re.ASCII)
_SIZE = re.compile(rb"[0-9a-f]{1,15}", re.IGNORECASE)


class Unsound(Exception):
    """Bytes that two readers could take for different things."""


class Message(NamedTuple):
    """One message. end: the position behind it. is_cut: it ends with its connection."""

    start: bytes
    fields: Fields
    body: bytes
    trailers: Fields
    end: int
    until_close: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all fields of that lower-case name."""
        return [value for key, value in self.fields if key.lower() == name]


def read_request(data: bytes, at: int = 0) -> Message | None:
    """Return the request that begins at a position; None while it is incomplete."""
    return _read(data, at, may_close=False, is_bodiless=False)


def read_response(data: bytes, at: int = 0, *, to_head: bool = False) -> Message | None:
    """Return the answer that begins at a position; None while it is incomplete.

    An answer that only the end of its connection ends holds all that is there.
    """
    status = data[at + 9 : at + 12]
    bodiless = to_head or status[:1] == b"1" or status in (b"204", b"304")
    return _read(data, at, may_close=True, is_bodiless=bodiless)


def _read(data: bytes, at: int, *, may_close: bool, is_bodiless: bool) -> Message | None:
    head_end = data.find(b"\r\n\r\n", at)
    if head_end < 0:
        return None
    start, *lines = data[at:head_end].split(b"\r\n")
    if not _START.fullmatch(start):
        raise Unsound(f"start line {start!r}")
    fields = _fields(lines)
    head = Message(start, fields, b"", [], head_end + 4)
    lengths, codings = head.values(b"content-length"), head.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Unsound("two framings")
    if any(not length.isdigit() for length in lengths) or any(c != b"chunked" for c in codings):
        raise Unsound("a framing nobody knows")
    if is_bodiless:
        return head
    if codings:
        return _chunks(data, head)
    if lengths:
        end = head.end + int(lengths[0])
        return head._replace(body=data[head.end : end], end=end) if end <= len(data) else None
    if may_close:
        return head._replace(body=data[head.end :], end=len(data), until_close=True)
    return head


def _fields(lines: list[bytes]) -> Fields:
    found = [_FIELD.fullmatch(line) for line in lines]
    if None in found:
        raise Unsound(f"field lines {lines!r}")
    return [(match[1], match[2].rstrip(b" \t")) for match in found if match]


def _chunks(data: bytes, head: Message) -> Message | None:
    body, at = b"", head.end
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return None
        if not _SIZE.fullmatch(data, at, line_end):
            raise Unsound(f"chunk size {data[at:line_end]!r}")
        size = int(data[at:line_end], 16)
        at = line_end + 2
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        if data[at + size : at + size + 2] != b"\r\n":
            raise Unsound("a chunk longer than its size")
        body += data[at : at + size]
        at += size + 2
    if data.startswith(b"\r\n", at):
        return head._replace(body=body, end=at + 2)
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    trailers = _fields(data[at:end].split(b"\r\n"))
    return head._replace(body=body, trailers=trailers, end=end + 4)
