"""References in JSON: found by the tokens of the text, which is never read into values.

Pure. Owns the way through a JSON text: under which names each value stands, and where it
begins and ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Set

from mirrorproxy.replay.affinity import (
    NO_KEYS,
    UNMISTAKABLE,
    Keys,
    Name,
    is_unmistakable,
    names,
    used_keys,
)
from mirrorproxy.replay.learned import token_of
from mirrorproxy.replay.links import is_link, parts_of
from mirrorproxy.replay.reference import BODY, Reference, in_json_text, in_number, in_path, in_query
from mirrorproxy.rules.declared import Uses

_QUOTE, _COLON, _COMMA = 0x22, 0x3A, 0x2C
_BRACE, _BRACE_END, _BRACKET, _BRACKET_END = 0x7B, 0x7D, 0x5B, 0x5D
_JSON = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+-]*|[{}\[\]:,]', re.DOTALL)


class JsonReferences:
    """Finds the references of a JSON text, by its tokens: nothing is read into values."""

    def __init__(self, found: list[Reference], hits: Set[str], uses: Uses) -> None:
        self._found = found
        self._hits = hits
        self._uses = uses

    def read(self, body: bytes, about: Name | None) -> None:
        """Add those of a body that is about something."""
        levels: list[tuple[bool, Name | None, str]] = []
        is_array, is_key = True, False
        container, key = about, ""
        hits = self._hits
        # The way to each value costs more than all else: it is only kept where rules name one.
        way: list[str | int] | None = [] if self._uses.json else None
        for match in _JSON.finditer(body):
            token = match[0]
            kind = token[0]
            if kind == _QUOTE:
                text = _text(token)
                if is_key:
                    key = text
                    if way:
                        way[-1] = key
                elif text:
                    keys = _scalar_keys(key, container, is_array)
                    self._string(text, token, match.start(), key, self._with_way(way, keys))
            elif kind == _COLON:
                is_key = False
            elif kind == _COMMA:
                is_key = not is_array
                if way and is_array:
                    index = way[-1]
                    way[-1] = index + 1 if isinstance(index, int) else 0
            elif kind in (_BRACE, _BRACKET):
                levels.append((is_array, container, key))
                if key and not names[key].is_envelope:
                    container = names[key]
                is_key = kind == _BRACE
                is_array = not is_key
                if is_key:
                    key = ""
                if way is not None:
                    way.append("" if is_key else 0)
            elif kind in (_BRACE_END, _BRACKET_END):
                if levels:
                    is_array, container, key = levels.pop()
                if way:
                    way.pop()
                is_key = False
            else:
                text = token.decode()
                if text in hits:
                    keys = self._with_way(way, _scalar_keys(key, container, is_array))
                    if keys:
                        self._found.append(
                            Reference(
                                BODY, key, keys, text, 0, match.start(), match.end(), in_number
                            )
                        )

    def _with_way(self, way: list[str | int] | None, keys: Keys) -> Keys:
        """Return keys behind the one that a rule has for a value by the way to it."""
        declared = "" if way is None else self._uses.at_json(way)
        return (declared, *keys) if declared else keys

    def _string(self, text: str, token: bytes, start: int, key: str, keys: Keys) -> None:
        start += 1
        if text[0] in "/h" and is_link(text):
            if len(text) == len(token) - 2:
                for part in parts_of(text, self._hits):
                    put = in_query if part.is_query else in_path
                    end = start + part.end
                    self._found.append(
                        Reference(BODY, key, part.keys, part.text, 0, start + part.start, end, put)
                    )
        elif text in self._hits or token_of(text) in self._hits:
            if is_unmistakable(text):
                keys = (*keys, UNMISTAKABLE)
            if keys:
                end = start + len(token) - 2
                self._found.append(Reference(BODY, key, keys, text, 0, start, end, in_json_text))


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
