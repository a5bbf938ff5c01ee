"""Named values: what a rewrite does to headers, cookies, query keys and form fields.

Pure. All four have names, repeats and an order, so they are edited alike: some
are taken out, then some renamed, then some set. What is not named stays as it
was, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote_plus, unquote_plus

from msgspec import UNSET, UnsetType

from mirrorproxy.rules.heads import Header, header_of, set_header
from mirrorproxy.rules.offers import checked_header
from mirrorproxy.rules.patterns import Fault, KeyPath, Kind, Test, compile_patterns
from mirrorproxy.rules.schema import FieldRewrite, Patterns

_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 6265, 4.1.1
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_COOKIE: Final = "cookie"

Convert = Callable[[str], str]


class FieldEdit(NamedTuple):
    """A compiled edit. removed: asks for the name, folded where case does not count."""

    removed: Test | None
    renamed: Mapping[str, str]
    set: tuple[tuple[str, str], ...]


def compile_headers(edit: FieldRewrite | UnsetType, at: KeyPath) -> FieldEdit | None:
    """Return an edit of headers; None if there is nothing to do. Raises Fault."""
    if edit is UNSET:
        return None
    for name, value in edit.set.items():
        checked_header(name, value, (*at, "set", name))
    for name, renamed in edit.rename.items():
        checked_header(name, "", (*at, "rename", name))
        checked_header(renamed, "", (*at, "rename", name))
    return _compiled(edit, Kind.FOLDED, at)


def compile_cookies(edit: FieldRewrite | UnsetType, at: KeyPath) -> FieldEdit | None:
    """Return an edit of cookies; None if there is nothing to do. Raises Fault."""
    if edit is UNSET:
        return None
    for name, value in edit.set.items():
        if not _COOKIE_NAME.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value):
            raise Fault("holds a character that a cookie can't", (*at, "set", name))
    for name, renamed in edit.rename.items():
        if not _COOKIE_NAME.fullmatch(renamed):
            raise Fault("holds a character that a cookie's name can't", (*at, "rename", name))
    return _compiled(edit, Kind.TEXT, at)


def compile_pairs(edit: FieldRewrite | UnsetType, at: KeyPath) -> FieldEdit | None:
    """Return an edit of a query or a form; None if there is nothing to do. Raises Fault."""
    return None if edit is UNSET else _compiled(edit, Kind.TEXT, at)


def _compiled(edit: FieldRewrite, kind: Kind, at: KeyPath) -> FieldEdit:
    removed = None
    if edit.remove:
        globs: Patterns = edit.remove if isinstance(edit.remove, str) else [*edit.remove]
        removed = compile_patterns(globs, kind, (*at, "remove"))
    renamed = {
        name.lower() if kind is Kind.FOLDED else name: new for name, new in edit.rename.items()
    }
    return FieldEdit(removed, renamed, tuple(edit.set.items()))


def edit_headers(headers: list[Header], edit: FieldEdit) -> list[Header]:
    """Return headers, edited."""
    if edit.removed is not None:
        is_removed = edit.removed
        headers = [header for header in headers if not is_removed(header[1])]
    if edit.renamed:
        renamed = edit.renamed
        headers = [
            header_of((renamed[header[1]], header[2][1])) if header[1] in renamed else header
            for header in headers
        ]
    for name, value in edit.set:
        headers = set_header(headers, name, value)
    return headers


def edit_cookies(headers: list[Header], edit: FieldEdit) -> list[Header]:
    """Return headers with the cookies in them edited; a Cookie without any goes."""
    result: list[Header] = []
    left = dict(edit.set)
    for header in headers:
        if header[1] != _COOKIE:
            result.append(header)
            continue
        name, value = header[2]
        pairs = [pair.strip() for pair in value.split(";") if pair.strip()]
        kept = list(filter(None, (_cookie(pair, edit, left) for pair in pairs)))
        if kept:
            result.append(header if kept == pairs else header_of((name, "; ".join(kept))))
    if left:
        added = "; ".join(f"{name}={value}" for name, value in left.items())
        for at, header in enumerate(result):
            if header[1] == _COOKIE:
                result[at] = header_of((header[2][0], f"{header[2][1]}; {added}"))
                return result
        result.append(header_of(("Cookie", added)))
    return result


def _cookie(pair: str, edit: FieldEdit, left: dict[str, str]) -> str:
    """Return a cookie as it is to be; "" for none. What was set is taken out of left."""
    name, equals, value = pair.partition("=")
    if edit.removed is not None and edit.removed(name):
        return ""
    name = edit.renamed.get(name, name)
    if name in left:
        return f"{name}={left.pop(name)}"
    # A second cookie of a name that was set would be the old value again.
    if any(name == given for given, _ in edit.set):
        return ""
    return f"{name}{equals}{value}"


def edit_pairs(text: str, edit: FieldEdit) -> str:
    """Return a query or form, without its question mark, edited. Names are compared decoded."""
    result: list[str] = []
    left = dict(edit.set)
    for pair in text.split("&"):
        raw, equals, value = pair.partition("=")
        name = unquote_plus(raw)
        if edit.removed is not None and pair and edit.removed(name):
            continue
        if name in edit.renamed:
            name = edit.renamed[name]
            raw = quote_plus(name)
        if name in left:
            result.append(f"{raw}={quote_plus(left.pop(name))}")
        elif all(name != given for given, _ in edit.set):
            result.append(f"{raw}{equals}{value}")
    result += [f"{quote_plus(name)}={quote_plus(value)}" for name, value in left.items()]
    if len(result) > 1 and not text:
        del result[0]  # the pair that an empty text is split into
    return "&".join(result)


def convert_pairs(text: str, names: frozenset[str], convert: Convert) -> str:
    """Return a query or form with the values of some names converted; others stay as they are."""
    result: list[str] = []
    for pair in text.split("&"):
        raw, equals, value = pair.partition("=")
        if equals and unquote_plus(raw) in names:
            plain = unquote_plus(value)
            converted = convert(plain)
            if converted != plain:
                result.append(f"{raw}={quote_plus(converted)}")
                continue
        result.append(pair)
    return "&".join(result)


def convert_headers(headers: list[Header], names: frozenset[str], convert: Convert) -> list[Header]:
    """Return headers with the values of some names (in lower case) converted."""
    return [
        header_of((header[2][0], convert(header[2][1]))) if header[1] in names else header
        for header in headers
    ]
