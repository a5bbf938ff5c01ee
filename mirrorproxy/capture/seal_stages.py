"""Scanners that need no grammar: text by lines, tokens, forged marks, bodies looked into only.

Pure. Each takes a body in pieces, cut anywhere, and gives the same bytes as if
it had come whole. None holds back more than 1 MiB.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator

from mirrorproxy.capture.seal_html import replace_fields
from mirrorproxy.capture.seal_multipart import Scanner
from mirrorproxy.capture.seal_text import (
    MAX_TOKEN_BYTES,
    Guard,
    past_token,
    replace_marks,
    replace_pairs,
    replace_tokens,
    token_length,
    token_run,
)
from mirrorproxy.capture.seal_values import MAX_SECRET_BYTES, Findings, Unsealable

MAX_INFLATED_BYTES = 16 << 20
MAX_RATIO = 40
"""Texts compress to a tenth; what grows more is a bomb, or nothing that holds a secret."""

_RATIO_SLACK = 256 * 1024
_PIECE = 256 * 1024
_MAX_LINE = 64 * 1024
_MAX_HELD = 4 * MAX_SECRET_BYTES  # of an encoded body; encoding does not lengthen a text so much
_mark_begun = re.compile(rb"\{(?:h(?:1(?::[0-9a-f]*+(?::[0-9a-f]*+)?)?)?)?\Z")


class Opaque:
    """Passes on what has no text in it that could be understood."""

    def feed(self, data: bytes) -> bytes:
        """Return it unchanged."""
        return data

    def finish(self) -> bytes:
        """Return nothing: nothing is held back."""
        return b""


class Watched(Opaque):
    """Passes on text that cannot be sealed in place, until it names a secret.

    is_xml: names stand in tags too. is_strict: any letters of a sensitive name
    are too much, as where a body is not what it says it is.
    """

    def __init__(self, found: Findings, *, is_xml: bool = False, is_strict: bool = False) -> None:
        self._found = found
        self._is_strict = is_strict
        self._tail = b""
        self._guards = [Guard(found), *([Guard(found, is_xml=True)] if is_xml else [])]

    def feed(self, data: bytes) -> bytes:
        """Return it unchanged. Raises Unsealable."""
        if self._is_strict:
            text = self._tail + data
            if self._found.names.signs(text):
                raise Unsealable("a body that cannot be parsed may hold a secret")
            self._tail = text[-256:]
        for guard in self._guards:
            guard.check(data)
        return data


class TextScanner:
    """Seals ``name=value`` and HTML's fields, line by line; a line over 64 KiB is watched only."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._held = b""
        self._guard: Guard | None = None

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is sealed. Raises Unsealable."""
        passed = b""
        if self._guard is not None:
            end = data.find(b"\n") + 1
            passed, data = (data[:end], data[end:]) if end else (data, b"")
            self._guard.check(passed)
            if end:
                self._guard = None
        self._held += data
        end = self._held.rfind(b"\n") + 1
        lines, self._held = self._held[:end], self._held[end:]
        passed += self._seal(lines)
        if len(self._held) > _MAX_LINE:
            self._guard = Guard(self._found)
            self._guard.check(self._held)
            passed += self._held
            self._held = b""
        return passed

    def finish(self) -> bytes:
        """Return the rest."""
        rest, self._held = self._held, b""
        return self._seal(rest)

    def _seal(self, text: bytes) -> bytes:
        if not text or not self._found.names.signs(text):
            return text
        return replace_pairs(replace_fields(text, self._found), self._found)


class TokenScanner:
    """Replaces tokens, see `seal_text.replace_tokens`."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is sealed."""
        text = self._held + data if self._held else data
        hold = self._begun(text)
        self._held = text[hold:]
        return replace_tokens(text[:hold], self._found)

    def finish(self) -> bytes:
        """Return the rest."""
        rest, self._held = self._held, b""
        return replace_tokens(rest, self._found)

    def _begun(self, text: bytes) -> int:
        """Return from where on a token may be unfinished."""
        at = 0
        while (at := text.find(b"eyJ", at)) >= 0:
            end = token_run(text, at)
            if end == len(text) and end - at < MAX_TOKEN_BYTES:
                return at
            run = text[at:end]
            length = token_length(run)
            at = at + length if length else past_token(run, at)
        for begun in (b"ey", b"e"):
            if text.endswith(begun):
                return len(text) - len(begun)
        return len(text)


class MarkScanner:
    """Replaces what looks like a mark, see `seal_text.replace_marks`."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is sealed. Raises Unsealable."""
        text = self._held + data if self._held else data
        brace = text.rfind(b"{")
        hold = brace if brace >= 0 and _mark_begun.match(text, brace) else len(text)
        if len(text) - hold > MAX_SECRET_BYTES:
            raise Unsealable("what looks like a mark does not end")
        self._held = text[hold:]
        return replace_marks(text[:hold], self._found)

    def finish(self) -> bytes:
        """Return the rest."""
        rest, self._held = self._held, b""
        return replace_marks(rest, self._found)


class LookedInto:
    """Passes on an encoded body whose content holds no secret.

    Its bytes are held until the inner scanner has let go of all that they
    decode to, and one piece longer: the end of a piece may hold the beginning
    of what only the next one completes.

    decode: yields what more bytes decode to, b"" ends the body; raises Unsealable.
    """

    def __init__(
        self,
        found: Findings,
        decode: Callable[[bytes], Iterator[bytes]],
        open_inner: Callable[[Findings], Scanner],
    ) -> None:
        self._probe = found.probe()
        self._inner: Scanner = open_inner(self._probe)
        self._decode = decode
        self._decoded = 0
        self._let_go = 0
        self._held: deque[tuple[bytes, int]] = deque()  # with how much was decoded up to their end
        self._held_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is known to be clean. Raises Unsealable."""
        self._look(data)
        self._held.append((data, self._decoded))
        passed: list[bytes] = []
        while len(self._held) > 1 and self._held[0][1] <= self._let_go:
            passed.append(self._held.popleft()[0])
        clean = b"".join(passed)
        self._held_bytes += len(data) - len(clean)
        if len(self._held) > 1 and self._held_bytes > _MAX_HELD:
            raise Unsealable("an encoded body goes on and on without saying anything")
        return clean

    def finish(self) -> bytes:
        """Return the rest. Raises Unsealable."""
        self._look(b"")
        self._inner.finish()
        self._judge()
        return b"".join(data for data, _ in self._held)

    def _look(self, data: bytes) -> None:
        for piece in self._decode(data):
            self._decoded += len(piece)
            # Where nothing was sealed, what comes out is as long as what went in.
            self._let_go += len(self._inner.feed(piece))
            self._judge()

    def _judge(self) -> None:
        if self._probe.sealed:
            raise Unsealable("an encoded body holds a secret")


def is_gzip(beginning: bytes) -> bool:
    """Tell whether a body begins as gzip does: a method and flags that exist (RFC 1952, 2.3)."""
    return beginning[:3] == b"\x1f\x8b\x08" and not beginning[3:4] > b"\x1f"


class Inflater:
    """Decompresses gzip (of several members) and deflate, with or without zlib's frame.

    The first two bytes of a member decide what it is, however they come.
    """

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._is_first = True
        self._begun = b""  # of a member: less than tells what it is
        self._taken = 0
        self._given = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what more bytes hold. Raises Unsealable if they are broken or grow too much."""
        self._taken += len(data)
        while data:
            if self._stream is None:
                data = self._begun + data
                if not self._is_first:
                    data = data.lstrip(b"\0")  # what pads a member
                if len(data) < 2:
                    self._begun = data
                    return
                self._begun = b""
                self._stream = zlib.decompressobj(wbits=_window_bits(data))
            try:
                piece = self._stream.decompress(data, _PIECE)
            except zlib.error:
                raise Unsealable("a compressed body is broken") from None
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = None
                self._is_first = False
            self._given += len(piece)
            if self._given > min(MAX_INFLATED_BYTES, self._taken * MAX_RATIO + _RATIO_SLACK):
                raise Unsealable("a compressed body is too large inside")
            if piece:
                yield piece


def _window_bits(beginning: bytes) -> int:
    if beginning[:2] == b"\x1f\x8b":
        return 31
    has_frame = beginning[0] & 15 == 8 and (beginning[0] << 8 | beginning[1]) % 31 == 0
    return 15 if has_frame else -15  # RFC 1950, 2.2


class WideText:
    """Turns UTF-16 and UTF-32 into UTF-8."""

    def __init__(self, charset: str) -> None:
        self._decoder = codecs.getincrementaldecoder(charset)("replace")

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the text of more bytes; b"" ends it."""
        text = self._decoder.decode(data, final=not data)
        if text:
            yield text.encode("utf-8", "replace")
