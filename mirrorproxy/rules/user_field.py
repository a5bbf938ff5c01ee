"""Fields: the value of a field of a request's body or query, to know a user by.

Pure. What is no JSON or form, or holds no such field, has none.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from mirrorproxy.codec import MalformedRecord, body_of
from mirrorproxy.headers import first
from mirrorproxy.marks import contains_mark
from mirrorproxy.record import Exchange

_MAX_FIELDS = 1000


def field_text(exchange: Exchange, name: str) -> list[str]:
    """Return a field of the request as text, [] if there is none.

    name: of a key of the form or JSON object that is the body, else of a key of the
    query; ``user.name`` is a key within a key. A sealed one is none.
    """
    value = _of_body(exchange, name)
    if value is None:
        value = _of_form(exchange.request.target.partition("?")[2], name)
    return [] if value is None or contains_mark(value) else [value]


def _of_body(exchange: Exchange, name: str) -> str | None:
    request = exchange.request
    if not request.body:
        return None
    try:
        body = body_of(request)
    except MalformedRecord:
        return None
    if (
        (first(request.headers, "content-type") or "")
        .lower()
        .startswith("application/x-www-form-urlencoded")
    ):
        return _of_form(body.decode("latin-1"), name)
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    for part in name.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _of_form(text: str, name: str) -> str | None:
    try:
        found = parse_qs(text, max_num_fields=_MAX_FIELDS).get(name)
    except ValueError:
        return None
    return found[0] if found else None
