"""Forms and query strings: ``name=value&...``, sealed pair by pair.

Pure. Names and values are compared and hashed unescaped; every byte outside a
secret stays as it was. A pair that hides a secret in a way that cannot be
replaced in place (a URL or JSON within the value) is sealed as a whole.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from mirrorproxy.capture.seal_json import JsonScanner
from mirrorproxy.capture.seal_policy import Names
from mirrorproxy.capture.seal_text import Guard, replace_userinfo
from mirrorproxy.capture.seal_values import MAX_SECRET_BYTES, Findings, Unsealable

_MAX_DEPTH = 3
"""How often a URL within a URL is unescaped; what lies deeper counts as a secret."""

# Some servers part pairs at `;`, and `?` or `#` begin the query of a URL within a value.
_INNER = re.compile(rb"[;?#&]")
_PLAIN = re.compile(rb"[\w.,+\-\[\]!~*() ]*+")


def unescape(text: bytes) -> bytes:
    """Return a form's name or value unescaped."""
    if b"+" in text:
        text = text.replace(b"+", b" ")
    return unquote_to_bytes(text) if b"%" in text else text


def seal_pairs(text: bytes, found: Findings, *, in_query: bool = False, depth: int = 0) -> bytes:
    """Return a query or form with its secrets replaced."""
    if is_clean(text, found.names):
        return text
    if b"&" not in text:
        return _seal_pair(text, found, in_query, depth)
    return b"&".join(_seal_pair(pair, found, in_query, depth) for pair in text.split(b"&"))


def is_clean(text: bytes, names: Names) -> bool:
    """Tell whether nothing sensitive stands in text, unescaped as often as it is looked into."""
    for _ in range(_MAX_DEPTH + 1):
        if names.signs(text) or (b"@" in text and b"//" in text):
            return False
        if b"%" not in text:
            return True
        text = unquote_to_bytes(text)
    return True


def _seal_pair(pair: bytes, found: Findings, in_query: bool, depth: int) -> bytes:
    name, equals, value = pair.partition(b"=")
    key = unescape(name)
    mode = found.names.field(key, in_query=in_query) if value else None
    if mode is not None:
        sealed = found.replace(key.decode("utf-8", "replace"), unescape(value), mode)
        return name + equals + sealed
    if _PLAIN.fullmatch(value) and _PLAIN.fullmatch(key):
        return pair
    if not equals:
        name, value = b"", pair
    # Escaped twice, or JSON: what lies in there has no bytes of its own to replace.
    text = unescape(value)
    if (b"%" in value or text.lstrip()[:1] in {b"{", b"["}) and _hides_secret(text, found, depth):
        return name + equals + found.replace(key.decode("utf-8", "replace"), text, "seal")
    return _inner(pair, found, in_query)


def _inner(pair: bytes, found: Findings, in_query: bool) -> bytes:
    """Seal pairs within a pair, as servers see them that part at other signs than ``&``."""
    out: list[bytes] = []
    at = 0
    for separator in _INNER.finditer(pair):
        out += (_inner_pair(pair[at : separator.start()], found, in_query), separator[0])
        at = separator.end()
    out.append(_inner_pair(pair[at:], found, in_query))
    text = b"".join(out)
    return replace_userinfo(text, found) if b"@" in text and b"//" in text else text


def _inner_pair(pair: bytes, found: Findings, in_query: bool) -> bytes:
    name, equals, value = pair.partition(b"=")
    key = unescape(name)
    mode = found.names.field(key, in_query=in_query) if value else None
    if mode is None:
        return pair
    return name + equals + found.replace(key.decode("utf-8", "replace"), unescape(value), mode)


def _hides_secret(value: bytes, found: Findings, depth: int) -> bool:
    """Tell whether an unescaped value holds a secret within an encoding of its own."""
    probe = found.probe()
    start = value.lstrip()[:1]
    if start in {b"{", b"["}:
        if not found.names.signs(value):
            return False
        scanner = JsonScanner(probe)
        try:
            scanner.feed(value)
            scanner.finish()
        except Unsealable:
            return True
        return probe.sealed > 0
    if b"=" not in value and b"%" not in value and b"@" not in value:
        return False
    if depth >= _MAX_DEPTH:
        return bool(found.names.signs(unquote_to_bytes(value)))
    seal_pairs(_INNER.sub(b"&", value), probe, in_query=True, depth=depth + 1)
    replace_userinfo(value, probe)
    return probe.sealed > 0


class FormScanner:
    """Seals a form piece by piece; holds back at most one pair of 1 MiB."""

    __slots__ = ("_found", "_guard", "_held")

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._held = b""
        self._guard: Guard | None = None  # within an insensitive pair too long to hold

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is sealed. Raises Unsealable."""
        passed = b""
        if self._guard is not None:
            end = data.find(b"&")
            if end < 0:
                self._guard.check(data)
                return data
            passed, data = data[: end + 1], data[end + 1 :]
            self._guard.check(passed)
            self._guard = None
        end = data.rfind(b"&")
        if end >= 0:
            whole, self._held = self._held + data[:end], data[end + 1 :]
            passed += seal_pairs(whole, self._found) + b"&"
        else:
            self._held += data
        if len(self._held) > MAX_SECRET_BYTES:
            passed += self._pass_long()
        return passed

    def finish(self) -> bytes:
        """Return the rest."""
        rest, self._held = self._held, b""
        return seal_pairs(rest, self._found) if rest else rest

    def _pass_long(self) -> bytes:
        name, equals, _ = self._held.partition(b"=")
        if not equals or self._found.names.field(unescape(name)) is not None:
            raise Unsealable("a form field is too long")
        self._guard = Guard(self._found)
        self._guard.check(self._held)
        rest, self._held = self._held, b""
        return rest
