"""Path shapes: what is left of a path when the ids in it are folded. Pure.

Groups requests that a person would call the same: ``/orders/17?x=1`` and
``/orders/18`` are both ``/orders/{int}``.
"""

from __future__ import annotations

import re

from mirrorproxy.remembered import Remembered

MAX_SHAPE = 200
"""Longest shape in characters; what is longer ends with an ellipsis."""

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_WHOLE = (
    ("{uuid}", re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")),
    ("{date}", re.compile(r"\d{4}-\d\d-\d\d")),
    # Crockford's alphabet has no I, L, O or U; a ULID is 26 of it, the first at most 7.
    ("{ulid}", re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")),
    ("{sealed}", re.compile(r".*(?:\{|%7[Bb])h\d+(?::|%3[Aa]).*")),
)
_INTEGER = re.compile(r"[0-9]+")
# Eight or more, with a digit among them: "facade" and "deadbeef" are words.
_HEX = re.compile(r"(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}")
# Letters and digits mixed without a break, longer than any word with a number in it.
_OPAQUE = re.compile(r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[0-9A-Za-z]{16,}")
_BREAK = re.compile(r"([-_.~]+)")


def path_shape(target: str) -> str:
    """Return the shape of a request target: its path, ids folded, without the query.

    The placeholders are {int}, {uuid}, {ulid}, {hex}, {date}, {opaque} and
    {sealed}. A part between dashes or dots is folded by itself: ``A-17.pdf``
    gives ``A-{int}.pdf``, while ``v1`` stays, as it is no number.
    """
    return _shapes[target]


def _shape(target: str) -> str:
    origin = None if target.startswith("/") else _ORIGIN.match(target)
    path = target[origin.end() :] if origin else target
    path = path.partition("?")[0].partition("#")[0] or "/"
    shape = "/".join([_segment(segment) for segment in path.split("/")])
    return shape if len(shape) <= MAX_SHAPE else shape[: MAX_SHAPE - 1] + "…"


def _segment(segment: str) -> str:
    # Most are a word or a number; latin-1 has no other decimals than 0 to 9.
    if segment.isalpha():
        return segment
    if segment.isdecimal():
        return "{int}"
    return _segments[segment]


def _folded(segment: str) -> str:
    for placeholder, pattern in _WHOLE:
        if pattern.fullmatch(segment):
            return placeholder
    return "".join(_part(part) for part in _BREAK.split(segment))


def _part(part: str) -> str:
    if _INTEGER.fullmatch(part):
        return "{int}"
    if _HEX.fullmatch(part):
        return "{hex}"
    if _OPAQUE.fullmatch(part):
        return "{opaque}"
    return part


_shapes = Remembered(_shape)
_segments = Remembered(_folded)
