"""References: the values in a shot that an answer may have given to its user before.

Pure. Finds each with where it stands and the keys that it may be known by. Nothing is ever
read into values and written again. Multipart bodies are left alone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Set
from typing import Final
from urllib.parse import unquote_plus

from mirrorproxy.correlation.affinity import (
    NO_KEYS,
    UNMISTAKABLE,
    Keys,
    Name,
    collection,
    is_unmistakable,
    names,
    used_keys,
)
from mirrorproxy.correlation.carried_json import JsonReferences
from mirrorproxy.correlation.learned import TOKEN, token_of
from mirrorproxy.correlation.links import pairs_of, parts_of, segments_of
from mirrorproxy.correlation.markup import spots_of
from mirrorproxy.correlation.reference import (
    BODY,
    COOKIE,
    HEADER,
    PATH,
    QUERY,
    Reference,
    in_cookie,
    in_header,
    in_markup,
    in_path,
    in_query,
    in_tag,
)
from mirrorproxy.remembered import Remembered
from mirrorproxy.rules.bodies import is_json
from mirrorproxy.rules.coding import CannotRewriteError, media_type, plain_body
from mirrorproxy.rules.declared import Uses
from mirrorproxy.shot import Shot

MAX_BODY_BYTES: Final = 64 * 1024
"""What is looked into, as capture records answers: a longer body refers to little."""

_IDLE_HEADERS = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "cache-control", "connection",
        "content-encoding", "content-length", "content-type", "date", "dnt", "host", "origin",
        "pragma", "priority", "range", "referer", "te", "traceparent", "tracestate",
        "upgrade-insecure-requests", "user-agent", "via", "x-forwarded-for", "x-forwarded-host",
        "x-forwarded-proto", "x-forwarded-port", "x-real-ip", "x-mirrorproxy-replay",
        "idempotency-key", "x-request-id", "x-correlation-id",
    }
)  # fmt: skip
"""Headers that refer to nothing that an answer gave."""

_TAGS = ("if-match", "if-none-match")
_TAG = re.compile(r'"([^"]*)"')
_NESTED = re.compile(r"[\[\].]+")
_FORM: Final = "application/x-www-form-urlencoded"
_NOT_TEXT = ("multipart/", "image/", "video/", "audio/")


_IDLE, _TYPE, _ENCODING, _OTHER = range(4)


def _header_kind(name: str) -> int:
    lower = name.lower()
    if lower == "content-type":
        return _TYPE
    if lower == "content-encoding":
        return _ENCODING
    return _IDLE if lower in _IDLE_HEADERS else _OTHER


_kinds = Remembered(_header_kind)
_medias = Remembered(media_type)


class Carried:
    """What a shot carries that may have come from an answer.

    uses: what its rule says. tokens: of all that may be replaced: what is in none of them is
    nowhere. plain: the body that is looked into, without its coding, b"" for none.
    segments: of the path, decoded; taken apart here if they are not given.
    """

    def __init__(self, shot: Shot, uses: Uses, segments: list[str] | None = None) -> None:
        self.shot = shot
        self._uses = uses
        self._media = ""
        self._hits: set[str] = set()
        self._references: list[Reference] = []
        path = shot.path
        tokens: list[str] = TOKEN.findall(unquote_plus(path) if "%" in path else path)
        encoding: str | None = None
        for name, value in shot.headers:
            kind = _kinds[name]
            if kind == _IDLE:
                continue
            if kind == _OTHER:
                tokens += TOKEN.findall(value)
            elif kind == _TYPE:
                self._media = _medias[value]
            else:
                encoding = value
        self.plain = b""
        if shot.body:
            self.plain = _plain(shot.body, self._media, encoding)
            text = self.plain.decode("latin-1")
            tokens += TOKEN.findall(unquote_plus(text) if "%" in text else text)
        self.tokens = tokens
        self.segments = segments_of(path) if segments is None else segments

    def references(self, hits: set[str]) -> list[Reference]:
        """Return the values that something could be known by; others may be among them.

        hits: tokens; what begins with none of them is passed over.
        """
        if not hits <= self._hits:
            self._hits |= hits
            self._references = self._found(self._hits)
        return self._references

    def _found(self, hits: set[str]) -> list[Reference]:
        shot, uses = self.shot, self._uses
        path, _, query = shot.path.partition("?")
        declared = uses.in_path(self.segments) if uses.templates else {}
        found = [
            Reference(PATH, "", part.keys, part.text, 0, part.start, part.end, in_path)
            for part in parts_of(path, hits, declared)
        ]
        if query and _holds_any(query, hits):
            about = collection(self.segments)
            found += [
                Reference(
                    QUERY, part.label[1:], part.keys, part.text, 0, part.start, part.end, in_query
                )
                for part in pairs_of(query, len(path) + 1, about, hits, uses.query)
            ]
        for line, (name, value) in enumerate(shot.headers):
            if _kinds[name] == _OTHER and _holds_any(value, hits):
                _add_of_header(found, name, value, line, path, uses)
        if self.plain and _holds_any(self.plain.decode("latin-1"), hits):
            self._add_of_body(found, hits)
        return found

    def _add_of_body(self, found: list[Reference], hits: set[str]) -> None:
        body, media, uses = self.plain, self._media, self._uses
        about = collection(self.segments)
        if "json" in media or is_json(body, media):
            JsonReferences(found, hits, uses).read(body, about)
        elif media == _FORM:
            _add_of_form(found, body, about, hits, uses)
        elif "xml" in media:
            _add_of_xml(found, body, about, hits)


def _plain(body: bytes, media: str, encoding: str | None) -> bytes:
    if len(body) > MAX_BODY_BYTES or media.startswith(_NOT_TEXT):
        return b""
    if encoding is None:
        return body
    try:
        plain = plain_body(body, encoding)
    except CannotRewriteError:
        return b""
    return plain if len(plain) <= 4 * MAX_BODY_BYTES else b""


def _holds_any(text: str, hits: Set[str]) -> bool:
    for hit in hits:
        if hit in text:
            return True
    # Escaped, it may be there all the same.
    return "%" in text or "\\" in text or "&" in text


def _add_of_header(
    found: list[Reference], name: str, value: str, line: int, path: str, uses: Uses
) -> None:
    lower = name.lower()
    if lower == "cookie":
        start = 0
        for pair in value.split(";"):
            raw_key, equals, text = pair.partition("=")
            key, bare = raw_key.strip(), text.strip().strip('"')
            if equals and bare:
                at = start + len(raw_key) + 1 + text.index(bare)
                keys = _with(uses.cookies.get(key), (f"cookie {key}",), bare)
                found.append(
                    Reference(COOKIE, key, keys, bare, line, at, at + len(bare), in_cookie)
                )
            start += len(pair) + 1
    elif lower in _TAGS:
        for tag in _TAG.finditer(value):
            keys = _with(uses.headers.get(lower), (f"etag {path}", "etag"), "")
            start, end = tag.span(1)
            found.append(Reference(HEADER, name, keys, tag[1], line, start, end, in_tag))
    else:
        start = value.rfind(" ") + 1
        text = value[start:]
        keys = used_keys(names[lower], None) if names[lower].is_id else NO_KEYS
        keys = _with(uses.headers.get(lower), keys, text)
        if keys and text:
            found.append(Reference(HEADER, name, keys, text, line, start, len(value), in_header))


def _with(declared: str | None, keys: Keys, text: str) -> Keys:
    """Return keys with what a rule and the value itself add to them: the rule's come first."""
    if is_unmistakable(text):
        keys = (UNMISTAKABLE, *keys)
    return keys if declared is None else (declared, *keys)


def _add_of_form(
    found: list[Reference], body: bytes, about: Name | None, hits: Set[str], uses: Uses
) -> None:
    start = 0
    for pair in body.decode("latin-1").split("&"):
        raw_name, _, raw = pair.partition("=")
        at = start + len(raw_name) + 1
        start += len(pair) + 1
        text = unquote_plus(raw)
        if not raw or token_of(text) not in hits:
            continue
        name = unquote_plus(raw_name)
        # Forms nest as order[customer_id].
        steps = [one for one in _NESTED.split(name) if one]
        if not steps:
            continue
        inside = names[steps[-2]] if len(steps) > 1 else about
        keys = used_keys(names[steps[-1]], inside, is_listed=name.endswith("[]"))
        keys = _with(uses.form.get(name), keys, text)
        if keys:
            found.append(Reference(BODY, name, keys, text, 0, at, at + len(raw), in_query))


def _add_of_xml(found: list[Reference], body: bytes, about: Name | None, hits: Set[str]) -> None:
    # One character for each byte, so that places in the one are places in the other.
    text = body.decode("latin-1")
    for spot in spots_of(text):
        raw = text[spot.start : spot.end].encode("latin-1").decode("utf-8", "replace")
        value = html.unescape(raw)
        if token_of(value) not in hits:
            continue
        steps = spot.path.split("/")
        inside = names[steps[-2]] if len(steps) > 1 else about
        keys = _with(None, used_keys(names[steps[-1].lstrip("@")], inside), value)
        if keys:
            found.append(
                Reference(BODY, spot.path, keys, value, 0, spot.start, spot.end, in_markup)
            )
