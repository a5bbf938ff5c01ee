"""Header lines: what each says to the recorder and how it is recorded, remembered.

The same few lines come with every request, so what is made of one is looked up by
the line itself. Owns the roles that lines play; how secrets in them are sealed is
the sealer's business. Memory is bounded, and nothing of it reaches a disk.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from mirrorproxy.headers import APP_HEADER, HOP_BY_HOP
from mirrorproxy.record import Credential

NOT_RECORDED = frozenset({*HOP_BY_HOP, "http2-settings", APP_HEADER.lower()})
"""Lower-case names of what serves one connection, or routed the request here."""

NO_ROLE, CONTENT_TYPE, CONTENT_ENCODING, FORWARDED_FOR, REAL_IP, FORWARDED_PROTO = range(6)
_ROLES = {
    "content-type": CONTENT_TYPE,
    "content-encoding": CONTENT_ENCODING,
    "x-forwarded-for": FORWARDED_FOR,
    "x-real-ip": REAL_IP,
    "x-forwarded-proto": FORWARDED_PROTO,
}

Line = tuple[tuple[str, str] | None, tuple[Credential, ...], int, str]
"""The header as recorded (None: not at all), what was sealed in it, its role, its value."""

SealLine = Callable[[tuple[str, str]], tuple[tuple[str, str] | None, tuple[Credential, ...]]]

_REMEMBERED = 4096
_MAX_REMEMBERED_CHARS = 2048


class Lines:
    """Reads the lines of heads. seal: seals one (name, value) pair of latin-1 text."""

    def __init__(self, seal: SealLine) -> None:
        self._seal = seal
        self._remembered = functools.lru_cache(_REMEMBERED)(self._read)

    def read(self, block: bytes) -> list[Line]:
        """Return the lines of a valid block of header lines, in order."""
        lines = block.decode("latin-1").split("\r\n")
        lines.pop()
        if len(block) <= _MAX_REMEMBERED_CHARS:
            return list(map(self._remembered, lines))
        return [
            self._remembered(line) if len(line) <= _MAX_REMEMBERED_CHARS else self._read(line)
            for line in lines
        ]

    def _read(self, line: str) -> Line:
        name, _, value = line.partition(":")
        value = value.strip(" \t")
        lower = name.lower()
        if lower in NOT_RECORDED:
            return None, (), NO_ROLE, value
        recorded, credentials = self._seal((name, value))
        return recorded, credentials, _ROLES.get(lower, NO_ROLE), value
