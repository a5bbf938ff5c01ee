"""Header lines: what each says to the recorder and how it is recorded, remembered.

The same few lines come with every request, so what is made of one is noted on the
line itself, which `http1.lines` remembers in bounded memory. Owns the roles that
lines play; how secrets in them are sealed is the sealer's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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

SealLine = Callable[[tuple[str, str]], tuple[tuple[str, str] | None, tuple[Credential, ...]]]


class Recorded:
    """What becomes of one header line in a record.

    pair: the header as recorded, None if it is not. credentials: what was sealed
    in it. role, value: see above; the value as received. is_usual: it is recorded,
    and that is all. owner: the reader that made this.
    """

    __slots__ = ("credentials", "is_usual", "owner", "pair", "role", "value")

    def __init__(
        self,
        owner: LineReader,
        pair: tuple[str, str] | None,
        credentials: tuple[Credential, ...],
        role: int,
        value: str,
    ) -> None:
        self.owner = owner
        self.pair = pair
        self.credentials = credentials
        self.role = role
        self.value = value
        self.is_usual = pair is not None and not credentials and role == NO_ROLE


class LineReader:
    """Reads the lines of heads. seal: seals one (name, value) pair of latin-1 text."""

    def __init__(self, seal: SealLine) -> None:
        self._seal = seal

    def read(self, lines: Iterable[Line]) -> list[Recorded]:
        """Return what is recorded of each line, in order."""
        # The lines are everybody's: another reader's note may keep what we seal.
        return [
            note if (note := line.note) is not None and note.owner is self else self._read(line)
            for line in lines
        ]

    def _read(self, line: Line) -> Recorded:
        value = line.pair[1]
        if line.name in NOT_RECORDED:
            recorded = Recorded(self, None, (), NO_ROLE, value)
        else:
            pair, credentials = self._seal(line.pair)
            role = _ROLES.get(line.name, NO_ROLE)
            recorded = Recorded(self, pair, credentials, role, value)
        line.note = recorded
        return recorded
