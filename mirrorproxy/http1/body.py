"""Bodies of HTTP/1.x messages: decoded from their framing, and framed anew.

Pure: bytes in, pieces out, or `PeerError`. What was decoded is what is framed
for the next hop, so a disagreement about framing cannot travel.

A decoder's ``feed(data, pieces)`` appends the body bytes it finds to `pieces`
and returns how many bytes of `data` it took; once `done`, the rest belongs to
the next message. Pieces are slices: the whole body is never joined here.
"""

from __future__ import annotations

import re
from typing import Protocol

from mirrorproxy.errors import PeerError
from mirrorproxy.http1.grammar import BARE_LF, CHUNKED, TRAILERS, UNTIL_CLOSE, fields

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_CHUNK_HEAD = re.compile(
    rb"([0-9A-Fa-f]{1,15}+)(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+)*+\r\n"
)
_MAX_CHUNK_HEAD = 4096  # bytes of one size line with its extensions; Go's net/http takes as much
_MAX_EXTENSIONS = 16384  # bytes of size lines beyond the sizes, per message, against floods
_FORBIDDEN_TRAILERS = frozenset({"content-length", "transfer-encoding", "host"})  # RFC 9110, 6.5.1

LAST_CHUNK = b"0\r\n\r\n"

# Where a chunked body is: in a size line, in a chunk, behind one, behind the last one.
_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)


class BodyDecoder(Protocol):
    """Takes a body out of its framing."""

    done: bool
    trailers: bytes

    def feed(self, data: bytes, pieces: list[bytes]) -> int:
        """Append the body bytes in data to pieces; return how many bytes were taken."""
        ...


class LengthDecoder:
    """A body of a known number of bytes."""

    __slots__ = ("done", "remaining", "trailers")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0
        self.trailers = b""

    def feed(self, data: bytes, pieces: list[bytes]) -> int:
        """See `BodyDecoder`."""
        size = len(data)
        if size > self.remaining:
            size = self.remaining
            data = data[:size]
        if size:
            pieces.append(data)
            self.remaining -= size
        self.done = self.remaining == 0
        return size


class CloseDecoder:
    """A body that ends with its connection; `done` is set by whoever sees that."""

    __slots__ = ("done", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.trailers = b""

    def feed(self, data: bytes, pieces: list[bytes]) -> int:
        """See `BodyDecoder`."""
        pieces.append(data)
        return len(data)


class ChunkedDecoder:
    """A chunked body. Sizes and extensions are checked, extensions are dropped.

    trailers: the raw trailer lines once done. status: what a `PeerError` says.
    max_trailer_bytes: more than that raises PeerError(431) of a client, 502 of an upstream.
    """

    __slots__ = (
        "_extension_bytes", "_held", "_looked_at", "_max_trailers", "_remaining", "_state",
        "_status", "done", "trailers",
    )  # fmt: skip

    def __init__(self, status: int, max_trailer_bytes: int = 65536) -> None:
        self.done = False
        self.trailers = b""
        self._status = status
        self._max_trailers = max_trailer_bytes
        self._state = _SIZE
        self._remaining = 0
        self._held = b""  # the unfinished line: a size, a line's end, or trailers
        self._extension_bytes = 0
        self._looked_at = 0  # of unfinished trailers

    def feed(self, data: bytes, pieces: list[bytes]) -> int:
        """See `BodyDecoder`."""
        held = len(self._held)
        if held:
            data = self._held + data
            self._held = b""
        position, end = 0, len(data)
        while position < end:
            if self._state == _DATA:
                stop = min(end, position + self._remaining)
                pieces.append(data[position:stop])
                self._remaining -= stop - position
                position = stop
                if self._remaining == 0:
                    self._state = _DATA_END
                continue
            if self._state == _SIZE:
                taken = self._size_line(data, position)
            elif self._state == _DATA_END:
                taken = self._data_end(data, position)
            else:
                taken = self._trailer_lines(data, position)
            if taken == 0:
                self._held = data[position:]
                return end - held
            position += taken
            if self.done:
                break
        return position - held

    def _size_line(self, data: bytes, start: int) -> int:
        line_end = data.find(b"\n", start, start + _MAX_CHUNK_HEAD)
        if line_end < 0:
            if len(data) - start >= _MAX_CHUNK_HEAD:
                raise PeerError(self._status, "a chunk extension that is too long")
            if b"\r" in data[start:-1]:
                raise PeerError(self._status, "malformed chunk size")
            return 0
        match = _CHUNK_HEAD.fullmatch(data, start, line_end + 1)
        if match is None:
            raise PeerError(self._status, "malformed chunk size")
        size = match[1]
        self._extension_bytes += line_end - 1 - start - len(size)
        if self._extension_bytes > _MAX_EXTENSIONS:
            raise PeerError(self._status, "too many chunk extensions")
        self._remaining = int(size, 16)
        self._state = _DATA if self._remaining else _TRAILERS
        return line_end + 1 - start

    def _data_end(self, data: bytes, start: int) -> int:
        if data.startswith(b"\r\n", start):
            self._state = _SIZE
            return 2
        if data[start:] != b"\r":
            raise PeerError(self._status, "a chunk longer than its size")
        return 0

    def _trailer_lines(self, data: bytes, start: int) -> int:
        if data.startswith(b"\r\n", start):
            self.done = True
            return 2
        # What was looked at before is not looked at again, however they trickle in.
        new = start + self._looked_at
        end = data.find(b"\r\n\r\n", max(start, new - 3))
        if end < 0:
            if BARE_LF.search(data, new):  # others may see the end here: nothing to wait for
                raise PeerError(self._status, "malformed trailers")
            self._looked_at = len(data) - start
            if len(data) - start > self._max_trailers:
                status = 431 if self._status == 400 else self._status
                raise PeerError(status, "trailers that are too long")
            return 0
        block = data[start : end + 2]
        if not TRAILERS.fullmatch(block + b"\r\n"):
            raise PeerError(self._status, "malformed trailers")
        if any(name.lower() in _FORBIDDEN_TRAILERS for name, _ in fields(block)):
            raise PeerError(self._status, "a trailer that would change the framing")
        self.trailers = block
        self.done = True
        return end + 4 - start


def decoder(framing: int, status: int, max_trailer_bytes: int = 65536) -> BodyDecoder:
    """Return the decoder for a framing: a length in bytes, CHUNKED or UNTIL_CLOSE."""
    if framing == CHUNKED:
        return ChunkedDecoder(status, max_trailer_bytes)
    if framing == UNTIL_CLOSE:
        return CloseDecoder()
    return LengthDecoder(framing)


def chunk(pieces: list[bytes]) -> list[bytes]:
    """Return one chunk that holds the pieces (none if they are empty)."""
    size = sum(map(len, pieces))
    return [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []


def last_chunk(trailers: bytes) -> bytes:
    """Return the last chunk, with raw trailer lines or b""."""
    return b"0\r\n" + trailers + b"\r\n" if trailers else LAST_CHUNK
