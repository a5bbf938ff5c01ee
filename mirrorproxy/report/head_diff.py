"""Heads of answers compared: the headers that a client acts on.

Pure. Owns which headers these are, and what of each matters. Most headers differ
between any two servers and mean nothing (Date, Server, Via, Content-Length of a body
that is compared itself); what is compared without being asked for is listed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mirrorproxy.http1.lines import Line
from mirrorproxy.marks import contains_mark
from mirrorproxy.remembered import Remembered
from mirrorproxy.report.alike import Moments, Same, like_texts
from mirrorproxy.report.shapes import path_shape
from mirrorproxy.report.structure import ADDED, CHANGED, MISSING

_SCHEME: Final = re.compile(r"[A-Za-z0-9-]+(?=\s|$)")
_URL: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")


def _folded(value: str) -> str:
    """Return a list of words without case, space and order."""
    return ",".join(sorted(part.strip().lower() for part in value.split(",")))


def _media(value: str) -> str:
    first, *parameters = value.lower().split(";")
    kept = sorted(p.strip() for p in parameters if p.strip().startswith("charset"))
    return ";".join((first.strip(), *kept)).replace('"', "")


def _location(value: str) -> str:
    """Return the form of a place: its path with ids folded, and the names of its query."""
    url = _URL.match(value)
    path, _, query = (value[url.end() :] if url else value).partition("#")[0].partition("?")
    names = sorted(pair.partition("=")[0] for pair in query.split("&")) if query else []
    return path_shape(path or "/") + "?" * bool(names) + "&".join(names)


def _etag(value: str) -> str:
    return "weak" if value.startswith(("W/", "w/")) else "strong"


def _cookie(value: str) -> str:
    name, _, attributes = value.partition("=")
    kept = [
        word.strip().lower()
        for word in attributes.split(";")[1:]
        if word.strip().lower().startswith(("httponly", "samesite"))
    ]
    return ";".join((name.strip(), *sorted(kept)))


def _scheme(value: str) -> str:
    found = _SCHEME.match(value)
    return found[0].lower() if found else ""


def _kind(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def _presence(_value: str) -> str:
    return ""


FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "allow": _folded,
    "cache-control": _folded,
    "content-disposition": _kind,
    "content-language": _folded,
    "content-type": _media,
    "etag": _etag,
    "last-modified": _presence,
    "location": _location,
    "retry-after": _presence,
    "set-cookie": _cookie,
    "www-authenticate": _scheme,
}
"""Header -> what of its value is compared."""

Pairs = Iterable[tuple[str, str]]
Watched = list[tuple[str, str]]


_lower: Final = Remembered[str, str](str.lower)


def are_alike(production: list[tuple[str, str]], target: list[Line]) -> bool:
    """Tell whether two heads are alike one by one: so it is with nearly every answer.

    False says nothing: then `compare_heads` has to look.
    """
    at, end = 0, len(production)
    for line in target:
        name = line.name
        form = FORMS.get(name)
        if form is None:
            continue
        while at < end and _lower[production[at][0]] not in FORMS:
            at += 1
        if at == end:
            return False
        ours, theirs = production[at], line.pair[1]
        at += 1
        if _lower[ours[0]] != name or (ours[1] != theirs and form(ours[1]) != form(theirs)):
            return False
    while at < end:
        if _lower[production[at][0]] in FORMS:
            return False
        at += 1
    return True


def watched(pairs: Pairs, also: frozenset[str]) -> Watched:
    """Return the headers that are compared, names lower-case, in order.

    also: lower-case names that the rules ask for.
    """
    found: Watched = []
    for name, value in pairs:
        lower = _lower[name]
        if lower in FORMS or lower in also:
            found.append((lower, value))
    return found


def watched_lines(lines: list[Line], also: frozenset[str]) -> Watched:
    """Return the same of the lines of a head."""
    found: Watched = []
    for line in lines:
        name = line.name
        if name in FORMS or name in also:
            found.append((name, line.pair[1]))
    return found


def compare_heads(
    production: Watched,
    target: Watched,
    ignored: frozenset[str],
    same: Same | None,
    moments: Moments,
) -> dict[str, str]:
    """Return what differs: ``header NAME`` -> how.

    production, target: as `watched` returns them. ignored: lower-case names.
    """
    ours, theirs = _by_name(production), _by_name(target)
    differences: dict[str, str] = {}
    for name, values in ours.items():
        if name in ignored:
            continue
        if name not in theirs:
            differences[f"header {name}"] = MISSING
        elif not _are_alike(name, values, theirs[name], same, moments):
            differences[f"header {name}"] = CHANGED
    for name in theirs:
        if name not in ours and name not in ignored:
            differences[f"header {name}"] = ADDED
    return differences


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _are_alike(
    name: str, ours: list[str], theirs: list[str], same: Same | None, moments: Moments
) -> bool:
    if ours == theirs:
        return True
    form = FORMS.get(name)
    if form is not None:
        if any("h1" in value and contains_mark(value) for value in ours):
            # What stands in its place is not known; that there is one is.
            return len(ours) == len(theirs)
        return sorted(map(form, ours)) == sorted(map(form, theirs))
    return len(ours) == len(theirs) and all(
        one == other or like_texts(one, other, name, same, moments) is not None
        for one, other in zip(ours, theirs, strict=True)
    )
