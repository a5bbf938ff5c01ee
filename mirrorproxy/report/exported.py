"""What is exported: an exchange and its bodies, and why one is not.

Pure values, shared by the formats in `export_har`, `export_curl` and `export_gor`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from mirrorproxy.record import Exchange, Request


class NotExportedError(Exception):
    """An exchange that a format has no place for; the message says why, without its content."""


class Exported(NamedTuple):
    """An exchange and the bodies of its messages, wherever they were stored.

    A body is b"" where there is none, or none was recorded.
    """

    exchange: Exchange
    request_body: bytes = b""
    response_body: bytes = b""


def why_incomplete(request: Request) -> str | None:
    """Return why a request cannot be sent as it was; None if it can."""
    if request.truncated:
        return "its body was cut"
    if request.omitted is not None:
        return f"its body is not recorded: {request.omitted}"
    return None


def authority_of(url: str) -> str:
    """Return the host and port of a URL, "" where there are none. Any text is taken."""
    return url.partition("://")[2].partition("/")[0]


def phrase(status: int) -> str:
    """Return the usual reason phrase of a status, "" where there is none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
