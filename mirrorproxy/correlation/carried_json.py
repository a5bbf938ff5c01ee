"""References in JSON: found by the tokens of the text, which is never read into values.

Pure. Owns the way through a JSON text: under which names each value stands, and where it
begins and ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Set

from mirrorproxy.correlation.affinity import (
    NO_KEYS,
    UNMISTAKABLE,
    Keys,
    Name,
    is_unmistakable,
    names,
    used_keys,
)
from mirrorproxy.correlation.learned import token_of
from mirrorproxy.correlation.links import is_link, parts_of
from mirrorproxy.correlation.reference import (
    BODY,
    Reference,
    in_json_text,
    in_number,
    in_path,
    in_query,
)
from mirrorproxy.rules.declared import Uses

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_NUMBER = rb"-?[0-9][0-9.eE+-]*"
_PIECE = rb"(%b)(?:(\s*:\s*)(%b|%b)?)?|%b|[{}\[\]]" % (_STRING, _STRING, _NUMBER, _NUMBER)
_PIECES = re.compile(_PIECE, re.DOTALL)
_PIECES_AND_COMMAS = re.compile(_PIECE + b"|,", re.DOTALL)
"""A string, with what it names; a number; the beginnings and ends of objects and arrays.

Groups: a string; what parts a name from its value; the value, if it is no object or array."""

_QUOTE, _COMMA = 0x22, 0x2C
_BRACE, _BRACE_END, _BRACKET, _BRACKET_END = 0x7B, 0x7D, 0x5B, 0x5D


class JsonReferences:
    """Finds the references of a JSON text, by its tokens: nothing is read into values."""

    def __init__(self, found: list[Reference], hits: Set[str], uses: Uses) -> None:
        self._found = found
        self._hits = hits
        self._uses = uses

    def read(self, body: bytes, about: Name | None) -> None:
        """Add those of a body that is about something."""
        levels: list[tuple[bool, Name | None, str]] = []
        is_array = True
        container, key = about, ""
        # The way to each value costs more than all else: it is only kept where rules name one.
        way: list[str | int] | None = [] if self._uses.json else None
        pieces = _PIECES if way is None else _PIECES_AND_COMMAS
        for piece in pieces.finditer(body):
            token = piece[0]
            kind = token[0]
            if kind == _QUOTE:
                group = 1
                if piece[2] is not None:
                    key = _text(piece[1])
                    if way:
                        way[-1] = key
                    group = 3
                scalar = piece[group]
                if scalar is not None:
                    start = piece.start(group)
                    self._scalar(scalar, start, key, container, is_array, way)
            elif kind in (_BRACE, _BRACKET):
                levels.append((is_array, container, key))
                if key and not names[key].is_envelope:
                    container = names[key]
                is_array = kind == _BRACKET
                if not is_array:
                    key = ""
                if way is not None:
                    way.append(0 if is_array else "")
            elif kind in (_BRACE_END, _BRACKET_END):
                if levels:
                    is_array, container, key = levels.pop()
                if way:
                    way.pop()
            elif kind == _COMMA:
                if way and is_array:
                    index = way[-1]
                    way[-1] = index + 1 if isinstance(index, int) else 0
            else:
                self._scalar(token, piece.start(), key, container, is_array, way)

    def _scalar(
        self,
        token: bytes,
        start: int,
        key: str,
        container: Name | None,
        is_array: bool,
        way: list[str | int] | None,
    ) -> None:
        hits = self._hits
        if token[0] == _QUOTE:
            text = _text(token)
            if not text:
                return
            if text[0] in "/h" and is_link(text):
                self._link(text, token, start, key)
            elif text in hits or token_of(text) in hits:
                keys = self._with_way(way, _scalar_keys(key, container, is_array))
                if is_unmistakable(text):
                    keys = (*keys, UNMISTAKABLE)
                if keys:
                    end = start + len(token) - 1
                    self._found.append(
                        Reference(BODY, key, keys, text, 0, start + 1, end, in_json_text)
                    )
            return
        text = token.decode()
        if text in hits:
            keys = self._with_way(way, _scalar_keys(key, container, is_array))
            if keys:
                end = start + len(token)
                self._found.append(Reference(BODY, key, keys, text, 0, start, end, in_number))

    def _with_way(self, way: list[str | int] | None, keys: Keys) -> Keys:
        """Return keys behind the one that a rule has for a value by the way to it."""
        declared = "" if way is None else self._uses.at_json(way)
        return (declared, *keys) if declared else keys

    def _link(self, text: str, token: bytes, start: int, key: str) -> None:
        if len(text) != len(token) - 2:
            return
        start += 1
        for part in parts_of(text, self._hits):
            put = in_query if part.is_query else in_path
            begin, end = start + part.start, start + part.end
            self._found.append(Reference(BODY, key, part.keys, part.text, 0, begin, end, put))


def _text(token: bytes) -> str:
    """Return the text that a JSON string stands for, "" if it stands for none."""
    try:
        if b"\\" in token:
            text = json.loads(token)
            return text if isinstance(text, str) else ""
        return token[1:-1].decode()
    except ValueError:
        return ""


def _scalar_keys(key: str, container: Name | None, is_array: bool) -> Keys:
    if key:
        return used_keys(names[key], container, is_listed=is_array)
    return NO_KEYS if container is None else container.used
