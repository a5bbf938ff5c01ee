"""Header lines: each checked and understood once, then remembered.

Pure but for a bounded memory. The same few lines come with nearly every request
(Host, User-Agent, a client's own Authorization), so a head is checked by looking
its lines up; only what was never seen before is read. A line that is no header
line is refused, never remembered.
"""

from __future__ import annotations

import re
from typing import Any

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

_MAX_REMEMBERED_BYTES = 1024
_REMEMBERED = 8192
"""At most 8 MiB of lines, and as much again of what was made of them."""


class Line:
    """One valid header line.

    raw: as received, without its line ending. name: lower-case. pair: name and
    value as received, as latin-1 text. value: lower-case bytes. kind: see above.
    note: what a reader of heads remembers of it; it must say whose it is.
    """

    __slots__ = ("kind", "name", "note", "pair", "raw", "value")

    def __init__(self, raw: bytes, name: bytes, value: bytes) -> None:
        value = value.rstrip(b" \t")
        self.raw = raw
        self.pair = (name.decode("latin-1"), value.decode("latin-1"))
        self.name = self.pair[0].lower()
        self.value = value.lower()
        self.kind = _KINDS.get(self.name, ORDINARY)
        if self.name == "connection" and self.value == b"keep-alive":
            self.kind = KEPT
        self.note: Any = None


_remembered: dict[bytes, Line] = {}


def read_lines(block: list[bytes]) -> list[Line] | None:
    """Return the lines of a head; None if one of them is no header line.

    block: the lines without their endings.
    """
    try:
        return [_remembered[raw] for raw in block]
    except KeyError:
        pass
    lines = []
    for raw in block:
        line = _remembered.get(raw)
        if line is None:
            line = _read(raw)
            if line is None:
                return None
        lines.append(line)
    return lines


def _read(raw: bytes) -> Line | None:
    match = _LINE.fullmatch(raw)
    if match is None:
        return None
    line = Line(raw, match[1], match[2])
    if len(raw) <= _MAX_REMEMBERED_BYTES:
        if len(_remembered) >= _REMEMBERED:
            _remembered.clear()  # what is in use comes back at once
        _remembered[raw] = line
    return line
