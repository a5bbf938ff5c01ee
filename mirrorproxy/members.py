"""Gzip members of lines: packing them, and reading any object of lines safely.

Owns the packed form (one complete gzip member of many lines, with its length
and number of lines in an FEXTRA field) and the reading of gzip and plain
objects from any maker. Bytes in, lines out; never decodes JSON. Everything
read is hostile: memory is bounded whatever the bytes claim, and damage is
reported and stepped over, never raised. A member with an FEXTRA field of ours
is verified before any of its lines is given out, so its loss is known exactly.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

_zlib: Any
try:
    from isal import isal_zlib as _zlib

    _MAX_LEVEL = 3
except ImportError:  # no isal for this machine: the same calls, several times slower
    _zlib = zlib
    _MAX_LEVEL = 9

MAX_LINE_BYTES = 4 * 1024 * 1024
"""What a reader takes by default; writers stay under `codec.MAX_LINE_BYTES`."""

MAX_MEMBER_BYTES = 8 * 1024 * 1024
"""The most that one packed member may hold, compressed or not."""

Batch = list[tuple[int, bytes]]
"""Lines with the offset of their line (plain) or of their member (gzip) in the object."""

MAX_DAMAGES = 1000
"""After so many, the rest of a gzip object is given up: it bounds the work on hostile bytes."""

_CHUNK_BYTES = 256 * 1024
_MAGIC = b"\x1f\x8b\x08"
_MARK = (
    b"\x0c\x00MP\x08\x00"  # XLEN 12; subfield MP of 8 bytes: length and lines (RFC 1952, 2.3.1.1)
)
_PACKED = _MAGIC + b"\x04"  # the one flag: FEXTRA
_HEADER = struct.Struct("<4sIBB6sII")
_TRAILER = struct.Struct("<II")
_OS_UNKNOWN = 255
_MIN_PACKED_BYTES = _HEADER.size + 2 + _TRAILER.size
_NEXT_MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL)
_NEXT_MEMBER_BYTES = 4
_NO_PADDING = re.compile(rb"[^\x00\n\r ]")
# Two records joined without a newline. Inside a string a quote is escaped or ends the string, and
# no letter can follow an end: so this never matches within a record.
_JOINT = re.compile(rb'(?<=\})(?=\{"[A-Za-z_])')
_JOINT_HINT = b'}{"'
_JOINT_OVERLAP = 3  # so many bytes of a joint may stand at the end of what has come so far


@dataclass(frozen=True)
class Damage:
    """A stretch of an object that could not be read.

    offset: where it begins, in bytes of the object. reason: in a few words,
    with nothing of the content. lines: how many were lost, None if unknown.
    """

    offset: int
    reason: str
    lines: int | None


def pack(lines: bytes, count: int, level: int = 1) -> bytes:
    """Return lines as one complete gzip member that says its own length and number of lines.

    lines: newline-terminated. level: 0 to 3 (isal), 0 to 9 without it; more is cut to that.
    Raises ValueError if lines holds more than MAX_MEMBER_BYTES.
    """
    if len(lines) > MAX_MEMBER_BYTES:
        raise ValueError("too much for one member")
    packer = _zlib.compressobj(min(level, _MAX_LEVEL), zlib.DEFLATED, -15)
    deflated = packer.compress(lines) + packer.flush()
    header = _HEADER.pack(
        _PACKED,
        0,  # no time: the same lines give the same member
        0,
        _OS_UNKNOWN,
        _MARK,
        _HEADER.size + len(deflated) + _TRAILER.size,
        count,
    )
    return b"".join((header, deflated, _TRAILER.pack(_zlib.crc32(lines), len(lines))))


def read_batches(
    stream: BinaryIO, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Batch | Damage]:
    """Yield the lines of an object in batches, and its damages where they stand.

    Gzip is known by its magic bytes, everything else is plain. Lines come
    without their newline; empty ones are left out; records joined without a
    newline are parted. A last line without a newline counts as a line. Holds
    at most about two members or max_line_bytes at a time.
    Raises OSError only when reading the stream does.
    """
    window = _Window(stream)
    window.fill(len(_MAGIC))
    if window.peek(0, len(_MAGIC)) == _MAGIC:
        yield from _read_gzip(window, max_line_bytes)
    else:
        yield from _read_plain(window, max_line_bytes)


class _Window:
    """What has been read of a stream and not yet used; offset: of its first byte in the object."""

    def __init__(self, stream: BinaryIO) -> None:
        # read1 hands over what a pipe has; read would wait until the chunk is full.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._data = b""
        self._at = 0
        self.offset = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def fill(self, size: int) -> bool:
        """Read until size bytes are there; False if the stream ends before."""
        have = len(self)
        if have >= size:
            return True
        parts = [self._data[self._at :]]
        while have < size:
            part = self._read(max(_CHUNK_BYTES, size - have))
            if not part:
                break
            parts.append(part)
            have += len(part)
        self._data = b"".join(parts)
        self._at = 0
        return have >= size

    def peek(self, begin: int, end: int) -> bytes:
        return self._data[self._at + begin : self._at + end]

    def find(self, pattern: re.Pattern[bytes]) -> int:
        match = pattern.search(self._data, self._at)
        return match.start() - self._at if match else -1

    def drop(self, size: int) -> None:
        size = min(size, len(self))
        self._at += size
        self.offset += size


class _Lines:
    """Cuts a flow of bytes into lines of bounded length."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max = max_line_bytes
        self._rest = bytearray()  # the beginning of a line that has not ended yet
        self._rest_at = 0
        self._skipping = False  # in a line that is too long

    def feed(self, data: bytes, offset: int, step: int) -> Iterator[Batch | Damage]:
        """Take bytes that stand at offset; step: 1 if each byte has an offset of its own, or 0."""
        if self._rest:
            overlap = bytes(self._rest[-_JOINT_OVERLAP:])
            del self._rest[-_JOINT_OVERLAP:]
            data = overlap + data
            offset -= len(overlap) * step
        lines = _split(data)
        joined = _JOINT_HINT in data
        if not (step or joined or lines[-1] or self._rest or self._skipping) and (
            len(max(lines, key=len)) <= self._max
        ):
            yield [(offset, line) for line in lines if line]
            return
        batch: Batch = []
        last = lines.pop()
        for line in lines:
            for part in self._parted(line, joined):
                if damage := self._end_line(part, offset, batch):
                    yield damage
                offset += len(part) * step
            offset += step
        *ended, last = self._parted(last, joined)
        for part in ended:
            if damage := self._end_line(part, offset, batch):
                yield damage
            offset += len(part) * step
        if batch:
            yield batch
        if damage := self._hold(last, offset):
            yield damage

    def end(self) -> Iterator[Batch | Damage]:
        """The flow ends, and with it the line that has not ended yet."""
        batch: Batch = []
        if damage := self._end_line(b"", self._rest_at, batch):
            yield damage
        if batch:
            yield batch

    def forget(self) -> None:
        """The line that has not ended yet is lost."""
        self._rest.clear()
        self._skipping = False

    @staticmethod
    def _parted(line: bytes, joined: bool) -> list[bytes]:
        return _JOINT.split(line) if joined and _JOINT_HINT in line else [line]

    def _end_line(self, part: bytes, offset: int, batch: Batch) -> Damage | None:
        if self._skipping:
            self._skipping = False
            return None
        if self._rest:
            part = bytes(self._rest) + part
            offset = self._rest_at
            self._rest.clear()
        if len(part) > self._max:
            return Damage(offset, f"a line longer than {self._max} bytes", 1)
        if part:
            batch.append((offset, part))
        return None

    def _hold(self, part: bytes, offset: int) -> Damage | None:
        if self._skipping:
            return None
        if not self._rest:
            self._rest_at = offset
        self._rest += part
        if len(self._rest) <= self._max:
            return None
        self._rest.clear()
        self._skipping = True
        return Damage(self._rest_at, f"a line longer than {self._max} bytes", 1)


def _read_plain(window: _Window, max_line_bytes: int) -> Iterator[Batch | Damage]:
    lines = _Lines(max_line_bytes)
    while window.fill(1):
        size = len(window)
        yield from lines.feed(window.peek(0, size), window.offset, 1)
        window.drop(size)
    yield from lines.end()


def _read_gzip(window: _Window, max_line_bytes: int) -> Iterator[Batch | Damage]:
    lines = _Lines(max_line_bytes)
    damages = 0
    while window.fill(_HEADER.size) or len(window):
        begin = window.peek(0, _HEADER.size)
        if len(begin) == _HEADER.size and begin.startswith(_PACKED) and begin[10:16] == _MARK:
            yield from lines.end()
            found = _read_packed(window, lines)
        elif begin.startswith(_MAGIC):
            found = _read_foreign(window, lines)
        else:
            found = _skip_between(window)
        for item in found:
            damages += isinstance(item, Damage)
            yield item
        if damages > MAX_DAMAGES:
            yield Damage(window.offset, "too much damage: the rest is not read", None)
            return
    yield from lines.end()


def _read_packed(window: _Window, lines: _Lines) -> Iterator[Batch | Damage]:
    """Read one member of ours, all or nothing."""
    size, count = struct.unpack("<II", window.peek(16, _HEADER.size))
    offset = window.offset
    lost = count if count <= MAX_MEMBER_BYTES else None
    if not _MIN_PACKED_BYTES <= size <= MAX_MEMBER_BYTES + _CHUNK_BYTES:
        yield Damage(offset, "a member with an impossible length", lost)
        _seek_member(window, 1)
        return
    if not window.fill(size):
        # Either the object ends early or the length is damaged, and then another member follows.
        yield Damage(offset, "a truncated member", lost)
        _seek_member(window, 1)
        return
    raw = _unpacked(window.peek(0, size))
    if raw is None:
        window.fill(size + len(_MAGIC))
        follows = window.peek(size, size + len(_MAGIC))
        yield Damage(offset, "a damaged member", lost)
        _seek_member(window, size if follows in {b"", _MAGIC} else 1)
        return
    window.drop(size)
    begin = 0
    while begin < len(raw):
        # In slices, so that a member of very short lines does not become millions of objects.
        end = raw.rfind(b"\n", begin, begin + _CHUNK_BYTES) + 1 or begin + _CHUNK_BYTES
        yield from lines.feed(raw[begin:end], offset, 0)
        begin = end
    yield from lines.end()


def _unpacked(member: bytes) -> bytes | None:
    crc, size = _TRAILER.unpack_from(member, len(member) - _TRAILER.size)
    if size > MAX_MEMBER_BYTES:
        return None
    unpacker = _zlib.decompressobj(-15)
    try:
        raw: bytes = unpacker.decompress(member[_HEADER.size : -_TRAILER.size], size + 1)
    except _zlib.error:
        return None
    whole = unpacker.eof and not unpacker.unused_data
    return raw if whole and len(raw) == size and _zlib.crc32(raw) == crc else None


def _read_foreign(window: _Window, lines: _Lines) -> Iterator[Batch | Damage]:
    """Read one gzip member of any maker as a flow; a line may go on in the next member."""
    unpacker = _zlib.decompressobj(31)
    offset = window.offset
    fed = 0  # what was fed last stays in the window, to look for the next member in it
    while not unpacker.eof:
        if fed >= _CHUNK_BYTES:
            window.drop(fed)
            fed = 0
        reason = "" if window.fill(fed + 1) else "a truncated member"
        piece = window.peek(fed, fed + _CHUNK_BYTES)
        fed += len(piece)
        while piece and not unpacker.eof and not reason:
            try:
                raw = unpacker.decompress(piece, _CHUNK_BYTES)
            except _zlib.error:
                reason = "a damaged member"
                break
            yield from lines.feed(raw, offset, 0)
            piece = unpacker.unconsumed_tail
        if reason:
            lines.forget()
            yield Damage(offset, reason, None)
            _seek_member(window, 1 if window.offset == offset else 0)
            return
    window.drop(fed - len(unpacker.unused_data))


def _skip_between(window: _Window) -> Iterator[Damage]:
    """Step over what stands between members; padding is no damage."""
    padding = window.find(_NO_PADDING)
    window.drop(len(window) if padding < 0 else padding)
    if padding == 0:
        yield Damage(window.offset, "bytes that belong to no member", None)
        _seek_member(window, 1)


def _seek_member(window: _Window, start: int) -> None:
    """Drop bytes, at least start, until what looks like a member begins, or all is dropped."""
    window.drop(start)
    while window.fill(_NEXT_MEMBER_BYTES):
        found = window.find(_NEXT_MEMBER)
        if found >= 0:
            window.drop(found)
            return
        window.drop(len(window) - _NEXT_MEMBER_BYTES + 1)
    window.drop(len(window))


def _split(data: bytes) -> list[bytes]:
    """Return what data.split(b"\\n") does; lines of 2 KB take a third of its time."""
    lines: list[bytes] = []
    start, find = 0, data.find
    while (end := find(b"\n", start)) >= 0:
        lines.append(data[start:end])
        start = end + 1
    lines.append(data[start:])
    return lines
