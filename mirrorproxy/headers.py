"""Header lists: which headers belong to one connection, and how to look one up.

Pure. A header list is a list of (name, value) pairs as received, see `record`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mirrorproxy.record import HeaderList

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, 7.6.1, and what is left of RFC 2616, 13.5.1. Trailer is end to end since RFC 9110."""

_PROTECTED = frozenset({
    "authorization", "content-length", "content-type", "cookie", "forwarded", "host", "x-real-ip",
})  # fmt: skip

SESSION_COOKIE = re.compile(r"sess|(?:^|[._-])sid$|auth|token|jwt|login", re.IGNORECASE)
"""Finds names of cookies that stand for a session: connect.sid, JSESSIONID, auth_token, ..."""

REPLAY_HEADER = "X-Mirrorproxy-Replay"
"""Marks every shot: ``<run>/<id>``. Never recorded, never replayed."""

APP_HEADER = "X-Mirrorproxy-App"
"""Set by Traefik to name the app a request is for; taken off before it is forwarded."""


def first(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the value of the first header of that name, whatever its case, or None."""
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None


def values(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    """Return the values of every header of that name, in order."""
    wanted = name.lower()
    return [value for key, value in headers if key.lower() == wanted]


def connection_options(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the lower-case options that the Connection headers name."""
    return frozenset(
        option.strip().lower()
        for value in values(headers, "connection")
        for option in value.split(",")
        if option.strip()
    )


def is_protected(name: str) -> bool:
    """Tell whether a client cannot have a header taken out by naming it in Connection.

    name: lower-case. These decide framing, routing, or who the application
    believes the client to be.
    """
    return name in _PROTECTED or name.startswith("x-forwarded-")


def end_to_end(headers: HeaderList) -> HeaderList:
    """Return the headers without hop-by-hop ones, those that Connection names included."""
    named = {option for option in connection_options(headers) if not is_protected(option)}
    return [
        (name, value)
        for name, value in headers
        if (lower := name.lower()) not in HOP_BY_HOP and lower not in named
    ]
