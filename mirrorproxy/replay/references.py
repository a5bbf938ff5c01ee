"""References: the values in a shot that an answer may have given to its user before.

Pure. Finds each with where it stands and the keys that it may be known by, and puts others
in their places. What is not replaced stays as it was, byte for byte: nothing is ever
read into values and written again. Multipart bodies are left alone.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence, Set
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
from mirrorproxy.replay.learned import TOKEN, token_of
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
_HEADER_SAFE = re.compile(r"[\x21-\x7e\x80-\xff]+(?: [\x21-\x7e\x80-\xff]+)*")
_COOKIE_SAFE = re.compile(r"[!#-+\--:<-\[\]-~]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")

_QUOTE, _COLON, _COMMA = 0x22, 0x3A, 0x2C
_BRACE, _BRACE_END, _BRACKET, _BRACKET_END = 0x7B, 0x7D, 0x5B, 0x5D
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


def _in_json_text(value: str) -> str | None:
    return json.dumps(value)[1:-1]


def _in_markup(value: str) -> str | None:
    return html.escape(value)


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
    media = media_type(first(shot.headers, "content-type"))
    if media.startswith(("multipart/", "image/", "video/", "audio/")):
        return b""
    try:
        plain = plain_body(body, first(shot.headers, "content-encoding"))
    except CannotRewriteError:
        return b""
    return plain if len(plain) <= 4 * MAX_BODY_BYTES else b""


def references_of(shot: Shot, hits: Set[str]) -> list[Reference]:
    """Return the values in a shot that something could be known by.

    hits: tokens; what begins with none of them is passed over.
    """
    found: list[Reference] = []
    path = shot.path.partition("?")[0]
    for part in parts_of(shot.path, hits):
        name = part.label[1:] if part.is_query else ""
        kind, put = (QUERY, _in_query) if part.is_query else (PATH, _in_path)
        found.append(Reference(kind, name, part.keys, part.text, 0, part.start, part.end, put))
    for line, (name, value) in enumerate(shot.headers):
        if not _idle[name] and _holds_any(value, hits):
            _add_of_header(found, name, value, line, path)
    if shot.body:
        body = plain_of(shot)
        if body and _holds_any(body.decode("latin-1"), hits):
            _add_of_body(found, body, shot, hits)
    return found


def _holds_any(text: str, hits: Set[str]) -> bool:
    for hit in hits:
        if hit in text:
            return True
    # Escaped, it may be there all the same.
    return "%" in text or "\\" in text or "&" in text


def _add_of_header(found: list[Reference], name: str, value: str, line: int, path: str) -> None:
    lower = name.lower()
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
                found.append(
                    Reference(COOKIE, key.strip(), keys, bare, line, at, at + len(bare), _in_cookie)
                )
            start += len(pair) + 1
    elif lower in _TAGS:
        for tag in _TAG.finditer(value):
            keys = (f"etag {path}", "etag")
            found.append(Reference(HEADER, name, keys, tag[1], line, *tag.span(1), _in_tag))
    else:
        at = value.rfind(" ") + 1
        text = value[at:]
        keys = used_keys(names[lower], None) if names[lower].is_id else NO_KEYS
        if is_unmistakable(text):
            keys = (UNMISTAKABLE, *keys)
        if keys and text:
            found.append(Reference(HEADER, name, keys, text, line, at, len(value), _in_header))


def _add_of_body(found: list[Reference], body: bytes, shot: Shot, hits: Set[str]) -> None:
    media = media_type(first(shot.headers, "content-type"))
    about = collection(segments_of(shot.path))
    if "json" in media or is_json(body, media):
        _Json(found, hits).read(body, about)
    elif media == _FORM:
        _add_of_form(found, body, about, hits)
    elif "xml" in media:
        # One character for each byte, so that places in the one are places in the other.
        text = body.decode("latin-1")
        for spot in spots_of(text):
            raw = text[spot.start : spot.end].encode("latin-1").decode("utf-8", "replace")
            value = html.unescape(raw)
            if token_of(value) not in hits:
                continue
            steps = spot.path.split("/")
            inside = names[steps[-2]] if len(steps) > 1 else about
            keys = _keys(names[steps[-1].lstrip("@")], inside, value)
            if keys:
                found.append(
                    Reference(BODY, spot.path, keys, value, 0, spot.start, spot.end, _in_markup)
                )


def _keys(field: Name, container: Name | None, text: str, *, is_listed: bool = False) -> Keys:
    keys = used_keys(field, container, is_listed=is_listed)
    return (UNMISTAKABLE, *keys) if is_unmistakable(text) else keys


def _add_of_form(found: list[Reference], body: bytes, about: Name | None, hits: Set[str]) -> None:
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
        steps = [one for one in re.split(r"[\[\].]+", name) if one]
        if not steps:
            continue
        inside = names[steps[-2]] if len(steps) > 1 else about
        keys = _keys(names[steps[-1]], inside, text, is_listed=name.endswith("[]"))
        if keys:
            found.append(Reference(BODY, name, keys, text, 0, at, at + len(raw), _in_query))


class _Json:
    """Finds the references of a JSON text, by its tokens: nothing is read into values."""

    def __init__(self, found: list[Reference], hits: Set[str]) -> None:
        self._found = found
        self._hits = hits

    def read(self, body: bytes, about: Name | None) -> None:
        """Add those of a body that is about something."""
        levels: list[tuple[bool, Name | None, str]] = []
        is_array, is_key = True, False
        container, key = about, ""
        hits = self._hits
        for match in _JSON.finditer(body):
            token = match[0]
            kind = token[0]
            if kind == _QUOTE:
                text = _text(token)
                if is_key:
                    key = text
                elif text:
                    self._string(text, token, match.start(), key, container, is_array)
            elif kind == _COLON:
                is_key = False
            elif kind == _COMMA:
                is_key = not is_array
            elif kind in (_BRACE, _BRACKET):
                levels.append((is_array, container, key))
                if key and not names[key].is_envelope:
                    container = names[key]
                is_key = kind == _BRACE
                is_array = not is_key
                if is_key:
                    key = ""
            elif kind in (_BRACE_END, _BRACKET_END):
                if levels:
                    is_array, container, key = levels.pop()
                is_key = False
            else:
                text = token.decode()
                if text in hits:
                    keys = _scalar_keys(key, container, is_array)
                    if keys:
                        self._found.append(
                            Reference(
                                BODY, key, keys, text, 0, match.start(), match.end(), _in_number
                            )
                        )

    def _string(
        self,
        text: str,
        token: bytes,
        start: int,
        key: str,
        container: Name | None,
        is_array: bool,
    ) -> None:
        start += 1
        if text[0] in "/h" and is_link(text):
            if len(text) == len(token) - 2:
                for part in parts_of(text, self._hits):
                    put = _in_query if part.is_query else _in_path
                    end = start + part.end
                    self._found.append(
                        Reference(BODY, key, part.keys, part.text, 0, start + part.start, end, put)
                    )
        elif text in self._hits or token_of(text) in self._hits:
            keys = _scalar_keys(key, container, is_array)
            if is_unmistakable(text):
                keys = (UNMISTAKABLE, *keys)
            if keys:
                end = start + len(token) - 2
                self._found.append(Reference(BODY, key, keys, text, 0, start, end, _in_json_text))


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
