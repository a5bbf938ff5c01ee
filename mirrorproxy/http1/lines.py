"""Header lines: each checked and understood once, then remembered.

Pure but for a bounded memory. The same few lines come with nearly every request
(Host, User-Agent, a client's own Authorization), so a head is checked by looking
its lines up; only what was never seen before is read. A line that is no header
line is refused, never remembered.
"""

from __future__ import annotations

import re
from typing import Any

from mirrorproxy.remembered import Remembered

ORDINARY, HOST, LENGTH, KEPT, DROPPED, STEERING = range(6)
"""What a line does. KEPT: "Connection: keep-alive". DROPPED: belongs to one connection and
decides nothing. STEERING: anything else that framing, routing or the connection depend on."""

_KINDS = {
    "host": HOST,
    "content-length": LENGTH,
    "keep-alive": DROPPED,
    "proxy-connection": DROPPED,
    "te": DROPPED,
    "connection": STEERING,
    "transfer-encoding": STEERING,
    "upgrade": STEERING,
    "http2-settings": STEERING,
    "x-mirrorproxy-app": STEERING,
    "x-mirrorproxy-replay": STEERING,
}

# A token, a colon, and field content without control bytes but the tab (RFC 9110, 5.5 and 5.6.2).
_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")

_MAX_REMEMBERED_BYTES = 2048
_REMEMBERED = 4096
"""Together at most 8 MiB of lines, and a few times as much of what was made of them."""


class Line:
    """One valid header line.

    raw: as received, without its line ending. name: lower-case. pair: name and
    value as received, as latin-1 text. value: lower-case bytes. kind: see above.
    note: what a reader of heads remembers of it; it must say whose it is.
    """

    __slots__ = ("kind", "name", "note", "pair", "raw", "value")

    def __init__(self, raw: bytes) -> None:
        """Raises ValueError if it is no header line."""
        match = _LINE.fullmatch(raw)
        if match is None:
            raise ValueError("malformed header line")
        name, value = match.groups()
        value = value.rstrip(b" \t")
        self.raw = raw
        self.pair = (name.decode("latin-1"), value.decode("latin-1"))
        self.name = self.pair[0].lower()
        self.value: bytes = value.lower()
        self.kind = _KINDS.get(self.name, ORDINARY)
        if self.name == "connection" and self.value == b"keep-alive":
            self.kind = KEPT
        self.note: Any = None


_line_of = Remembered(Line, _REMEMBERED).__getitem__


def read_lines(block: list[bytes], size: int) -> list[Line]:
    """Return the lines of a head. block: the lines without their endings. size: of the head.

    Raises ValueError if one of them is no header line.
    """
    if size <= _MAX_REMEMBERED_BYTES:
        return list(map(_line_of, block))
    return [_line_of(raw) if len(raw) <= _MAX_REMEMBERED_BYTES else Line(raw) for raw in block]
