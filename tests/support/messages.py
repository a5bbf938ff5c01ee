"""HTTP/1.1 messages as raw bytes, read with no tolerance at all.

Pure. A message that two parsers could frame differently raises `Ambiguous`:
the origin and the client of the wire tests read with it, so whatever a proxy
lets through that is open to two readings becomes a fault of the test. It knows
nothing of mirrorproxy and shares no code with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: ([\t \x21-\x7e\x80-\xff]*))?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t \x21-\x7e\x80-\xff]*)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t \x21-\x7e\x80-\xff]*)?")
_FRAMING = (b"content-length", b"transfer-encoding")

Field = tuple[bytes, bytes]


class Ambiguous(ValueError):
    """The bytes can be read in more than one way, or in none."""


@dataclass(frozen=True)
class Message:
    """One request or response.

    start: the first line without its line ending. fields: (name, value) as
    received, optional white space around the value taken off. body: decoded.
    framing: "none", "length", "chunked" or "close". complete is False while
    only the head is known.
    """

    start: bytes
    fields: list[Field]
    framing: str = "none"
    length: int = 0
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    complete: bool = False
    connection: int = 0

    @property
    def method(self) -> bytes:
        """The method of a request."""
        return self.start.split(b" ", 1)[0]

    @property
    def target(self) -> bytes:
        """The target of a request."""
        return self.start.split(b" ")[1]

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.start[9:12])

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of that name in order, whatever its case."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def end_to_end(self, also_without: tuple[bytes, ...] = ()) -> list[Field]:
        """Return the fields without framing, connection headers and those named."""
        without = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"}
        without.update(_FRAMING, (name.lower() for name in also_without))
        return [(name, value) for name, value in self.fields if name.lower() not in without]

    def with_body(self, body: bytes, trailers: list[Field] | None = None) -> Message:
        """Return the message complete with its body."""
        return replace(self, body=body, trailers=trailers or [], complete=True)


def parse_fields(block: bytes) -> list[Field]:
    """Return the fields of a block of lines, each ended by CRLF.

    Raises Ambiguous for a bare CR or LF, a folded line, a name that is not a
    token, white space before the colon, or a control byte.
    """
    fields = []
    for line in block.split(b"\r\n")[:-1]:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Ambiguous(f"field line {line[:80]!r}")
        fields.append((match[1], match[2].strip(b" \t")))
    return fields


def _framing(fields: list[Field]) -> tuple[str, int]:
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if lengths and codings:
        raise Ambiguous("Content-Length together with Transfer-Encoding")
    if len(lengths) > 1 or len(codings) > 1:
        raise Ambiguous("repeated framing")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Ambiguous(f"Transfer-Encoding {codings[0]!r}")
        return "chunked", 0
    if lengths:
        if not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
            raise Ambiguous(f"Content-Length {lengths[0]!r}")
        return "length", int(lengths[0])
    return "none", 0


def parse_request_head(head: bytes) -> Message:
    """Return the request whose head, closing empty line included, is given."""
    start, _, block = head[:-2].partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(start)
    if match is None:
        raise Ambiguous(f"request line {start[:80]!r}")
    fields = parse_fields(block)
    framing, length = _framing(fields)
    message = Message(start, fields, framing, length)
    if match[3] == b"0" and framing == "chunked":
        raise Ambiguous("chunked in HTTP/1.0")
    hosts = message.values(b"host")
    if len(hosts) > 1 or (not hosts and match[3] == b"1"):
        raise Ambiguous(f"{len(hosts)} Host fields")
    return message


def parse_response_head(head: bytes, method: bytes) -> Message:
    """Return the response whose head is given; method is the one it answers."""
    start, _, block = head[:-2].partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(start)
    if match is None:
        raise Ambiguous(f"status line {start[:80]!r}")
    fields = parse_fields(block)
    framing, length = _framing(fields)
    status = int(match[2])
    bodiless = status < 200 or status in {204, 304} or method == b"HEAD"
    if framing != "none" and (status < 200 or status == 204):
        raise Ambiguous(f"framing in a {status}")  # RFC 9110, 8.6; RFC 9112, 6.1
    if match[1] == b"0" and framing == "chunked":
        raise Ambiguous("chunked in HTTP/1.0")
    if method == b"CONNECT" and 200 <= status < 300:
        bodiless = True
    if bodiless:
        return Message(start, fields)
    return Message(start, fields, "close" if framing == "none" else framing, length)


def parse_chunk_size(line: bytes) -> int:
    """Return the size that a chunk's first line, without CRLF, states."""
    match = _CHUNK.fullmatch(line)
    if match is None:
        raise Ambiguous(f"chunk size line {line[:80]!r}")
    return int(match[1], 16)


def parse_trailers(block: bytes) -> list[Field]:
    """Return trailer fields; framing and routing fields among them are refused."""
    trailers = parse_fields(block)
    for name, _ in trailers:
        if name.lower() in {*_FRAMING, b"host"}:
            raise Ambiguous(f"{name.decode()} as a trailer")
    return trailers
