"""Markup: named values in forms, pages and XML, found without a parser.

Pure. Everything here came from a network: what is not plain is passed over, nothing is
resolved, expanded or fetched.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

MAX_FIELDS: Final = 1_000

_TAG = re.compile(
    r"<(?:!--.*?-->|!\[CDATA\[.*?\]\]>|[!?][^>]*>"
    r"|(?P<close>/)?(?P<name>[A-Za-z_][\w:.-]*)(?P<rest>(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*)>)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)'|([^\s\"'<>=]+))")

_PAIRED = (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<!", ">"), ("<?", ">"))


class Spot(NamedTuple):
    """One value. path: names by slashes, attributes by ``@``. start, end: in the text, raw."""

    path: str
    start: int
    end: int


def spots_of(text: str) -> Iterator[Spot]:
    """Yield the texts and attributes of XML; none of an element that has elements in it."""
    if _is_open(text):
        return
    path: list[str] = []
    since = -1
    for count, tag in enumerate(_TAG.finditer(text)):
        if count > 10 * MAX_FIELDS:
            return
        name = tag["name"]
        if name is None:
            since = -1
            continue
        bare = name.rpartition(":")[2]
        if tag["close"]:
            if not path or path[-1] != bare:
                return
            if since >= 0:
                raw = text[since : tag.start()]
                start = since + len(raw) - len(raw.lstrip())
                end = since + len(raw.rstrip())
                if end > start:
                    yield Spot("/".join(path), start, end)
            path.pop()
            since = -1
            continue
        path.append(bare)
        at = tag.start("rest")
        for found in _ATTRIBUTE.finditer(tag["rest"]):
            group = next(number for number in (2, 3, 4) if found[number] is not None)
            label = f"{'/'.join(path)}/@{found[1]}"
            yield Spot(label, at + found.start(group), at + found.end(group))
        if tag["rest"].endswith("/"):
            path.pop()
            since = -1
        else:
            since = tag.end()


def texts_of(body: bytes, media: str) -> dict[str, str]:
    """Return the values of XML by their paths, or the hidden fields of a page by their names.

    Where several stand at one path, each has its number behind it.
    """
    text = body.decode("utf-8", "replace")
    if "html" in media:
        return dict(_hidden(text))
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for spot in spots_of(text):
        number = counts[spot.path] = counts.get(spot.path, 0) + 1
        label = spot.path if number == 1 else f"{spot.path}#{number}"
        found[label] = html.unescape(text[spot.start : spot.end])
        if len(found) >= MAX_FIELDS:
            break
    return found


def _is_open(text: str) -> bool:
    # Each beginning without an end would be looked for to the end of the text.
    return any(text.rfind(begin) > text.rfind(end) for begin, end in _PAIRED)


def _hidden(text: str) -> Iterator[tuple[str, str]]:
    if _is_open(text):
        return
    for tag in _TAG.finditer(text):
        kind = (tag["name"] or "").lower()
        if tag["close"] or kind not in ("input", "meta"):
            continue
        attributes = {
            found[1].lower(): html.unescape(found[2] or found[3] or found[4] or "")
            for found in _ATTRIBUTE.finditer(tag["rest"])
        }
        name = attributes.get("name", "")
        value = attributes.get("content" if kind == "meta" else "value", "")
        is_asked = kind == "meta" or attributes.get("type", "").lower() == "hidden"
        if name and value and is_asked:
            yield name, value


def fields_of(body: bytes) -> dict[str, str]:
    """Return the fields of a form, the last of each name."""
    found: dict[str, str] = {}
    for pair in body.decode("utf-8", "replace").split("&")[:MAX_FIELDS]:
        name, _, value = pair.partition("=")
        found[unquote_plus(name)] = unquote_plus(value)
    return found
