"""Bodies of answers compared: JSON and XML by structure, forms by field, text by word.

Pure. Owns what a body is read as, by its Content-Type and no other guess. Gets bodies
without their content coding. What is not what its type says is compared as text.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl
from xml.parsers.expat import ExpatError, ParserCreate

import msgspec

from mirrorproxy.report.alike import like_texts
from mirrorproxy.report.structure import CHANGED, LENGTH, Walk

BODY: Final = "body"
"""What differs where a body has no structure that could be named."""

_FORM: Final = "application/x-www-form-urlencoded"
_decode_json = msgspec.json.Decoder().decode
_MAX_FIELDS: Final = 2000


def compare_bodies(walk: Walk, media_type: str, production: bytes, target: bytes) -> None:
    """Put into a walk what differs in two bodies that are not the same bytes.

    media_type: production's, lower case, without parameters; production: sealed.
    """
    if not production or not target:
        walk.put(BODY, LENGTH if production or target else CHANGED)
        return
    try:
        if media_type == "application/json" or media_type.endswith("+json"):
            walk.compare(_decode_json(production), _decode_json(target))
            return
        if media_type in ("application/xml", "text/xml") or media_type.endswith("+xml"):
            walk.is_loose = True
            walk.compare(_xml(production), _xml(target))
            return
        if media_type == _FORM:
            walk.compare(_form(production), _form(target))
            return
        one, other = production.decode(), target.decode()
    except (ValueError, RecursionError):
        # Binary, damaged, or too deep: all that can be said is that it is not the same.
        one, other = production.decode("latin-1"), target.decode("latin-1")
    if one != other:
        reason = like_texts(one, other, "", walk.same, walk.moments)
        walk.put(BODY, CHANGED, reason)


def _form(body: bytes) -> dict[str, object]:
    fields: dict[str, object] = {}
    pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    for name, value in pairs:
        if name not in fields:
            fields[name] = value
        else:
            before = fields[name]
            fields[name] = [*before, value] if isinstance(before, list) else [before, value]
    return fields


def _xml(body: bytes) -> object:
    """Return an XML document as objects: attributes as @name, text as #text, repeats as lists.

    Raises ValueError for what is none, and for one that declares entities: it might be a bomb.
    """
    reader = _Reader()
    parser = ParserCreate(namespace_separator=None)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(body, True)
    except (ExpatError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise ValueError("not XML") from error
    return reader.root


class _Reader:
    """Builds objects from what expat tells."""

    def __init__(self) -> None:
        self.root: dict[str, object] = {}
        self._open: list[dict[str, object]] = [self.root]
        self._texts: list[list[str]] = [[]]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > 200:
            raise ValueError("nested too deeply")
        self._open.append({f"@{key}": value for key, value in attributes.items()})
        self._texts.append([])

    def end(self, name: str) -> None:
        element = self._open.pop()
        text = "".join(self._texts.pop()).strip()
        value: object = element
        if not element:
            value = text
        elif text:
            element["#text"] = text
        parent = self._open[-1]
        if name not in parent:
            parent[name] = value
            return
        before = parent[name]
        if isinstance(before, list):
            before.append(value)
        else:
            parent[name] = [before, value]

    def text(self, data: str) -> None:
        self._texts[-1].append(data)

    def refuse(self, *_arguments: object) -> None:
        raise ValueError("declares entities")
