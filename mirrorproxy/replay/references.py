"""References: the values in a shot that an answer may have given to its user before.

Pure. Finds each with where it stands and the keys that it may be known by, and puts others
in their places. What is not replaced stays as it was, byte for byte: nothing is ever
read into values and written again. Multipart bodies are left alone.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec

from mirrorproxy.headers import first
from mirrorproxy.remembered import Remembered
from mirrorproxy.replay.affinity import (
    NO_KEYS,
    UNMISTAKABLE,
    Keys,
    Name,
    collection,
    is_unmistakable,
    names,
    used_keys,
)
from mirrorproxy.replay.learned import TOKEN
from mirrorproxy.replay.links import is_link, parts_of, segments_of
from mirrorproxy.replay.markup import spots_of
from mirrorproxy.rules.bodies import is_json
from mirrorproxy.rules.coding import CannotRewriteError, compressed, media_type, plain_body
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
_FORM: Final = "application/x-www-form-urlencoded"
_BYTE_TOKEN = re.compile(TOKEN.pattern.encode())
_HEADER_SAFE = re.compile(r"[\x21-\x7e\x80-\xff]+(?: [\x21-\x7e\x80-\xff]+)*")
_COOKIE_SAFE = re.compile(r"[!#-+\--:<-\[\]-~]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")

_JSON = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+-]*|[{}\[\]:,]', re.DOTALL)

PATH, QUERY, HEADER, COOKIE, BODY = "path", "query", "header", "cookie", "body"


class Reference(NamedTuple):
    """A value in a shot.

    part: PATH and so on. name: of the header, or of what it stands under, for people.
    keys: that it may be known by, the best first. line: of the header. start, end: where
    it stands in its part. put: writes another value for that place, None if it cannot
    stand there.
    """

    part: str
    name: str
    keys: Keys
    text: str
    line: int
    start: int
    end: int
    put: Callable[[str], str | None]


def _in_path(value: str) -> str | None:
    return quote(value, safe="")


def _in_query(value: str) -> str | None:
    return quote_plus(value)


def _in_header(value: str) -> str | None:
    return value if _HEADER_SAFE.fullmatch(value) else None


def _in_tag(value: str) -> str | None:
    return value if _HEADER_SAFE.fullmatch(value) and '"' not in value else None


def _in_cookie(value: str) -> str | None:
    return value if _COOKIE_SAFE.fullmatch(value) else None


def _in_number(value: str) -> str | None:
    return value if _NUMBER.fullmatch(value) else None


def _in_string(value: str) -> str | None:
    return json.dumps(value)[1:-1]


def _in_markup(value: str) -> str | None:
    return html.escape(value)


def _header_tokens(pair: tuple[str, str]) -> tuple[str, ...]:
    if pair[0].lower() in _IDLE_HEADERS:
        return ()
    return tuple(TOKEN.findall(pair[1]))


_known_headers = Remembered(_header_tokens)


def tokens_of(shot: Shot) -> list[str]:
    """Return the tokens of all that may be replaced: what is in none of them is nowhere."""
    path = shot.path
    found = TOKEN.findall(unquote_plus(path) if "%" in path else path)
    for pair in shot.headers:
        found += _known_headers[pair] if len(pair[1]) < 1024 else _header_tokens(pair)
    body = plain_of(shot)
    if body:
        text = body.decode("latin-1")
        if "%" in text:
            text = unquote_plus(text)
        found += TOKEN.findall(text)
    return found


def plain_of(shot: Shot) -> bytes:
    """Return the body that is looked into, b"" if it is none that could be."""
    body = shot.body
    if not body or len(body) > MAX_BODY_BYTES:
        return b""
    media = media_type(first(shot.headers, "content-type"))
    if media.startswith(("multipart/", "image/", "video/", "audio/")):
        return b""
    try:
        plain = plain_body(body, first(shot.headers, "content-encoding"))
    except CannotRewriteError:
        return b""
    return plain if len(plain) <= 4 * MAX_BODY_BYTES else b""


def references_of(shot: Shot) -> Iterator[Reference]:
    """Yield the values in a shot that something could be known by."""
    for part in parts_of(shot.path):
        name = part.label[1:] if part.is_query else ""
        yield Reference(
            QUERY if part.is_query else PATH,
            name,
            part.keys,
            part.text,
            0,
            part.start,
            part.end,
            _in_query if part.is_query else _in_path,
        )
    path = shot.path.partition("?")[0]
    for index, (name, value) in enumerate(shot.headers):
        lower = name.lower()
        if lower not in _IDLE_HEADERS:
            yield from _in_headers(lower, name, value, index, path)
    body = plain_of(shot)
    if body:
        yield from _in_body(body, shot)


def _in_headers(lower: str, name: str, value: str, index: int, path: str) -> Iterator[Reference]:
    if lower == "cookie":
        start = 0
        for pair in value.split(";"):
            key, equals, text = pair.partition("=")
            bare = text.strip().strip('"')
            if equals and bare:
                at = start + len(key) + 1 + text.index(bare)
                keys: Keys = (f"cookie {key.strip()}",)
                if is_unmistakable(bare):
                    keys = (UNMISTAKABLE, *keys)
                yield Reference(
                    COOKIE, key.strip(), keys, bare, index, at, at + len(bare), _in_cookie
                )
            start += len(pair) + 1
    elif lower in _TAGS:
        for found in _TAG.finditer(value):
            keys = (f"etag {path}", "etag")
            yield Reference(HEADER, name, keys, found[1], index, *found.span(1), _in_tag)
    else:
        at = value.rfind(" ") + 1
        text = value[at:]
        keys = used_keys(names[lower], None) if names[lower].is_id else NO_KEYS
        if is_unmistakable(text):
            keys = (UNMISTAKABLE, *keys)
        if keys and text:
            yield Reference(HEADER, name, keys, text, index, at, len(value), _in_header)


def _in_body(body: bytes, shot: Shot) -> Iterator[Reference]:
    media = media_type(first(shot.headers, "content-type"))
    about = collection(segments_of(shot.path))
    if is_json(body, media):
        yield from _in_json(body, about)
    elif media == _FORM:
        yield from _in_form(body, about)
    elif "xml" in media:
        # One character for each byte, so that places in the one are places in the other.
        text = body.decode("latin-1")
        for spot in spots_of(text):
            steps = spot.path.split("/")
            field = names[steps[-1].lstrip("@")]
            inside = steps[-2] if len(steps) > 1 else ""
            raw = text[spot.start : spot.end].encode("latin-1").decode("utf-8", "replace")
            value = html.unescape(raw)
            keys = _keys(field, names[inside] if inside else about, value)
            if keys:
                yield Reference(BODY, spot.path, keys, value, 0, spot.start, spot.end, _in_markup)


def _keys(field: Name, container: Name | None, text: str, *, is_listed: bool = False) -> Keys:
    keys = used_keys(field, container, is_listed=is_listed)
    return (UNMISTAKABLE, *keys) if is_unmistakable(text) else keys


def _in_form(body: bytes, about: Name | None) -> Iterator[Reference]:
    start = 0
    for pair in body.decode("latin-1").split("&"):
        raw_name, _, raw = pair.partition("=")
        at = start + len(raw_name) + 1
        start += len(pair) + 1
        if raw:
            name = unquote_plus(raw_name)
            is_listed = name.endswith("[]")
            # Forms nest as order[customer_id].
            steps = [one for one in re.split(r"[\[\].]+", name) if one]
            if not steps:
                continue
            inside = names[steps[-2]] if len(steps) > 1 else about
            text = unquote_plus(raw)
            keys = _keys(names[steps[-1]], inside, text, is_listed=is_listed)
            if keys:
                yield Reference(BODY, name, keys, text, 0, at, at + len(raw), _in_query)


class _Level(NamedTuple):
    """Where the scan of a JSON text is: in an object or an array, under which name."""

    is_array: bool
    container: Name | None
    key: str


def _in_json(body: bytes, about: Name | None) -> Iterator[Reference]:
    levels: list[_Level] = []
    is_array, container, key = True, about, ""
    is_key = False
    for found in _JSON.finditer(body):
        start, end = found.span()
        kind = body[start : start + 1]
        if kind in (b"{", b"["):
            levels.append(_Level(is_array, container, key))
            if key and not names[key].is_envelope:
                container = names[key]
            is_array, is_key = kind == b"[", kind == b"{"
            if not is_array:
                key = ""
        elif kind in (b"}", b"]"):
            if levels:
                is_array, container, key = levels.pop()
            is_key = False
        elif kind == b":":
            is_key = False
        elif kind == b",":
            is_key = not is_array
        elif kind == b'"':
            text = _text(body[start + 1 : end - 1])
            if text is None:
                continue
            if is_key:
                key = text
            else:
                yield from _in_json_string(text, key, container, start + 1, end - 1, is_array)
        else:
            text = found[0].decode()
            keys = _scalar_keys(key, container, is_array)
            if keys:
                yield Reference(BODY, key, keys, text, 0, start, end, _in_number)


def _text(raw: bytes) -> str | None:
    try:
        if b"\\" in raw:
            text = json.loads(b'"' + raw + b'"')
            return text if isinstance(text, str) else None
        return raw.decode()
    except ValueError:
        return None


def _scalar_keys(key: str, container: Name | None, is_array: bool) -> Keys:
    if key:
        return used_keys(names[key], container, is_listed=is_array)
    return NO_KEYS if container is None else container.used


def _in_json_string(
    text: str, key: str, container: Name | None, start: int, end: int, is_array: bool
) -> Iterator[Reference]:
    keys = _scalar_keys(key, container, is_array)
    if is_unmistakable(text):
        keys = (UNMISTAKABLE, *keys)
    if is_link(text):
        if len(text) == end - start:
            for part in parts_of(text):
                put = _in_query if part.is_query else _in_path
                yield Reference(
                    BODY, key, part.keys, part.text, 0, start + part.start, start + part.end, put
                )
    elif keys and text:
        yield Reference(BODY, key, keys, text, 0, start, end, _in_string)


class Change(NamedTuple):
    """One reference with what takes its place, as it is written there."""

    reference: Reference
    written: str


def changed(shot: Shot, changes: Sequence[Change]) -> Shot:
    """Return a shot with values in the places of some of its references."""
    path, headers = shot.path, shot.headers
    in_body: list[Change] = []
    # From the end on, so that places before stay what they are.
    for change in sorted(changes, key=lambda one: one.reference.start, reverse=True):
        reference = change.reference
        if reference.part in (PATH, QUERY):
            path = path[: reference.start] + change.written + path[reference.end :]
        elif reference.part == BODY:
            in_body.append(change)
        else:
            if headers is shot.headers:
                headers = list(headers)
            name, value = headers[reference.line]
            value = value[: reference.start] + change.written + value[reference.end :]
            headers[reference.line] = (name, value)
    body, length = shot.body, shot.body_length
    if in_body:
        plain = plain_of(shot)
        for reference, written in in_body:
            plain = plain[: reference.start] + written.encode() + plain[reference.end :]
        body = compressed(plain, first(shot.headers, "content-encoding"))
        length = len(body)
    result: Shot = msgspec.structs.replace(
        shot, path=path, headers=headers, body=body, body_length=length
    )
    return result
