"""From packs of lines to Firehose records: which stream, how packed, small enough.

Pure. A session stays in one stream, so that its order can be told from there alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from mirrorproxy import members
from mirrorproxy.errors import SinkRejected
from mirrorproxy.record import Credential
from mirrorproxy.sampling import fraction, session_key

MAX_RECORD_BYTES = 1_024_000  # Firehose API reference, Record: 1,000 KiB before base64
MAX_RAW_BYTES = 900 * 1024

_STREAM_SALT = "mirrorproxy stream"


class _Who(msgspec.Struct):
    client: str
    credentials: list[Credential] = []


_decoder = msgspec.json.Decoder(_Who)


def gzip_member(lines: bytes, count: int) -> bytes:
    """Return lines as one gzip member; members one after the other are a gzip object."""
    return members.pack(lines, count)


def plain_lines(lines: bytes, _count: int) -> bytes:
    """Return lines as they are, for a stream that compresses or partitions by itself."""
    return lines


def records_of(lines: bytes, count: int, encode: Callable[[bytes, int], bytes]) -> Iterator[bytes]:
    """Yield lines as records that Firehose takes, in order.

    Raises SinkRejected if a single line makes too large a record.
    """
    if len(lines) <= MAX_RAW_BYTES or count == 1:
        data = encode(lines, count)
        if len(data) <= MAX_RECORD_BYTES:
            yield data
            return
        if count == 1:
            raise SinkRejected(
                f"a record of {len(data)} bytes, packed; Firehose takes {MAX_RECORD_BYTES}"
            )
    middle = lines.rfind(b"\n", 0, len(lines) // 2) + 1 or lines.index(b"\n") + 1
    before = lines.count(b"\n", 0, middle)
    yield from records_of(lines[:middle], before, encode)
    yield from records_of(lines[middle:], count - before, encode)


def by_stream(lines: bytes, count: int, streams: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield (stream, lines, count) for each of so many streams that gets any of the lines."""
    if streams == 1:
        yield 0, lines, count
        return
    parts: list[list[bytes]] = [[] for _ in range(streams)]
    for text in lines[:-1].split(b"\n"):
        parts[stream_of(text, streams)].append(text + b"\n")
    for stream, part in enumerate(parts):
        if part:
            yield stream, b"".join(part), len(part)


def stream_of(line: bytes, streams: int) -> int:
    """Return the stream of a record's line, by its session; the first for what is no record."""
    try:
        who = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0
    return int(fraction(session_key(who.credentials, who.client), _STREAM_SALT) * streams)
