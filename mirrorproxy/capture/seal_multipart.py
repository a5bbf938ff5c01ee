"""Multipart bodies: each part sealed as what it is, a sensitive part as one value.

Pure. Owns boundaries and the heads of parts (RFC 2046, 5.1; RFC 7578). What a
part holds is handed to the scanner for its own content type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote_to_bytes

from mirrorproxy.capture.seal_policy import Mode
from mirrorproxy.capture.seal_text import Guard
from mirrorproxy.capture.seal_values import MAX_SECRET_BYTES, Findings, Unsealable

MAX_PART_HEAD = 64 * 1024

_NAME = re.compile(
    rb";[ \t]*name(\*?)[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^;\s]*))", re.IGNORECASE
)
_HEADER = re.compile(rb"^([!-9;-~]+)[ \t]*:[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class Scanner(Protocol):
    """Seals one kind of body piece by piece. Both methods raise Unsealable."""

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is sealed."""

    def finish(self) -> bytes:
        """Return the rest."""


class MultipartScanner:
    """Seals a multipart body piece by piece. Holds back a part's head, or a secret, at most.

    open_part: returns the scanner for a part by its content type ("" when it
    names none) and transfer encoding.
    """

    __slots__ = (
        "_delimiter", "_found", "_head", "_held", "_ignored", "_in_parts", "_mode", "_name",
        "_open_part", "_part", "_secret",
    )  # fmt: skip

    def __init__(
        self, found: Findings, boundary: bytes, open_part: Callable[[str, str], Scanner]
    ) -> None:
        self._found = found
        self._open_part = open_part
        # Lenient about bare LF, as some servers are.
        self._delimiter = re.compile(
            rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)"
        )
        self._held = b""
        self._head = False  # within a part's head
        self._in_parts = False
        self._part: Scanner | None = None
        self._mode: Mode | None = None
        self._name = ""
        self._secret = b""
        # Readers ignore what stands before the first part and after the last.
        self._ignored = Guard(found)

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is sealed. Raises Unsealable."""
        self._held += data
        return self._advance(final=False)

    def finish(self) -> bytes:
        """Return the rest. Raises Unsealable."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> bytes:
        out: list[bytes] = []
        while self._held:
            if self._head:
                if not self._take_head(out, final):
                    break
                continue
            found = self._delimiter.search(self._held)
            if found and (final or found.end() < len(self._held) - 1):
                out += (self._content(self._held[: found.start()]), self._end_part(), found[0])
                self._held = self._held[found.end() :]
                self._in_parts = True
                self._head = found[1] is None
                continue
            keep = 0 if final else self._may_begin_delimiter()
            cut = len(self._held) - keep
            out.append(self._content(self._held[:cut]))
            self._held = self._held[cut:]
            break
        if final:
            out.append(self._end_part())
        return b"".join(out)

    def _may_begin_delimiter(self) -> int:
        """Return how many bytes at the end may belong to a delimiter that is not whole yet."""
        window = min(len(self._held), 512)
        line = self._held.rfind(b"\n", len(self._held) - window)
        if line < 0:
            return window if not self._in_parts else min(window, 1)
        start = line - 1 if line and self._held[line - 1 : line] == b"\r" else line
        return len(self._held) - start

    def _take_head(self, out: list[bytes], final: bool) -> bool:
        # The line break after the delimiter is the head's: an empty head ends at once.
        end = _HEAD_END.search(self._held)
        if end is None:
            if not final and len(self._held) <= MAX_PART_HEAD:
                return False
            if final and len(self._held) <= MAX_PART_HEAD:
                out.append(self._held)
                self._held = b""
                return False
            raise Unsealable("a part's head is too long")
        head, self._held = self._held[: end.end()], self._held[end.end() :]
        out.append(head)
        self._head = False
        self._begin_part(_FOLD.sub(b" ", head))
        return True

    def _begin_part(self, head: bytes) -> None:
        headers = {name.lower(): value for name, value in _HEADER.findall(head)}
        self._name, self._mode, self._secret = "", None, b""
        for star, quoted, bare in _NAME.findall(headers.get(b"content-disposition", b"")):
            name = re.sub(rb"\\(.)", rb"\1", quoted) or bare
            if star:
                name = unquote_to_bytes(name.rpartition(b"'")[2])
            elif b"%" in name:
                name = unquote_to_bytes(name)
            mode = self._found.names.field(name)
            if mode is not None:
                self._name, self._mode = name.decode("utf-8", "replace"), mode
        self._part = None
        if self._mode is None:
            self._part = self._open_part(
                headers.get(b"content-type", b"").decode("latin-1"),
                headers.get(b"content-transfer-encoding", b"").decode("latin-1"),
            )

    def _content(self, data: bytes) -> bytes:
        if not data:
            return data
        if self._part is not None:
            return self._part.feed(data)
        if self._mode is None:
            self._ignored.check(data)
            return data
        self._secret += data
        if len(self._secret) > MAX_SECRET_BYTES:
            raise Unsealable("a secret is too long")
        return b""

    def _end_part(self) -> bytes:
        part, self._part = self._part, None
        if part is not None:
            return part.finish()
        mode, self._mode = self._mode, None
        secret, self._secret = self._secret, b""
        return self._found.replace(self._name, secret, mode) if mode and secret else b""
