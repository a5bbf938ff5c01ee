"""HAR documents: cut into their entries, one at a time.

Pure but for the reading it is given. A HAR is one JSON document of any size, so it
is walked through, never loaded: memory is bounded by one entry whatever the bytes
claim. Owns the walk to log.entries and where an entry begins and ends; whether it
is sound JSON, and what it means, `har` finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from mirrorproxy.members import Damage

MAX_ENTRY_BYTES = 192 * 1024 * 1024
"""A body at the capture limit, in Base64 twice (`postData` and `_mirrorproxy`), and the rest."""

_MAX_KEY_BYTES = 4096
_CHUNK_BYTES = 256 * 1024
_MAX_DEPTH = 256

_SPACE = re.compile(rb"[ \t\r\n]*+")
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# Up to the next bracket, or to a text that has not come to its end yet.
_NO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]*+")
_QUOTE = 0x22
_OPENING = b"{["
_BOM = b"\xef\xbb\xbf"


class HarEntry(NamedTuple):
    """One entry. number: from 1. offset: of its first byte."""

    number: int
    offset: int
    data: bytes


class _NotJsonError(Exception):
    """What stands here is no JSON; the message says what was expected."""


def read_entries(
    read: Callable[[int], bytes], max_entry_bytes: int = MAX_ENTRY_BYTES
) -> Iterator[HarEntry | Damage]:
    """Yield the entries of a document, and its damages where they stand.

    read: returns the next bytes, b"" at the end; what it raises is raised. An entry
    that is too long is stepped over; where the document is no JSON, it is given up.
    """
    walk = _Walk(read, max_entry_bytes)
    try:
        yield from walk.document()
    except _NotJsonError as error:
        where = f"at entry {walk.number}: " if walk.number else ""
        yield Damage(walk.offset, f"{where}{error}; the rest is given up", None)


class _Walk:
    """One walk through a document. Bytes stay in `_data` only as long as they are needed."""

    def __init__(self, read: Callable[[int], bytes], limit: int) -> None:
        self._read = read
        self._limit = limit
        self._data = bytearray()
        self._at = 0
        self._dropped = 0
        self._ended = False
        self._kept: int | None = None
        """Where in `_data` the value begins that is being kept, None for none."""
        self.number = 0

    @property
    def offset(self) -> int:
        return self._dropped + self._at

    def document(self) -> Iterator[HarEntry | Damage]:
        self._fill()
        if self._data.startswith(_BOM):
            self._at = len(_BOM)
        found = False
        self._expect(b"{", "no HAR: expected an object")
        for key in self._keys():
            if key != "log" or self._next() != b"{":
                self._skip()
                continue
            self._at += 1
            for inner in self._keys():
                if inner != "entries" or self._next() != b"[":
                    self._skip()
                    continue
                found = True
                self._at += 1
                yield from self._entries()
        if not found:
            raise _NotJsonError("no HAR: no list log.entries")
        if self._next():
            raise _NotJsonError("something behind the end of the document")

    def _keys(self) -> Iterator[str]:
        """Yield the keys of an object whose brace was taken; the caller takes each value."""
        first = True
        while (char := self._next()) != b"}":
            if not first:
                self._expect(b",", "expected a comma or a brace")
                char = self._next()
            if char != b'"':
                raise _NotJsonError("expected a key")
            first = False
            key = self._value(_MAX_KEY_BYTES)
            self._expect(b":", "expected a colon")
            try:
                yield "" if key is None else msgspec.json.decode(key, type=str)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise _NotJsonError("a key that is no text") from None
        self._at += 1

    def _entries(self) -> Iterator[HarEntry | Damage]:
        first = True
        while self._next() != b"]":
            if not first:
                self._expect(b",", "expected a comma or a bracket")
                self._next()
            first = False
            offset = self.offset
            self.number += 1
            data = self._value(self._limit)
            if data is None:
                reason = f"entry {self.number}: longer than {self._limit} bytes"
                yield Damage(offset, reason, 1)
            else:
                yield HarEntry(self.number, offset, data)
        self._at += 1

    # -- values ---------------------------------------------------------------------------

    def _value(self, limit: int) -> bytes | None:
        """Take a value and return it; None if it is longer than limit."""
        self._next()
        self._kept = self._at
        begin = self.offset
        self._skip(begin + limit)
        kept, self._kept = self._kept, None
        if kept is None or self.offset - begin > limit:
            return None
        return bytes(self._data[kept : self._at])

    def _skip(self, last: int | None = None) -> None:
        """Take a value. last: the offset that it may be kept up to."""
        char = self._next()
        if char == b'"':
            self._string(last)
        elif char and char in b"{[":
            self._container(last)
        else:
            if not char or char in b",:]}":
                raise _NotJsonError("expected a value")
            self._run(_SCALAR, last)

    def _container(self, last: int | None) -> None:
        depth = 0
        while True:
            # The loop that all of a document passes through: no call of ours in it.
            data, at, end = self._data, self._at, len(self._data)
            while (found := _NO_BRACKET.match(data, at)) is not None and found.end() < end:
                at = found.end()
                char = data[at]
                if char == _QUOTE:
                    break
                at += 1
                depth += 1 if char in _OPENING else -1
                if depth > _MAX_DEPTH:
                    raise _NotJsonError("nested too deeply")
                if depth == 0:
                    self._at = at
                    return
            self._at = at
            if at < end and data[at] == _QUOTE:
                self._string(last)
                continue
            self._run(_NO_BRACKET, last)
            if self._at >= len(self._data):
                raise _NotJsonError("the document ends too soon")

    def _string(self, last: int | None) -> None:
        self._at += 1
        while True:
            self._run(_IN_STRING, last)
            if self._at < len(self._data) and self._data[self._at] == _QUOTE:
                self._at += 1
                return
            # A backslash at the end of what has come: its letter follows.
            if not self._fill():
                raise _NotJsonError("the document ends within a text")

    def _run(self, pattern: re.Pattern[bytes], last: int | None) -> None:
        """Step over what a pattern takes, however far that goes."""
        while True:
            found = pattern.match(self._data, self._at)
            self._at = self._at if found is None else found.end()
            if self._kept is not None and last is not None and self.offset > last:
                self._kept = None
            if self._at < len(self._data) or not self._fill():
                return

    def _next(self) -> bytes:
        """Step over white space; return the byte that follows, b"" at the end."""
        self._run(_SPACE, None)
        return bytes(self._data[self._at : self._at + 1])

    def _expect(self, char: bytes, or_else: str) -> None:
        if self._next() != char:
            raise _NotJsonError(or_else)
        self._at += 1

    def _fill(self) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        gone = self._at if self._kept is None else self._kept
        del self._data[:gone]
        self._dropped += gone
        self._at -= gone
        if self._kept is not None:
            self._kept = 0
        part = self._read(_CHUNK_BYTES)
        self._data += part
        self._ended = not part
        return bool(part)
