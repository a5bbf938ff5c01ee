"""Free text: tokens, forged marks, ``name=value`` and user names in URLs, wherever they stand.

Pure. Everything here runs in linear time whatever the text: each byte is looked
at a bounded number of times.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from mirrorproxy.capture.seal_values import Findings, Unsealable
from mirrorproxy.marks import PATTERN_BYTES

MAX_TOKEN_BYTES = 64 * 1024
"""Letters of a token are looked at this far; no server takes a longer one."""

Span = tuple[int, int, bytes]
"""Start, end, and what takes the place of what stood between them."""

# Five parts at most: a run of many is not looked through anew from each of its parts.
_RUN = re.compile(rb"[\w-]*+(?:\.[\w-]*+){0,4}+")
# Never tried from within a run of name letters: that would make long runs quadratic.
_NAME = re.compile(rb"(?<![\w.\-\[\]%])([\w.\-\[\]%]++)(?:=|[ \t]*+:[ \t]*+(?=[\"\d]))")
_VALUE = re.compile(rb"\"([^\"\r\n]*+)\"|([^&\s\"'<>;,\\|]++)")
_USERINFO = re.compile(rb"//([^/?#\s\"'<>\\]+)@")
_LOOSE_NAME = re.compile(rb"(?<![\w.\-\[\]%])([\w.\-\[\]%]++)[\s\\\"']{0,8}+(?:[=:]|%3[aAdD])")
_XML_NAME = re.compile(rb"(?<![\w.\-:])([\w.\-:]++)(?=\s|>|/>|\s*=)")
_ESCAPED_LETTER = re.compile(rb"\\u00[2-7]")
_CONTEXT = 2048


def replace_tokens(text: bytes, found: Findings) -> bytes:
    """Return text with every JWT (JWS or JWE) replaced, whatever stands around it."""
    if b"eyJ" not in text:
        return text
    out: list[bytes] = []
    copied = at = 0
    while (at := text.find(b"eyJ", at)) >= 0:
        run = text[at : token_run(text, at)]
        length = token_length(run)
        if length:
            out += (text[copied:at], found.replace("jwt", run[:length], "seal"))
            copied = at = at + length
        else:
            at = past_token(run, at)
    if not out:
        return text
    out.append(text[copied:])
    return b"".join(out)


def token_run(text: bytes, at: int) -> int:
    """Return where the letters end that a token beginning at `at` may have."""
    run = _RUN.match(text, at, at + MAX_TOKEN_BYTES)
    return run.end() if run else at


def token_length(run: bytes) -> int:
    """Return how many bytes of a run that begins with ``eyJ`` are a token; 0 for none.

    A JWS is two parts that begin like JSON and a signature; without it (cut, or
    unsigned) it still tells about a person. A JWE has five parts.
    """
    parts = run.split(b".")
    if len(parts) >= 2 and parts[1].startswith(b"eyJ"):
        return len(b".".join(parts[:3]))
    return len(run) if len(parts) == 5 and all(parts[2:]) else 0


def past_token(run: bytes, at: int) -> int:
    """Return where to look on after a run at `at` that is no token: behind its first part."""
    dot = run.find(b".")
    return at + (dot if dot >= 0 else len(run))


def replace_marks(text: bytes, found: Findings) -> bytes:
    """Return text with whatever looks like a mark sealed, so that no mark is a client's."""
    if b"{h1:" not in text:
        return text
    return PATTERN_BYTES.sub(lambda mark: found.replace("mark", mark[0], "seal"), text)


def replace_pairs(text: bytes, found: Findings) -> bytes:
    """Return text with the values of sensitive ``name=value`` replaced."""
    return splice(text, pair_spans(text, found)) if b"=" in text or b":" in text else text


def replace_userinfo(text: bytes, found: Findings) -> bytes:
    """Return text with what stands before the ``@`` of every ``//user:secret@host`` replaced."""
    if b"@" not in text or b"//" not in text:
        return text
    return _USERINFO.sub(
        lambda part: b"//" + found.replace("userinfo", unquote_to_bytes(part[1]), "seal") + b"@",
        text,
    )


def pair_spans(text: bytes, found: Findings) -> list[Span]:
    """Return what replaces the values of sensitive ``name=value`` in text, from left to right."""
    spans: list[Span] = []
    copied = 0
    for name in _NAME.finditer(text):
        key = unquote_to_bytes(name[1]) if b"%" in name[1] else name[1]
        mode = found.names.field(key, in_query=True)
        value = _VALUE.match(text, name.end()) if mode and name.start() >= copied else None
        if mode is None or value is None:
            continue
        group = 1 if value[2] is None else 2
        bare = unquote_to_bytes(value[group]) if b"%" in value[group] else value[group]
        copied = value.end(group)
        mark = found.replace(key.decode("utf-8", "replace"), bare, mode)
        spans.append((value.start(group), copied, mark))
    return spans


def splice(text: bytes, spans: list[Span], end: int | None = None) -> bytes:
    """Return text up to end with each (start, end, replacement) put in its place."""
    if not spans:
        return text if end is None else text[:end]
    out: list[bytes] = []
    copied = 0
    for start, stop, replacement in spans:
        out += (text[copied:start], replacement)
        copied = stop
    out.append(text[copied:end])
    return b"".join(out)


class Guard:
    """Watches text whose grammar is unknown; gives up as soon as it names a secret.

    Text that it has let pass named none up to there, so that no part of a
    secret is among it.
    """

    __slots__ = ("_found", "_names", "_tail")

    def __init__(self, found: Findings, *, is_xml: bool = False) -> None:
        self._found = found
        self._names = (_XML_NAME,) if is_xml else (_LOOSE_NAME,)
        self._tail = b""

    def check(self, data: bytes) -> None:
        """Take more text. Raises Unsealable if a sensitive name with a value stands in it."""
        text = self._tail + data
        self._tail = text[-_CONTEXT:]
        if not self._found.names.signs(text):
            return
        if _ESCAPED_LETTER.search(text):
            raise Unsealable("names are escaped in a body that cannot be parsed")
        for pattern in self._names:
            for name in pattern.finditer(text):
                if self._found.names.field(unquote_to_bytes(name[1].strip(b"\\")), in_query=True):
                    raise Unsealable("a secret stands where it cannot be replaced")
