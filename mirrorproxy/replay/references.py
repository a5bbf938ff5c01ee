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
from mirrorproxy.replay.learned import TOKEN, token_of
from mirrorproxy.replay.links import pairs_of, parts_of, segments_of
from mirrorproxy.replay.markup import spots_of
from mirrorproxy.replay.reference import (
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
from mirrorproxy.replay.references_json import JsonReferences
from mirrorproxy.rules.bodies import is_json
from mirrorproxy.rules.coding import CannotRewriteError, media_type, plain_body
from mirrorproxy.rules.declared import NOT_DECLARED, Uses
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


def _is_idle(name: str) -> bool:
    return name.lower() in _IDLE_HEADERS


_idle = Remembered(_is_idle)


def tokens_of(shot: Shot) -> list[str]:
    """Return the tokens of all that may be replaced: what is in none of them is nowhere."""
    path = shot.path
    found: list[str] = TOKEN.findall(unquote_plus(path) if "%" in path else path)
    for name, value in shot.headers:
        if not _idle[name]:
            found += TOKEN.findall(value)
    if shot.body:
        text = plain_of(shot).decode("latin-1")
        found += TOKEN.findall(unquote_plus(text) if "%" in text else text)
    return found


def plain_of(shot: Shot) -> bytes:
    """Return the body that is looked into, b"" if it is none that could be."""
    body = shot.body
    if not body or len(body) > MAX_BODY_BYTES:
        return b""
    if media_type(first(shot.headers, "content-type")).startswith(_NOT_TEXT):
        return b""
    try:
        plain = plain_body(body, first(shot.headers, "content-encoding"))
    except CannotRewriteError:
        return b""
    return plain if len(plain) <= 4 * MAX_BODY_BYTES else b""


def references_of(shot: Shot, hits: Set[str], uses: Uses = NOT_DECLARED.uses) -> list[Reference]:
    """Return the values in a shot that something could be known by.

    hits: tokens; what begins with none of them is passed over. uses: what the rule says.
    """
    path, _, query = shot.path.partition("?")
    declared = uses.in_path(segments_of(path)) if uses.templates else {}
    found = [
        Reference(PATH, "", part.keys, part.text, 0, part.start, part.end, in_path)
        for part in parts_of(path, hits, declared)
    ]
    if query:
        about = collection(segments_of(path))
        found += [
            Reference(
                QUERY, part.label[1:], part.keys, part.text, 0, part.start, part.end, in_query
            )
            for part in pairs_of(query, len(path) + 1, about, hits, uses.query)
        ]
    for line, (name, value) in enumerate(shot.headers):
        if not _idle[name] and _holds_any(value, hits):
            _add_of_header(found, name, value, line, path, uses)
    if shot.body:
        body = plain_of(shot)
        if body and _holds_any(body.decode("latin-1"), hits):
            _add_of_body(found, body, shot, hits, uses)
    return found


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


def _add_of_body(
    found: list[Reference], body: bytes, shot: Shot, hits: Set[str], uses: Uses
) -> None:
    media = media_type(first(shot.headers, "content-type"))
    about = collection(segments_of(shot.path))
    if is_json(body, media):
        JsonReferences(found, hits, uses).read(body, about)
    elif media == _FORM:
        _add_of_form(found, body, about, hits, uses)
    elif "xml" in media:
        _add_of_xml(found, body, about, hits)


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
