"""Putting replacements in the place of sealed values, and making sure none is left.

Pure. Every byte outside a mark stays as it is; a value is escaped for where it
stands: a query, a form, JSON, XML. Nothing sealed ever leaves here unnoticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Set
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec

from mirrorproxy.headers import first
from mirrorproxy.marks import PATTERN, PATTERN_BYTES, contains_mark
from mirrorproxy.rules.heads import (
    Header,
    header_of,
    is_any_sealed,
    names_of,
    pairs_of,
    value_of,
)
from mirrorproxy.rules.offers import Replacement
from mirrorproxy.shot import Shot, Want

_HEADER_SAFE = re.compile(r"[\x21-\x7e\x80-\xff]+(?: [\x21-\x7e\x80-\xff]+)*")
_COOKIE_UNSAFE = re.compile(r"[^!#-+\--:<-\[\]-~]")  # RFC 6265, 4.1.1


_PERCENT: Final = b"%"
_BACKSLASH: Final = b"\\"
_BRACE: Final = b"{"
_XML_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"})
_FEW_BRACES: Final = 16
_MARK_STARTS: Final = (b"{h1", b"{H1")

# By `without_sealed_cookies`, which counts the cookies.
_TAKEN_OUT = ("cookie", "referer")


class Parts(NamedTuple):
    """The parts of a request that may hold sealed values.

    query: "" or from "?" on. may_hold: whether the body may hold a mark; see
    `may_hold_mark`.
    """

    path: str
    query: str
    headers: list[Header]
    body: bytes
    may_hold: bool


def put_in(parts: Parts, replacement: Replacement) -> Parts:
    """Return the parts with a replacement put in; marks that it has no value for stay."""
    path, query, headers, body, may_hold = parts
    if replacement.anonymous:
        headers = [one for one in headers if not one[0] or one[1] in _TAKEN_OUT]
    values = replacement.values
    if values and "{h1:" in f"{path}{query}":
        path = _fill(path, values, _quote_path)
        query = _fill(query, values, quote_plus)
    if replacement.query:
        query = set_query(query, replacement.query)
    if values and may_hold:
        body = fill_body(body, value_of(headers, "content-type"), values)
    return Parts(path, query, _put_in_headers(headers, replacement), body, may_hold)


def set_query(query: str, keys: Mapping[str, str]) -> str:
    """Return a query ("" or from "?" on) with keys set, where they stood or at the end."""
    missing = dict(keys)
    pairs: list[str] = []
    for pair in query[1:].split("&") if query else ():
        key = unquote_plus(pair.partition("=")[0])
        if key not in keys:
            pairs.append(pair)
        elif key in missing:
            pairs.append(f"{pair.partition('=')[0]}={quote_plus(missing.pop(key))}")
    pairs += [f"{quote_plus(key)}={quote_plus(value)}" for key, value in missing.items()]
    return f"?{'&'.join(pairs)}"


def _put_in_headers(headers: list[Header], replacement: Replacement) -> list[Header]:
    """Return the headers with all of a replacement put in."""
    given, removed = replacement.headers, replacement.removed
    names = list(names_of(headers))
    result = list(headers)
    repeated = False
    for lower, pair in given.items():
        if lower in names:
            # Where the first of its name stood; repeats of it go.
            at = names.index(lower)
            result[at] = header_of((headers[at][2][0], pair[1]))
            repeated = repeated or names.count(lower) > 1
        else:
            result.append(header_of(pair))
    if repeated or (removed and not removed.isdisjoint(names)):
        result = _without(result, removed, given)
    if is_any_sealed(result):
        result = [
            _filled(one, replacement.values) if one[0] and one[1] not in given else one
            for one in result
        ]
    return result


def _without(
    headers: list[Header], removed: Set[str], given: Mapping[str, tuple[str, str]]
) -> list[Header]:
    """Return the headers without those removed, and of those given the first alone."""
    seen: set[str] = set()
    result: list[Header] = []
    for header in headers:
        lower = header[1]
        if lower in given:
            if lower in seen:
                continue
            seen.add(lower)
        elif lower in removed:
            continue
        result.append(header)
    return result


def _filled(header: Header, values: Mapping[str, str]) -> Header:
    _, lower, (name, value) = header
    escaped = _cookie_value if lower == "cookie" else str
    return header_of((name, _fill(value, values, escaped)))


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


def _header_value(value: str) -> str | None:
    """Return a value that can stand in a header, or None: then it stays sealed."""
    return value if value and _HEADER_SAFE.fullmatch(value) else None


def _cookie_value(value: str) -> str | None:
    """Return a value that can stand in a cookie, or None: then it stays sealed and is taken out."""
    return None if _COOKIE_UNSAFE.search(value) else value


def fill_body(body: bytes, content_type: str | None, values: Mapping[str, str]) -> bytes:
    """Return a body with the marks replaced that values knows."""
    if not values or b"{h1:" not in body:
        return body
    escaped = _escape_for(body, content_type or "")

    def one(match: re.Match[bytes]) -> bytes:
        value = values.get(match[0].decode())
        return match[0] if value is None else escaped(value).encode()

    return PATTERN_BYTES.sub(one, body)


def _escape_for(body: bytes, content_type: str) -> Callable[[str], str]:
    content_type = content_type.partition(";")[0].strip().lower()
    if content_type == "application/x-www-form-urlencoded":
        return quote_plus
    if "xml" in content_type or "html" in content_type:
        return lambda value: value.translate(_XML_ESCAPES)
    if content_type.startswith("multipart/"):
        return str
    if "json" in content_type or body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return lambda value: json.dumps(value)[1:-1]
    return str


def wanted_in(parts: Parts, wants: tuple[Want, ...]) -> tuple[tuple[Want, ...], bool]:
    """Return the wants that stand in a request, and whether they do in plain headers alone."""
    path, query, headers, body, _ = parts
    outside = f"{path}{query}" + "".join(pair[1] for _, lower, pair in headers if lower == "cookie")
    inside = "\n".join(pair[1] for _, lower, pair in headers if lower != "cookie")
    found: list[Want] = []
    is_in_head = True
    for want in wants:
        text = want.placeholder
        if text in outside or (body and text.encode() in body):
            is_in_head = False
        elif text not in inside:
            continue
        found.append(want)
    return tuple(found), is_in_head


def fill_late(shot: Shot, values: Mapping[str, str]) -> Shot | None:
    """Return a shot with its late values put in, by their placeholders.

    None if one cannot stand where it would go: in a cookie.
    """
    path, mark, query = shot.path.partition("?")
    headers: list[tuple[str, str]] = []
    body = shot.body
    escaped = _escape_for(body, first(shot.headers, "content-type") or "")
    for placeholder, value in values.items():
        path = path.replace(placeholder, _quote_path(value))
        query = query.replace(placeholder, quote_plus(value))
        if placeholder.encode() in body:
            body = body.replace(placeholder.encode(), escaped(value).encode())
    for name, text in shot.headers:
        for placeholder, value in values.items():
            if placeholder in text:
                if name.lower() == "cookie" and _cookie_value(value) is None:
                    return None
                text = text.replace(placeholder, value)
        headers.append((name, text))
    length = shot.body_length if body is shot.body else len(body)
    return msgspec.structs.replace(
        shot, path=path + mark + query, headers=headers, body=body, body_length=length
    )


def fill_marks(shot: Shot, values: Mapping[str, str]) -> Shot | None:
    """Return a sealed shot with values in the places of its marks.

    Cookies and Referers whose marks have none are taken out. None if any other mark is left,
    or a value cannot stand where it would go.
    """
    path, question, query = shot.path.partition("?")
    path = _fill(path, values, _quote_path)
    query = _fill(query, values, quote_plus)
    # Not by `header_of`, which remembers: these are secrets of the target.
    headers: list[Header] = []
    for name, value in shot.headers:
        lower = name.lower()
        if "{h1:" in value:
            value = _fill(value, values, _cookie_value if lower == "cookie" else _header_value)
        headers.append((contains_mark(value), lower, (name, value)))
    removed = 0
    if is_any_sealed(headers):
        headers, removed = without_sealed_cookies(headers)
    body = fill_body(shot.body, value_of(headers, "content-type"), values)
    if is_any_sealed(headers) or contains_mark(f"{path}\n{query}") or contains_mark(body):
        return None
    result: Shot = msgspec.structs.replace(
        shot,
        path=path + question + query,
        headers=list(pairs_of(headers)),
        body=body,
        body_length=shot.body_length if body is shot.body else len(body),
        cookies_removed=shot.cookies_removed + removed,
        sealed=False,
    )
    return result


def without_sealed_cookies(
    headers: list[Header], is_kept: Callable[[str], bool] | None = None
) -> tuple[list[Header], int]:
    """Return the headers without sealed cookies and sealed Referers, and how many cookies went.

    A Referer is no credential: the request means the same without it. is_kept: asks
    whether a sealed cookie, as it stands there, stays all the same.
    """
    result: list[Header] = []
    removed = 0
    for header in headers:
        is_sealed, lower, (name, value) = header
        if lower not in _TAKEN_OUT or not is_sealed:
            result.append(header)
        elif lower == "cookie":
            pairs = [pair for pair in value.split(";") if pair.strip()]
            kept = [
                pair.strip()
                for pair in pairs
                if not contains_mark(pair) or (is_kept is not None and is_kept(pair))
            ]
            removed += len(pairs) - len(kept)
            if kept:
                result.append(header_of((name, "; ".join(kept))))
    return result, removed


def holds_sealed(parts: Parts) -> bool:
    """Tell whether anything sealed, or a trace of it, is left in path, query or body."""
    path, query, _, body, may_hold = parts
    return contains_mark(f"{path}\n{query}") or (may_hold and contains_mark(body))


def may_hold_mark(body: bytes) -> bool:
    """Tell, at little cost, whether a body may hold a mark or the trace of one.

    A mark begins with a brace, plain or escaped, and a single byte is found
    many times as fast as two.
    """
    if _PERCENT in body or _BACKSLASH in body:
        return True
    at = -1
    for _ in range(_FEW_BRACES):
        at = body.find(_BRACE, at + 1)
        if at < 0:
            return False
        if body.startswith(_MARK_STARTS, at):
            return True
    return True
