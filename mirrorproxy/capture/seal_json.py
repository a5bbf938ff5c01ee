"""JSON bodies: the values of sensitive keys replaced in place.

Pure. Nothing is re-serialised: every byte outside a secret stays as it was, and
duplicate keys, odd spacing and several documents in a row (NDJSON) with it.
Strings keep their quotes; a sealed number becomes a string. Under a sensitive
key whose value is an object or array every string and number inside is sealed.

Where the text is not JSON (any more) nothing can be told about what follows:
from there on a `Guard` watches, and gives the body up if it names a secret.
"""

from __future__ import annotations

import bisect
import json
import re

import msgspec

from mirrorproxy.capture.seal_policy import Mode, linear_pattern
from mirrorproxy.capture.seal_text import Guard, Span, pair_spans, splice
from mirrorproxy.capture.seal_values import MAX_SECRET_BYTES, Findings, Unsealable

_MAX_DEPTH = 3
"""How deep JSON within a string of JSON is looked into; deeper, the whole string is sealed."""

_STRING = rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_WORD = rb"(?:-?\d[\d.eE+\-]*+|true|false|null|NaN|-?Infinity)"
_GAP = rb"[\s,:\[\]{}\x1e]*+(?:" + _WORD + rb"[\s,:\[\]{}\x1e]*+)*+"

_gap = re.compile(_GAP)
_token = re.compile(_GAP + _STRING + rb"(\s*+:)?", re.DOTALL)
_string = re.compile(_STRING, re.DOTALL)
_string_rest = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_space = re.compile(rb"[\s,:\x1e]*+")
_number = re.compile(rb"-?\d[\d.eE+\-]*+")
_after_colon = re.compile(rb"\s*+(\"[^\"]*+\"|-?\d[\d.eE+\-]*+|true|false|null)")
_literal = re.compile(rb"true|false|null|NaN|-?Infinity")
_word_begun = re.compile(rb"[\w.+\-]{1,15}\Z")
_word_at_end = re.compile(rb"[\w.+\-]{1,64}\Z")
# All that is not looked into is passed by one search, so it is made of a pattern without captures
# for RE2: it needs a seventh of the time. There nothing is possessive, and nothing goes back.
_tokens = linear_pattern(rb"(?:" + _GAP + _STRING + rb")*+")
_escape = re.compile(rb"\\u[0-9a-fA-F]{4}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|\\.|[^\\]++", re.DOTALL)

_valid = msgspec.json.Decoder(msgspec.Raw)
_QUOTE = 0x22
_NUMBER_BEGINS = b"-0123456789"


def unescape(raw: bytes) -> bytes:
    """Return the inside of a JSON string unescaped; as it is if it cannot be."""
    if b"\\" not in raw:
        return raw
    try:
        text = json.loads(b'"' + raw + b'"', strict=False)
    except ValueError:
        return raw
    return str(text).encode("utf-8", "surrogatepass")


def seal_json(data: bytes, found: Findings) -> bytes:
    """Return a whole body with its secrets replaced. Raises Unsealable."""
    spans = _few_spans(data, found)
    if spans is None:
        scanner = JsonScanner(found)
        return scanner.feed(data) + scanner.finish()
    return splice(data, spans)


def _few_spans(data: bytes, found: Findings) -> list[Span] | None:
    """Look only at strings that hold a sensitive name; None where that is not enough.

    Sound because the body is known to be one valid document without escapes,
    in which a name's letters stand in strings only and every quote bounds one.
    """
    if b"\\" in data:
        return None
    try:
        _valid.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    spans: list[Span] = []
    done = 0
    for start, end in found.names.named_strings(data):
        if start < done:
            continue
        if data[end - 1] == _QUOTE:
            inner = pair_spans(data[start:end], found)
            spans += [(start + first, start + last, mark) for first, last, mark in inner]
            continue
        key = data[start + 1 : data.rindex(b'"', start, end)]
        mode = found.names.field(key)
        if mode is None:
            continue
        value = _after_colon.match(data, end)
        if value is None:
            return None
        begin, done = value.span(1)
        if value[1][0] == _QUOTE:
            spans.append(
                (begin + 1, done - 1, _replacement(found, key, value[1][1:-1], mode, False))
            )
        elif value[1][0] in _NUMBER_BEGINS:
            spans.append((begin, done, _replacement(found, key, value[1], mode, True)))
    return spans


def _replacement(found: Findings, key: bytes, raw: bytes, mode: Mode, is_number: bool) -> bytes:
    name = key.decode("utf-8", "replace")
    text = found.replace(name, raw if is_number else unescape(raw), mode)
    return b'"' + text + b'"' if is_number else text


class JsonScanner:
    """Seals JSON piece by piece. Holds back one unfinished string of at most 1 MiB."""

    __slots__ = (
        "_depth", "_found", "_guard", "_held", "_key", "_level", "_look", "_mode",
        "_skipping", "_start",
    )  # fmt: skip

    def __init__(self, found: Findings, level: int = 0) -> None:
        self._found = found
        self._level = level
        self._held = b""
        self._look = 0
        self._start = True
        self._guard: Guard | None = None
        self._skipping = False  # within an insensitive string too long to hold
        self._mode: Mode | None = None  # what is done with the value that comes next
        self._key = b""
        self._depth = 0  # brackets open within a sensitive value

    def feed(self, data: bytes) -> bytes:
        """Take more; return what is sealed. Raises Unsealable."""
        held = self._held + data if self._held else data
        # What is held is looked at again only once it has doubled: time stays linear.
        if len(held) < self._look:
            self._held = held
            return b""
        return self._advance(held, final=False)

    def finish(self) -> bytes:
        """Return the rest; of a body that was cut too. Raises Unsealable."""
        return self._advance(self._held, final=True)

    def _advance(self, held: bytes, *, final: bool) -> bytes:
        end, spans = self.scan(held, final=final)
        self._held = held[end:]
        self._look = 2 * len(self._held)
        return splice(held, spans, end)

    def scan(self, text: bytes, *, final: bool) -> tuple[int, list[Span]]:
        """Return how far text is understood, and what is replaced in it. Raises Unsealable."""
        spans: list[Span] = []
        at = 0
        if self._start:
            if not final and len(text) < 3:
                return 0, spans
            self._start = False
            at = 3 if text.startswith(b"\xef\xbb\xbf") else 0
        # Where something may stand, from the last to the first; all else is passed in one go.
        suspect = self._found.names.suspect_places(text)
        suspect.reverse()
        size = len(text)
        while at < size:
            if self._guard is not None:
                self._guard.check(text[at:])
                return size, spans
            if self._skipping:
                stop = self._skip(text, at, final)
            elif self._mode is not None:
                stop = self._sensitive(text, at, final, spans)
            else:
                while suspect and suspect[-1] < at:
                    suspect.pop()
                passed = _tokens.match(text, at, suspect[-1] if suspect else size)
                at = passed.end() if passed else at
                stop = self._ordinary(text, at, final, spans)
            if stop < 0:
                return ~stop, spans
            at = stop
        return at, spans

    # Each step returns where to go on, or ~position if what follows has to wait for more.

    def _skip(self, text: bytes, at: int, final: bool) -> int:
        quote = text.find(_QUOTE, at)
        end = quote if quote >= 0 else len(text)
        # Long strings are mostly base64: two searches pass them many times as fast as a pattern.
        if text.find(b"\\", at, end) >= 0:
            rest = _string_rest.match(text, at)
            end = rest.end() if rest else at
        if end < len(text) and text[end] == _QUOTE:
            self._skipping = False
            return end + 1
        return ~len(text) if final else ~end

    def _ordinary(self, text: bytes, at: int, final: bool, spans: list[Span]) -> int:
        size = len(text)
        token = _token.match(text, at)
        if token:
            if token[2] is None:
                if token.end() == size and not final:
                    return ~(token.start(1) - 1)
                self._within_string(token[1], token.start(1), spans)
            else:
                key = unescape(token[1])
                self._mode = self._found.names.field(key)
                self._key = key
            return token.end()
        gap = _gap.match(text, at)
        end = gap.end() if gap else at
        if end == size:
            word = None if final else _word_at_end.search(text, max(at, size - 64))
            return ~(word.start() if word else size)
        if text[end] == _QUOTE:
            if final:
                self._within_string(text[end + 1 :], end + 1, spans)
                return ~size
            if size - end > MAX_SECRET_BYTES:
                self._skipping = True
                return end + 1
            return ~end
        if not final and _word_begun.match(text, end):
            return ~end
        self._guard = Guard(self._found)
        return end

    def _sensitive(self, text: bytes, at: int, final: bool, spans: list[Span]) -> int:
        size = len(text)
        space = _space.match(text, at)
        begin = space.end() if space else at
        if begin == size:
            return ~size
        sign = text[begin : begin + 1]
        if sign == b'"':
            return self._sensitive_string(text, begin, final, spans)
        if sign in b"{[":
            self._depth += 1
            return begin + 1
        if sign in b"}]" and self._depth:
            self._depth -= 1
            self._close()
            return begin + 1
        word = _number.match(text, begin) or _literal.match(text, begin)
        if word and (final or word.end() < size):
            if text[begin : begin + 1] in b"-0123456789" and text[begin : begin + 2] != b"-I":
                self._replace(text, begin, word.end(), spans, is_number=True)
            self._close()
            return word.end()
        if not final and (word or _word_begun.match(text, begin)):
            if size - begin > MAX_SECRET_BYTES:
                raise Unsealable("a secret is too long")
            return ~begin
        if final and _literal_cut(text[begin:]):
            return ~size
        raise Unsealable("what follows a sensitive key is not JSON")

    def _sensitive_string(self, text: bytes, begin: int, final: bool, spans: list[Span]) -> int:
        size = len(text)
        string = _string.match(text, begin)
        if string is None:
            if final:
                self._replace(text, begin + 1, size, spans, is_number=False)
                return ~size
            if size - begin > MAX_SECRET_BYTES:
                raise Unsealable("a secret is too long")
            return ~begin
        if self._depth:
            after = _space_only.match(text, string.end())
            colon = after.end() if after else string.end()
            if colon == size and not final:
                return ~begin
            if text[colon : colon + 1] == b":":
                return colon + 1
        self._replace(text, begin + 1, string.end() - 1, spans, is_number=False)
        self._close()
        return string.end()

    def _close(self) -> None:
        if not self._depth:
            self._mode = None

    def _replace(
        self, text: bytes, start: int, end: int, spans: list[Span], *, is_number: bool
    ) -> None:
        if self._mode is not None and end > start:
            raw = text[start:end]
            spans.append(
                (start, end, _replacement(self._found, self._key, raw, self._mode, is_number))
            )

    def _within_string(self, raw: bytes, offset: int, spans: list[Span]) -> None:
        """Seal what a string that is not sensitive itself holds: JSON or ``name=value``."""
        has_escapes = b"\\" in raw
        if not has_escapes:
            if (b"=" in raw or b":" in raw) and self._found.names.signs(raw):
                spans += [
                    (offset + s, offset + e, mark) for s, e, mark in pair_spans(raw, self._found)
                ]
            return
        if len(raw) > MAX_SECRET_BYTES or not self._found.names.signs(raw):
            return
        text, starts, places = _unescape_with_places(raw)
        if text.lstrip()[:1] in {b"{", b"["}:
            inner = self._inner_json(text)
        else:
            inner = pair_spans(text, self._found)
        for start, end, mark in inner:
            spans.append(
                (
                    offset + _place(start, starts, places, is_end=False),
                    offset + _place(end, starts, places, is_end=True),
                    mark.replace(b"\\", b"\\\\").replace(b'"', b'\\"'),
                )
            )

    def _inner_json(self, text: bytes) -> list[Span]:
        if self._level >= _MAX_DEPTH:
            return [(0, len(text), self._found.replace("json", text, "seal"))]
        _, spans = JsonScanner(self._found, self._level + 1).scan(text, final=True)
        return spans


_space_only = re.compile(rb"\s*+")


def _literal_cut(rest: bytes) -> bool:
    return len(rest) < 5 and any(
        word.startswith(rest) for word in (b"true", b"false", b"null", b"-")
    )


def _unescape_with_places(raw: bytes) -> tuple[bytes, list[int], list[int]]:
    """Return raw unescaped, and at which of its bytes which byte of raw begins a piece."""
    pieces: list[bytes] = []
    starts: list[int] = []
    places: list[int] = []
    length = 0
    for piece in _escape.finditer(raw):
        text = unescape(piece[0])
        starts.append(length)
        places.append(piece.start())
        pieces.append(text)
        length += len(text)
    starts.append(length)
    places.append(len(raw))
    return b"".join(pieces), starts, places


def _place(at: int, starts: list[int], places: list[int], *, is_end: bool) -> int:
    """Return where a byte of the unescaped text stands in the escaped one."""
    index = bisect.bisect_right(starts, at) - 1
    if starts[index] == at:
        return places[index]
    width = places[index + 1] - places[index]
    if width == starts[index + 1] - starts[index]:
        return places[index] + at - starts[index]
    return places[index + 1] if is_end else places[index]
