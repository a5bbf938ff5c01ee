"""Formats: whether an object holds lines, a HAR document or GoReplay's records.

Owns the telling, by the first bytes and then by the name, and the unpacking of
gzip for what is no lines. Lines are left to `members`, packed or not. Everything
read is hostile: no more is read to tell a format than it takes.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from typing import BinaryIO, Literal

Format = Literal["lines", "har", "gor"]

_MAGIC = b"\x1f\x8b\x08"
_CHUNK_BYTES = 64 * 1024
_ENOUGH_BYTES = 512
_BOM = b"\xef\xbb\xbf"
# HAR 1.2: what stands in log. Docker and Fluent Bit put a line of an access log in "log", too.
_HAR = re.compile(
    rb'\s*\{\s*"log"\s*:\s*\{\s*"(?:version|creator|browser|pages|entries|comment|_[^"]*)"\s*:'
)
_GOR = re.compile(rb"\s*[123] [\x21-\x7e]{16,128} [0-9]{1,19}[ \r\n]")
# As far as the beginning of either goes, whatever follows: each part may be cut off.
_HAR_BEGUN = re.compile(
    rb'\s*(?:\Z|\{\s*(?:\Z|"l?o?g?\Z|"log"\s*(?:\Z|:\s*(?:\Z|\{\s*(?:\Z|"[a-z_]*(?:\Z|"\s*\Z))))))'
)
_GOR_BEGUN = re.compile(rb"\s*(?:\Z|[123](?:\Z| [\x21-\x7e]{0,128}(?:\Z| [0-9]{0,19}\Z)))")
_NAMED: dict[str, Format] = {".har": "har", ".gor": "gor"}


class Begun:
    """A stream whose first bytes were looked at and are read again. Reads like the stream."""

    def __init__(self, stream: BinaryIO) -> None:
        # read1 hands over what a pipe has; read would wait until the chunk is full.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._first = b""
        self._ended = False

    def more(self) -> bytes:
        """Read on without using anything up; return all that was read, unchanged at the end."""
        if not self._ended:
            part = self._read(_CHUNK_BYTES)
            self._first += part
            self._ended = not part
        return self._first

    @property
    def ended(self) -> bool:
        """Whether `more` has come to the end."""
        return self._ended

    def read1(self, size: int = _CHUNK_BYTES) -> bytes:
        """Return the next bytes, at most so many; b"" at the end."""
        if self._first:
            part, self._first = self._first[:size], self._first[size:]
            return part
        return b"" if self._ended else self._read(size)

    def read(self, size: int = _CHUNK_BYTES) -> bytes:
        """Return so many bytes, fewer only at the end."""
        parts: list[bytes] = []
        while size > 0 and (part := self.read1(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def format_of(stream: Begun, name: str) -> Format:
    """Return what a stream holds. Reads on until that is sure.

    name: of the object; its extension decides where the bytes leave it open.
    Raises OSError if the stream does.
    """
    data = stream.more()
    while not stream.ended and len(data) < len(_MAGIC) and _MAGIC.startswith(data):
        data = stream.more()
    told: Format | None = None
    while told is None:
        told = _told(_unpacked(data), is_all=stream.ended or len(data) >= _CHUNK_BYTES)
        if told is None:
            data = stream.more()
    return told if told != "lines" else _by_name(name)


def plain(stream: Begun) -> tuple[Callable[[int], bytes], bool]:
    """Return what reads a stream unpacked, and whether it was packed.

    What it returns raises OSError, EOFError or zlib.error for damaged gzip.
    """
    if not stream.more().startswith(_MAGIC):
        return stream.read1, False
    unpacked = gzip.GzipFile(fileobj=stream)  # type: ignore[call-overload]
    return unpacked.read1, True


GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)
"""What damaged gzip raises while it is read."""


def _told(data: bytes, *, is_all: bool) -> Format | None:
    """Return the format of what begins so, or None while it may be either."""
    data = data.removeprefix(_BOM)
    if _HAR.match(data):
        return "har"
    if _GOR.match(data):
        return "gor"
    if is_all or len(data) >= _ENOUGH_BYTES:
        return "lines"
    begun = _HAR_BEGUN.match(data) or _GOR_BEGUN.match(data) or _BOM.startswith(data)
    return None if begun else "lines"


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_MAGIC):
        return data
    try:
        return zlib.decompressobj(31).decompress(data, _ENOUGH_BYTES)
    except zlib.error:
        return b"\n\n"


def _by_name(name: str) -> Format:
    plain_name = name.lower().removesuffix(".gz")
    return next((kind for end, kind in _NAMED.items() if plain_name.endswith(end)), "lines")
