"""Header lines: what each says to the recorder and how it is recorded, remembered.

The same few lines come with every request, so what is made of one is noted on the
line itself, which `http1.lines` remembers in bounded memory. Owns the roles that
lines play; how secrets in them are sealed is the sealer's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from mirrorproxy.codec import encode_credentials, encode_text
from mirrorproxy.headers import APP_HEADER, HOP_BY_HOP, is_protected
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

_ADDRESS = re.compile(r"\[?[0-9A-Fa-f:.%]{2,45}\]?(?::[0-9]{1,5})?")
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

SealLine = Callable[[tuple[str, str]], tuple[tuple[str, str] | None, tuple[Credential, ...]]]


class Recorded:
    """What becomes of one header line in a record.

    pair: the header as recorded, None if it is not; json: the same as it stands
    in a record. credentials: what was sealed in it. role: see above. value: what it
    says in its role: the first address of a list, the scheme a client used, else the
    value as received. is_usual: it is recorded, and that is all. owner: the reader
    that made this.
    """

    __slots__ = (
        "credentials", "credentials_json", "is_usual", "json", "name", "owner", "pair", "role",
        "value",
    )  # fmt: skip

    def __init__(
        self,
        owner: LineReader,
        line: Line,
        pair: tuple[str, str] | None,
        credentials: tuple[Credential, ...],
        role: int,
    ) -> None:
        value = line.pair[1]
        if role in (FORWARDED_FOR, REAL_IP):
            value = _address(value)
        elif role == FORWARDED_PROTO:
            value = _SCHEMES.get(_first_of(value).lower(), "http")
        self.owner = owner
        self.name = line.name
        self.pair = pair
        self.json = (
            b"" if pair is None else b"[%b,%b]" % (encode_text(pair[0]), encode_text(pair[1]))
        )
        self.credentials = credentials
        self.credentials_json = encode_credentials(credentials)
        self.role = role
        self.value = value
        self.is_usual = pair is not None and not credentials and role == NO_ROLE


class LineReader:
    """Reads the lines of heads. seal: seals one (name, value) pair of latin-1 text."""

    def __init__(self, seal: SealLine) -> None:
        self._seal = seal

    def read(self, lines: Sequence[Line]) -> list[Recorded]:
        """Return what is recorded of each line, in order."""
        found = []
        for line in lines:
            # The lines are everybody's: another reader's note may keep what we seal.
            note = line.note
            found.append(
                note if isinstance(note, Recorded) and note.owner is self else self._read(line)
            )
        return found

    def _read(self, line: Line) -> Recorded:
        if line.name in NOT_RECORDED:
            recorded = Recorded(self, line, None, (), NO_ROLE)
        else:
            pair, credentials = self._seal(line.pair)
            # An empty value says nothing in any role.
            role = _ROLES.get(line.name, NO_ROLE) if line.value else NO_ROLE
            recorded = Recorded(self, line, pair, credentials, role)
        line.note = recorded
        return recorded


def json_of(lines: list[Recorded], options: Sequence[bytes]) -> bytes:
    """Return a head's lines as they stand between a record's brackets.

    options: what Connection names, lower-case; those headers are left out.
    """
    if options:
        lines = _without_named(lines, options)
    return b",".join([line.json for line in lines if line.json])


def _without_named(lines: list[Recorded], options: Sequence[bytes]) -> list[Recorded]:
    named = {option.decode("latin-1") for option in options}
    named = {name for name in named if not is_protected(name)} - {"keep-alive", "close"}
    return [line for line in lines if line.name not in named]


def _first_of(text: str) -> str:
    return text.partition(",")[0].strip()


def _address(text: str) -> str:
    """Return the first address of a list, "" where there is none."""
    first = _first_of(text)
    return first if _ADDRESS.fullmatch(first) else ""
