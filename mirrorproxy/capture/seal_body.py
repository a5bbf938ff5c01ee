"""Bodies: which scanner a body needs, and the body sealed whole or piece by piece.

Pure. The content type is a hint, not trusted: clients send JSON as a form or as
nothing at all, so the beginning of the body is looked at too.
"""

from __future__ import annotations

import functools
import re

from mirrorproxy.capture.seal_form import FormScanner
from mirrorproxy.capture.seal_json import JsonScanner, seal_json
from mirrorproxy.capture.seal_multipart import MultipartScanner, Scanner
from mirrorproxy.capture.seal_policy import ESCAPED, MARKED, NAMED, TOKENED, Names
from mirrorproxy.capture.seal_stages import (
    Inflater,
    LookedInto,
    MarkScanner,
    Opaque,
    TextScanner,
    TokenScanner,
    Watched,
    WideText,
    is_gzip,
)
from mirrorproxy.capture.seal_text import replace_marks, replace_tokens
from mirrorproxy.capture.seal_values import Findings, Unsealable
from mirrorproxy.record import Credential

UNSEALABLE = "unsealable"

SNIFFED_BYTES = 512
"""How much of a body is looked at before it is decided what it is."""

_MAX_LEVEL = 2
_MAX_BOUNDARY = 200  # RFC 2046 allows 70
_MAX_TYPE = 1024

_boundary = re.compile(r";\s*boundary\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;\s]+))", re.IGNORECASE)
_sniffed_boundary = re.compile(rb"--([!-~]{1,200}?)[ \t]*\r?\n(?=[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-)")
_form_begun = re.compile(rb"[\w%.+~*\[\]-]{1,256}=[^\s<>{}\"]*(?:\Z|&|\r?\n?\Z)")
_WIDE_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
_OPAQUE_TYPES = ("image/", "audio/", "video/", "font/", "application/pdf", "application/wasm")
_TEXT_TYPES = ("text/", "application/javascript", "application/graphql")


@functools.lru_cache(512)
def _kind(content_type: str) -> str:
    """Return json, form, multipart, xml, text, opaque, or "" where the body itself must tell."""
    kind = content_type.partition(";")[0].strip().lower()
    if "json" in kind:
        return "json"
    if kind == "application/x-www-form-urlencoded":
        return "form"
    if kind.startswith("multipart/"):
        return "multipart"
    if kind.endswith(("/xml", "+xml")) and not kind.startswith(("image/", "application/xhtml")):
        return "xml"
    if kind.startswith(_OPAQUE_TYPES):
        return "opaque"
    return "text" if kind.startswith(_TEXT_TYPES) and kind != "text/plain" else ""


def is_plainly_json(data: bytes, content_type: str | None) -> bool:
    """Tell whether a body is JSON in an encoding whose letters are ASCII, by type and beginning."""
    return (
        content_type is not None
        and data[:1] in (b"{", b"[")
        and data[1:2] != b"\0"
        and _may_be_json(content_type)
    )


@functools.lru_cache(maxsize=256)
def _may_be_json(content_type: str) -> bool:
    return len(content_type) < _MAX_TYPE and _kind(content_type) in ("json", "form", "")


def _wide_charset(beginning: bytes) -> str | None:
    """Return the encoding of a text whose letters have two or four bytes.

    Told by the body alone: a wrong charset in the content type would hide names.
    """
    for mark, charset in _WIDE_MARKS:
        if beginning.startswith(mark):
            return charset
    window = beginning[:64]
    if len(window) < 2 or b"\0" not in window:
        return None
    if beginning[:4].count(b"\0") == 3:
        return "utf-32-be" if beginning[:1] == b"\0" else "utf-32-le"
    odd, even = window[1::2].count(b"\0"), window[::2].count(b"\0")
    if odd > len(window) // 5 and odd > 2 * even:
        return "utf-16-le"
    return "utf-16-be" if even > len(window) // 5 and even > 2 * odd else None


def open_scanner(found: Findings, beginning: bytes, content_type: str, level: int = 0) -> Scanner:
    """Return the scanner for a body that is not compressed.

    beginning: its first `SNIFFED_BYTES`, or all of it. level: 0 for a body, 1
    for a part of one.
    """
    content_type = content_type[:_MAX_TYPE]
    kind = _kind(content_type)
    # The one rule for whole bodies and for those in pieces: NULs further on do not
    # make JSON of single bytes a wide text, in which its names would go unseen.
    is_narrow = kind == "opaque" or is_plainly_json(beginning, content_type)
    charset = None if is_narrow else _wide_charset(beginning)
    if charset is not None:
        inner = content_type.partition(";")[0]
        wide = WideText(charset)
        return LookedInto(found, wide.decode, lambda probe: Sniffing(probe, inner, level + 1))
    if kind == "multipart":
        return _open_multipart(found, content_type, level)
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] in (b"{", b"[") or kind == "json":
        return JsonScanner(found)
    if kind == "form":
        return FormScanner(found)
    if is_gzip(beginning):
        return _look_into_compressed(found, "", level)
    if kind == "opaque":
        return Opaque()
    if kind == "xml" or (kind == "" and _is_xml(start)):
        return Watched(found, is_xml=True)
    sniffed = _sniffed_boundary.match(start) if kind == "" else None
    if sniffed:
        return _parts(found, sniffed[1], level)
    if kind == "" and _form_begun.match(start):
        return FormScanner(found)
    return Opaque() if b"\0" in beginning else TextScanner(found)


def _is_xml(start: bytes) -> bool:
    lower = start[:64].lower()
    if lower.startswith((b"<!doctype html", b"<html")):
        return False
    return lower.startswith(b"<") and lower[1:2] in b"?!abcdefghijklmnopqrstuvwxyz_"


def _open_multipart(found: Findings, content_type: str, level: int) -> Scanner:
    boundaries = _boundary.findall(content_type)
    if len(boundaries) != 1 or level >= _MAX_LEVEL:
        return Watched(found, is_strict=True)
    quoted, bare = boundaries[0]
    boundary = re.sub(r"\\(.)", r"\1", quoted) or bare
    if not boundary or len(boundary) > _MAX_BOUNDARY:
        return Watched(found, is_strict=True)
    return _parts(found, boundary.encode("latin-1", "replace"), level)


def _parts(found: Findings, boundary: bytes, level: int) -> Scanner:
    def open_part(content_type: str, transfer_encoding: str) -> Scanner:
        encoding = transfer_encoding.strip().lower()
        if encoding in ("base64", "quoted-printable"):
            return Opaque() if _kind(content_type[:_MAX_TYPE]) == "opaque" else _Encoded(found)
        if content_type.lower().startswith(("application/http", "message/")):
            return Watched(found, is_strict=True)
        return Sniffing(found, content_type, level + 1)

    return MultipartScanner(found, boundary, open_part)


class _Encoded(Opaque):
    """A part in base64 or quoted-printable that may be a text: it is not looked into."""

    def __init__(self, found: Findings) -> None:
        self._found = found

    def feed(self, data: bytes) -> bytes:
        raise Unsealable("a part in a transfer encoding is not looked into")


def _look_into_compressed(found: Findings, content_type: str, level: int) -> Scanner:
    if level >= _MAX_LEVEL:
        return Watched(found, is_strict=True)
    return LookedInto(
        found,
        Inflater().decode,
        lambda probe: _Tokens(probe, content_type, level + 1),
    )


class Sniffing:
    """Waits for the beginning of a body, then seals it as what it is."""

    def __init__(self, found: Findings, content_type: str, level: int = 0) -> None:
        self._found = found
        self._content_type = content_type
        self._level = level
        self._held = b""
        self._scanner: Scanner | None = None

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is sealed. Raises Unsealable."""
        if self._scanner is not None:
            return self._scanner.feed(data)
        self._held += data
        return b"" if len(self._held) < SNIFFED_BYTES else self._open()

    def finish(self) -> bytes:
        """Return the rest. Raises Unsealable."""
        first = b"" if self._scanner is not None else self._open()
        return first if self._scanner is None else first + self._scanner.finish()

    def _open(self) -> bytes:
        held, self._held = self._held, b""
        beginning = held[:SNIFFED_BYTES]
        self._scanner = open_scanner(self._found, beginning, self._content_type, self._level)
        return self._scanner.feed(held) if held else b""


class _Tokens:
    """A body with its forged marks, its structure and its tokens sealed, in this order."""

    def __init__(self, found: Findings, content_type: str, level: int = 0) -> None:
        self._marks = MarkScanner(found)
        self._structure: Scanner = Sniffing(found, content_type, level)
        self._tokens = TokenScanner(found)

    def feed(self, data: bytes) -> bytes:
        return self._tokens.feed(self._structure.feed(self._marks.feed(data)))

    def finish(self) -> bytes:
        last = self._structure.feed(self._marks.finish()) + self._structure.finish()
        return self._tokens.feed(last) + self._tokens.finish()


def codings(content_encoding: str | None) -> list[str]:
    """Return the content codings of a body, identity left out."""
    if not content_encoding:
        return []
    return [
        coding
        for part in content_encoding.lower().split(",")
        if (coding := part.strip()) not in ("", "identity", "none", "aws-chunked")
    ]


class BodyStream:
    """Seals a body that is too large for memory, piece by piece.

    omitted: why it is not recorded, as soon as that is known; nothing is
    returned from then on, and what was returned before holds no secret.
    """

    def __init__(
        self, found: Findings, content_type: str | None, content_encoding: str | None
    ) -> None:
        self.omitted: str | None = None
        self._found = found
        self._scanner: Scanner | None = open_body(found, content_type, content_encoding)
        if self._scanner is None:
            self.omitted = UNSEALABLE

    @property
    def credentials(self) -> list[Credential]:
        """What was sealed so far."""
        return self._found.credentials

    def feed(self, data: bytes) -> bytes:
        """Take more of the body; return what is sealed so far."""
        if self._scanner is None:
            return b""
        try:
            return self._scanner.feed(data)
        except Unsealable:
            return self._give_up()

    def finish(self) -> bytes:
        """Return the rest."""
        if self._scanner is None:
            return b""
        try:
            return self._scanner.finish()
        except Unsealable:
            return self._give_up()

    def _give_up(self) -> bytes:
        self._scanner = None
        self.omitted = UNSEALABLE
        return b""


def open_body(
    found: Findings, content_type: str | None, content_encoding: str | None
) -> Scanner | None:
    """Return the scanner for a whole body; None where nobody can look into it (br, zstd)."""
    encodings = codings(content_encoding)
    if not encodings:
        return _Tokens(found, content_type or "")
    if len(encodings) == 1 and encodings[0] in ("gzip", "x-gzip", "deflate"):
        return _look_into_compressed(found, content_type or "", 0)
    return None


def is_clean_json(
    names: Names, data: bytes, content_type: str | None, content_encoding: str | None
) -> bool:
    """Tell whether a body is JSON in which nothing even hints at a secret: nearly every one."""
    return not content_encoding and is_plainly_json(data, content_type) and not names.signs(data)


def seal_body(
    found: Findings, data: bytes, content_type: str | None, content_encoding: str | None
) -> bytes:
    """Return a whole body sealed. Raises Unsealable."""
    if not content_encoding and is_plainly_json(data, content_type):
        signs = found.names.signs(data)
        if MARKED in signs:
            data = replace_marks(data, found)
        if NAMED in signs or ESCAPED in signs:
            data = seal_json(data, found)
        return replace_tokens(data, found) if TOKENED in signs else data
    scanner = open_body(found, content_type, content_encoding)
    if scanner is None:
        raise Unsealable("a content coding that cannot be looked into")
    return scanner.feed(data) + scanner.finish()
