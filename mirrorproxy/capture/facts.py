"""Facts: what the headers of an exchange say about it.

Pure. Decides who the client was and which answers are text. Which session a
request belongs to is `sampling`'s.
"""

from __future__ import annotations

import re

from mirrorproxy.capture.lines import (
    CONTENT_ENCODING,
    CONTENT_TYPE,
    FORWARDED_FOR,
    FORWARDED_PROTO,
    NO_ROLE,
    REAL_IP,
    Recorded,
)
from mirrorproxy.record import Credential

_RECORDED_TEXT = re.compile(
    r"\s*(?:text/[a-z0-9.+\-]+|application/(?:json|xml|x-www-form-urlencoded|x-ndjson|javascript)"
    r"|[a-z]+/[a-z0-9.\-]+\+(?:json|xml))(?![a-z0-9.+\-])",
    re.IGNORECASE,
)


class Facts:
    """What a request's headers say about it.

    lines: what becomes of each, in order. credentials: what was sealed in them.
    client: an address. scheme: what the client used, "http" or "https".
    """

    __slots__ = ("client", "content_encoding", "content_type", "lines", "scheme")

    def __init__(
        self,
        lines: list[Recorded],
        content_type: str | None,
        content_encoding: str | None,
        client: str,
        scheme: str,
    ) -> None:
        self.lines = lines
        self.content_type = content_type
        self.content_encoding = content_encoding
        self.client = client
        self.scheme = scheme

    @property
    def credentials(self) -> list[Credential]:
        """What was sealed in the headers."""
        return [credential for line in self.lines for credential in line.credentials]


def facts_of(lines: list[Recorded], peer: str, *, trust_forwarded: bool) -> Facts:
    """Return what the lines of a request's head say.

    peer: the address of the other end of the connection. trust_forwarded: whether
    X-Forwarded-For, X-Real-Ip and X-Forwarded-Proto are believed: they are set by
    the proxy in front of us, or by anybody where there is none. Of each the first
    line counts.
    """
    content_type: str | None = None
    content_encoding: str | None = None
    forwarded_for: str | None = None
    real_ip: str | None = None
    scheme: str | None = None
    for line in lines:
        if line.is_usual:
            continue
        role = line.role
        if role == NO_ROLE:
            continue
        value = line.value
        if role == CONTENT_TYPE:
            if content_type is None:
                content_type = value
        elif role == FORWARDED_FOR:
            if forwarded_for is None:
                forwarded_for = value
        elif role == FORWARDED_PROTO:
            if scheme is None:
                scheme = value
        elif role == REAL_IP:
            if real_ip is None:
                real_ip = value
        elif role == CONTENT_ENCODING:
            # Several lines are one list (RFC 9110, 5.3).
            content_encoding = f"{content_encoding}, {value}" if content_encoding else value
    if not trust_forwarded:
        return Facts(lines, content_type, content_encoding, peer, "http")
    client = forwarded_for or real_ip or peer
    return Facts(lines, content_type, content_encoding, client, scheme or "http")


def is_recorded_text(content_type: str | None) -> bool:
    """Tell whether answers of this type are recorded with their bodies: JSON, XML, form, text."""
    return content_type is not None and _RECORDED_TEXT.match(content_type) is not None
