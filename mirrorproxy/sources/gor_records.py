"""GoReplay's files: cut into their records, one at a time.

Pure but for the reading it is given. Owns the form of a file: a line of meta
data, the message as it was on the wire, and a separator. Knows no HTTP. Memory is
bounded by one record whatever the bytes claim; what is no record is reported and
stepped over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mirrorproxy.members import Damage

SEPARATOR = "\n\N{MONKEY FACE}\N{SEE-NO-EVIL MONKEY}\N{HEAR-NO-EVIL MONKEY}\n".encode()
"""GoReplay's protocol.go: payloadSeparator. Within a message it would end it."""

REQUEST, RESPONSE, REPLAYED = 1, 2, 3
"""What a record is: GoReplay's protocol.go. The last is a replay's answer, not production's."""

MAX_RECORD_BYTES = 65 * 1024 * 1024
"""The capture limit of a body, and a head."""

MAX_DAMAGES = 1000
"""After so many the rest of a file is given up: it bounds what a hostile one can make us say."""

_CHUNK_BYTES = 256 * 1024
# Old versions leave the latency of requests out, some forks write an address in its place.
_META = re.compile(
    rb"([123]) ([\x21-\x7e]{1,128}) ([0-9]{1,19})(?![^\s])"
    rb"(?: +(-?[0-9]{1,19})(?![^\s]))?[^\n]{0,256}\n"
)


class GorRecord(NamedTuple):
    """One record. at_ns, latency_ns: nanoseconds; see `gor` for what they mean.

    latency_ns is 0 where the record has none. offset: of its first byte.
    """

    kind: int
    id: str
    at_ns: int
    latency_ns: int
    message: bytes
    offset: int


def read_records(
    read: Callable[[int], bytes], max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[GorRecord | Damage]:
    """Yield the records of a file, and its damages where they stand.

    read: returns the next bytes, b"" at the end; what it raises is raised. A record
    that the file ends within is damage, unless only the last newline is missing.
    """
    damages = 0
    for offset, data in _parts(read, max_record_bytes):
        part = data if isinstance(data, Damage) else _record(offset, data)
        if part is None:
            continue
        if isinstance(part, Damage):
            damages += 1
            if damages > MAX_DAMAGES:
                yield Damage(offset, "too much damage: the rest is given up", None)
                return
        yield part


def _parts(read: Callable[[int], bytes], limit: int) -> Iterator[tuple[int, bytes | Damage]]:
    """Yield what stands before each separator, with its offset."""
    held = bytearray()
    offset = looked_at = 0
    is_too_long = False
    while data := read(_CHUNK_BYTES):
        held += data
        begin = 0
        while (end := held.find(SEPARATOR, max(begin, looked_at))) >= 0:
            if not is_too_long:
                at = offset + begin
                is_whole = end - begin <= limit
                yield at, bytes(held[begin:end]) if is_whole else _too_long(at, limit)
            is_too_long = False
            begin = looked_at = end + len(SEPARATOR)
        if len(held) - begin > limit:
            if not is_too_long:
                yield offset + begin, _too_long(offset + begin, limit)
            is_too_long = True
            begin = len(held) - len(SEPARATOR) + 1
        del held[:begin]
        offset += begin
        looked_at = max(0, len(held) - len(SEPARATOR) + 1)
    if is_too_long:
        return
    if held.endswith(SEPARATOR[:-1]):
        yield offset, bytes(held[: 1 - len(SEPARATOR)])
    elif held.strip():
        yield offset, Damage(offset, "the file ends within a record", 1)


def _too_long(offset: int, limit: int) -> Damage:
    return Damage(offset, f"a record longer than {limit} bytes", 1)


def _record(offset: int, data: bytes) -> GorRecord | Damage | None:
    plain = data.lstrip(b"\r\n")
    if not plain:
        return None
    offset += len(data) - len(plain)
    meta = _META.match(plain)
    if meta is None:
        return Damage(offset, "no record of GoReplay: expected <1|2|3> <id> <time>", 1)
    kind, name, at_ns, latency_ns = meta.groups()
    return GorRecord(
        int(kind), name.decode(), int(at_ns), int(latency_ns or 0), plain[meta.end() :], offset
    )
