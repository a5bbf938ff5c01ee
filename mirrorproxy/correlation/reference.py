"""A reference: one value in a shot, and how another is written in its place.

Pure. Whole values only; a value that cannot stand where it would go is not put there:
it came from a target, and may hold anything.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import msgspec

from mirrorproxy.correlation.affinity import Keys
from mirrorproxy.headers import first
from mirrorproxy.rules.coding import compressed
from mirrorproxy.shot import Shot

_HEADER_SAFE = re.compile(r"[\x21-\x7e\x80-\xff]+(?: [\x21-\x7e\x80-\xff]+)*")
_COOKIE_SAFE = re.compile(r"[!#-+\--:<-\[\]-~]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")

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


def in_path(value: str) -> str | None:
    """Return a value as a segment of a path."""
    return quote(value, safe="")


def in_query(value: str) -> str | None:
    """Return a value as it stands in a query or a form."""
    return quote_plus(value)


def in_header(value: str) -> str | None:
    """Return a value that can stand in a header, None if it cannot."""
    return value if _HEADER_SAFE.fullmatch(value) else None


def in_tag(value: str) -> str | None:
    """Return a value that can stand between the quotes of an entity tag, None if it cannot."""
    return value if _HEADER_SAFE.fullmatch(value) and '"' not in value else None


def in_cookie(value: str) -> str | None:
    """Return a value that can stand in a cookie, None if it cannot."""
    return value if _COOKIE_SAFE.fullmatch(value) else None


def in_number(value: str) -> str | None:
    """Return a value that is a number of JSON, None if it is none."""
    return value if _NUMBER.fullmatch(value) else None


def in_json_text(value: str) -> str | None:
    """Return a value as it stands between the quotes of a JSON string."""
    return json.dumps(value)[1:-1]


def in_markup(value: str) -> str | None:
    """Return a value as it stands in XML."""
    return html.escape(value)


class Change(NamedTuple):
    """One reference with what takes its place, as it is written there."""

    reference: Reference
    written: str


def changed(shot: Shot, changes: Sequence[Change], plain: bytes) -> Shot:
    """Return a shot with values in the places of some of its references.

    plain: its body without its coding, as the references in it were found.
    """
    path, headers = shot.path, shot.headers
    in_body: list[Change] = []
    if len(changes) > 1:
        # From the end on, so that places before stay what they are.
        changes = sorted(changes, key=lambda one: one.reference.start, reverse=True)
    for change in changes:
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
        for reference, written in in_body:
            plain = plain[: reference.start] + written.encode() + plain[reference.end :]
        body = compressed(plain, first(shot.headers, "content-encoding"))
        length = len(body)
    result: Shot = msgspec.structs.replace(
        shot, path=path, headers=headers, body=body, body_length=length
    )
    return result
