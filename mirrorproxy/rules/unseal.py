"""Putting replacements in the place of sealed values, and making sure none is left.

Pure. Every byte outside a mark stays as it is; a value is escaped for where it
stands: a query, a form, JSON, XML. Nothing sealed ever leaves here unnoticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape as escape_xml

from mirrorproxy.headers import first
from mirrorproxy.marks import PATTERN, PATTERN_BYTES, contains_mark
from mirrorproxy.record import HeaderList
from mirrorproxy.rules.auth import Replacement

_COOKIE_UNSAFE = re.compile(r'[\x00-\x20",;\\\x7f-\U0010ffff]')  # RFC 6265, 4.1.1


# By `without_sealed_cookies`, which counts the cookies.
_TAKEN_OUT = ("cookie", "referer")


class Parts(NamedTuple):
    """The parts of a request that may hold sealed values. query: "" or from "?" on."""

    path: str
    query: str
    headers: HeaderList
    body: bytes


def put_in(parts: Parts, replacement: Replacement) -> Parts:
    """Return the parts with a replacement put in; marks that it has no value for stay."""
    path, query, headers, body = parts
    if replacement.anonymous:
        headers = [
            (name, value)
            for name, value in headers
            if name.lower() in _TAKEN_OUT or not contains_mark(value)
        ]
    values = replacement.values
    if values:
        path = _fill(path, values, _quote_path)
        query = _fill(query, values, quote_plus)
        body = fill_body(body, first(headers, "content-type"), values) if body else body
    return Parts(path, query, _put_in_headers(headers, replacement), body)


def _put_in_headers(headers: HeaderList, replacement: Replacement) -> HeaderList:
    """Return the headers with all of a replacement put in, in one pass."""
    values, removed = replacement.values, replacement.removed
    waiting = {name.lower(): (name, value) for name, value in replacement.headers}
    given = frozenset(waiting)
    result: HeaderList = []
    for pair in headers:
        lower = pair[0].lower()
        if lower in given:
            # Where the first of its name stood; repeats of it go.
            if lower in waiting:
                result.append((pair[0], waiting.pop(lower)[1]))
        elif lower in removed:
            continue
        elif "{h1:" in pair[1]:
            escaped = _cookie_value if lower == "cookie" else str
            result.append((pair[0], _fill(pair[1], values, escaped)))
        else:
            result.append(pair)
    result += waiting.values()
    return result


def _quote_path(value: str) -> str:
    return quote(value, safe="")


def _fill(text: str, values: Mapping[str, str], escaped: Callable[[str], str | None]) -> str:
    if "{h1:" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        value = values.get(match[0])
        filled = None if value is None else escaped(value)
        return match[0] if filled is None else filled

    return PATTERN.sub(one, text)


def _cookie_value(value: str) -> str | None:
    """Return a value that can stand in a cookie, or None: then it stays sealed and is taken out."""
    return None if _COOKIE_UNSAFE.search(value) else value


def fill_body(body: bytes, content_type: str | None, values: Mapping[str, str]) -> bytes:
    """Return a body with the marks replaced that values knows."""
    if not values or b"{h1:" not in body:
        return body
    escaped = _escape_for(body, (content_type or "").partition(";")[0].strip().lower())

    def one(match: re.Match[bytes]) -> bytes:
        value = values.get(match[0].decode())
        return match[0] if value is None else escaped(value).encode()

    return PATTERN_BYTES.sub(one, body)


def _escape_for(body: bytes, content_type: str) -> Callable[[str], str]:
    if content_type == "application/x-www-form-urlencoded":
        return quote_plus
    if "xml" in content_type or "html" in content_type:
        return lambda value: escape_xml(value, {'"': "&quot;", "'": "&apos;"})
    if content_type.startswith("multipart/"):
        return str
    if "json" in content_type or body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return lambda value: json.dumps(value)[1:-1]
    return str


def set_header(headers: HeaderList, name: str, value: str) -> HeaderList:
    """Return the headers with one set: where the first of its name stood, else at the end."""
    wanted = name.lower()
    result: HeaderList = []
    done = False
    for key, old in headers:
        if key.lower() != wanted:
            result.append((key, old))
        elif not done:
            result.append((key, value))
            done = True
    if not done:
        result.append((name, value))
    return result


def without_sealed_cookies(headers: HeaderList) -> tuple[HeaderList, int]:
    """Return the headers without sealed cookies and sealed Referers, and how many cookies went.

    A Referer is no credential: the request means the same without it.
    """
    result: HeaderList = []
    removed = 0
    for name, value in headers:
        lower = name.lower()
        if lower not in _TAKEN_OUT or not contains_mark(value):
            result.append((name, value))
        elif lower == "cookie":
            pairs = [pair for pair in value.split(";") if pair.strip()]
            kept = [pair.strip() for pair in pairs if not contains_mark(pair)]
            removed += len(pairs) - len(kept)
            if kept:
                result.append((name, "; ".join(kept)))
    return result, removed


def holds_sealed(parts: Parts) -> bool:
    """Tell whether anything sealed, or a trace of it, is left anywhere."""
    path, query, headers, body = parts
    return _is_suspect("\n".join([path, query, *[value for _, value in headers]])) or (
        b"h1" in body and contains_mark(body)
    )


def _is_suspect(text: str) -> bool:
    # A token of a thousand characters holds "h1" by chance as often as not: look closer first.
    return any(start in text for start in ("h1:", "H1:", "h1%3", "H1%3")) and contains_mark(text)
