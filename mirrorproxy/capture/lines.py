"""Header lines: what each says to the recorder and how it is recorded, remembered.

The same few lines come with every request, so what is made of one is noted on the
line itself, which `http1.lines` remembers in bounded memory. Owns the roles that
lines play; how secrets in them are sealed is the sealer's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from mirrorproxy.headers import APP_HEADER, HOP_BY_HOP
from mirrorproxy.http1.lines import Line
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

Recorded = tuple[tuple[str, str] | None, tuple[Credential, ...], int, str]
"""The header as recorded (None: not at all), what was sealed in it, its role, its value."""

SealLine = Callable[[tuple[str, str]], tuple[tuple[str, str] | None, tuple[Credential, ...]]]


class LineReader:
    """Reads the lines of heads. seal: seals one (name, value) pair of latin-1 text."""

    def __init__(self, seal: SealLine) -> None:
        self._seal = seal

    def read(self, lines: Iterable[Line]) -> list[Recorded]:
        """Return what is recorded of each line, in order."""
        found: list[Recorded] = []
        for line in lines:
            note = line.note
            # The lines are everybody's: another reader's note may keep what we seal.
            if note is not None and note[0] is self:
                found.append(cast("Recorded", note[1]))
            else:
                found.append(self._read(line))
        return found

    def _read(self, line: Line) -> Recorded:
        recorded: Recorded
        if line.name in NOT_RECORDED:
            recorded = (None, (), NO_ROLE, line.pair[1])
        else:
            pair, credentials = self._seal(line.pair)
            recorded = (pair, credentials, _ROLES.get(line.name, NO_ROLE), line.pair[1])
        line.note = (self, recorded)
        return recorded
