"""Marks: what stands in a record where a secret stood, ``{h1:<key id>:<digest>}``.

Owns the spelling of marks and fingerprints, for those who write them and those
who look for them. Never sees a secret or a key.

A fingerprint is a mark without its braces. Every mark in a record was made by
sealing: text of a client's that looks like one is sealed itself, so that it
comes out as the mark of that text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

VERSION = "h1"
"""BLAKE2b of 16 bytes, keyed; another construction would get another name."""

KEY_ID_DIGITS = 4
DIGEST_DIGITS = 32

_FINGERPRINT = r"h1:([0-9a-f]{4,}):([0-9a-f]{16,})"

PATTERN = re.compile(r"\{" + _FINGERPRINT + r"\}", re.ASCII)
"""A mark in text. Groups: key id, digest."""

PATTERN_BYTES = re.compile(PATTERN.pattern.encode())
"""A mark in a decoded body. Groups: key id, digest."""

_BARE = re.compile(_FINGERPRINT, re.ASCII)

# Wider than PATTERN, as the last check before sending: marks that a rewrite
# percent-encoded or JSON-escaped, and marks with a digest of another length.
_TRACE = r"(?:\{|%7b|\\u007b)h1(?::|%3a)[0-9a-f]{4,}(?::|%3a)[0-9a-f]"
_TRACE_TEXT = re.compile(_TRACE, re.IGNORECASE | re.ASCII)
_TRACE_BYTES = re.compile(_TRACE.encode(), re.IGNORECASE)


class Mark(NamedTuple):
    """One mark: which key made it, the digest, and where it stands in the searched text."""

    key_id: str
    digest: str
    start: int
    end: int

    @property
    def fingerprint(self) -> str:
        """The mark without its braces, as in a record's credentials."""
        return f"{VERSION}:{self.key_id}:{self.digest}"


def mark_of(fingerprint: str) -> str:
    """Return the mark for a fingerprint."""
    return "{" + fingerprint + "}"


def find_marks(text: str | bytes) -> list[Mark]:
    """Return every mark in text, or in a decoded body, from left to right.

    start and end count characters of text, or bytes of a body.
    """
    if isinstance(text, bytes):
        return [
            Mark(found[1].decode(), found[2].decode(), found.start(), found.end())
            for found in PATTERN_BYTES.finditer(text)
        ]
    return [
        Mark(found[1], found[2], found.start(), found.end()) for found in PATTERN.finditer(text)
    ]


def parse_mark(text: str) -> Mark | None:
    """Return the mark that text is, braces included, or None if it is anything else."""
    found = PATTERN.fullmatch(text)
    return Mark(found[1], found[2], 0, len(text)) if found else None


def parse_fingerprint(text: str) -> tuple[str, str] | None:
    """Return (key id, digest) of a fingerprint, or None if text is not one."""
    found = _BARE.fullmatch(text)
    return (found[1], found[2]) if found else None


def is_sealed(value: str) -> bool:
    """Tell whether a value is a mark and nothing else, such as a cookie's or a field's."""
    return PATTERN.fullmatch(value) is not None


def contains_mark(text: str | bytes) -> bool:
    """Tell whether text, or a decoded body, holds a mark or the trace of one.

    Finds percent-encoded and JSON-escaped marks too: this is the last check
    before anything is sent.
    """
    if isinstance(text, bytes):
        if b"h1" not in text and b"H1" not in text:
            return False
        return _TRACE_BYTES.search(text) is not None
    if "h1" not in text and "H1" not in text:
        return False
    return _TRACE_TEXT.search(text) is not None
