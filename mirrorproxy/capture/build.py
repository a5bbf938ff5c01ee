"""Building the record of an exchange from what the tap saw.

Pure: values in, values out; sealing is the caller's. What is read here decides
who the client was, which session a request belongs to, and which headers a
record holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from mirrorproxy.codec import encode_body
from mirrorproxy.headers import APP_HEADER, HOP_BY_HOP, end_to_end
from mirrorproxy.http1.messages import RequestHead
from mirrorproxy.record import Credential, HeaderList, Request, Response

_APP_NAME = APP_HEADER.lower()
_DROPPED = "dropped"
_ROLES = {
    **dict.fromkeys((*HOP_BY_HOP, "http2-settings", _APP_NAME), _DROPPED),
    "content-type": "content_type",
    "content-encoding": "content_encoding",
    "x-forwarded-for": "client",
    "x-real-ip": "real_ip",
    "x-forwarded-proto": "scheme",
}
_ADDRESS = re.compile(r"\[?[0-9A-Fa-f:.%]{2,45}\]?(?::[0-9]{1,5})?")
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_SESSION_COOKIE = re.compile(r"sess|(?:^|[._-])sid$|auth|token|jwt|login", re.IGNORECASE)
_RECORDED_TEXT = re.compile(
    r"\s*(?:text/[a-z0-9.+\-]+|application/(?:json|xml|x-www-form-urlencoded|x-ndjson|javascript)"
    r"|[a-z]+/[a-z0-9.\-]+\+(?:json|xml))(?![a-z0-9.+\-])",
    re.IGNORECASE,
)


class Facts(NamedTuple):
    """What a request's headers say about it.

    headers: as they are recorded, not yet sealed. client: an address. scheme:
    what the client used, "http" or "https".
    """

    headers: HeaderList
    content_type: str | None
    content_encoding: str | None
    client: str
    scheme: str


def recorded_headers(headers: HeaderList) -> HeaderList:
    """Return the headers of a record: end to end, and without what routed the request here."""
    return [
        (name, value)
        for name, value in end_to_end(headers)
        if (lower := name.lower()) != _APP_NAME and lower != "http2-settings"
    ]


def facts_of(head: RequestHead, peer: str, *, trust_forwarded: bool) -> Facts:
    """Return what a request's headers say.

    peer: the address of the other end of the connection. trust_forwarded:
    whether X-Forwarded-For, X-Real-Ip and X-Forwarded-Proto are believed: they
    are set by the proxy in front of us, or by anybody where there is none.
    """
    headers = head.headers()
    found: dict[str, str] = {}
    for name, value in headers:
        role = _ROLES.get(name.lower())
        if role is None:
            continue
        if role not in found:
            found[role] = value
        elif role == "content_encoding":
            # Several lines are one list (RFC 9110, 5.3).
            found[role] += ", " + value
    # Most heads behind a load balancer hold nothing of one connection: no copy then.
    if _DROPPED in found:
        headers = recorded_headers(headers)
    client = None
    scheme = "http"
    if trust_forwarded:
        client = _address(found.get("client", "")) or _address(found.get("real_ip", ""))
        said = found.get("scheme", "").partition(",")[0].strip().lower()
        scheme = _SCHEMES.get(said, scheme)
    return Facts(
        headers, found.get("content_type"), found.get("content_encoding"), client or peer, scheme
    )


def session_key(credentials: Iterable[Credential], client: str) -> str:
    """Return what stands for a request's session when sampling.

    The subject of its Authorization, so that a refreshed token stays in its
    session; else that value's fingerprint; else the first cookie that is named
    like a session's; else the client's address.
    """
    cookie = None
    for credential in credentials:
        if credential.place == "header" and credential.name.lower() == "authorization":
            return credential.subject or credential.fingerprint
        is_cookie = credential.place == "cookie"
        if is_cookie and cookie is None and _SESSION_COOKIE.search(credential.name):
            cookie = credential.fingerprint
    return cookie or client


def is_recorded_text(content_type: str | None) -> bool:
    """Tell whether answers of this type are recorded with their bodies: JSON, XML, form, text."""
    return content_type is not None and _RECORDED_TEXT.match(content_type) is not None


def request_record(
    head: RequestHead,
    target: str,
    headers: HeaderList,
    *,
    body: bytes,
    length: int,
    body_ref: str | None,
    truncated: bool,
    omitted: str | None,
    trailers: HeaderList,
) -> Request:
    """Return the request of a record. target, headers, body, trailers: sealed."""
    text, encoding = encode_body(body)
    return Request(
        method=head.method.decode("latin-1"),
        target=target,
        version="1.1" if head.version else "1.0",
        headers=headers,
        body=text,
        body_encoding=encoding,
        body_bytes=length,
        body_ref=body_ref,
        truncated=truncated,
        omitted=omitted,
        trailers=trailers,
    )


def response_record(
    status: int,
    headers: HeaderList,
    *,
    body: bytes,
    length: int,
    omitted: str | None,
    trailers: HeaderList,
) -> Response:
    """Return the answer of a record. headers, body, trailers: sealed."""
    text, encoding = encode_body(body)
    return Response(
        status=status,
        headers=headers,
        body=text,
        body_encoding=encoding,
        body_bytes=length,
        omitted=omitted,
        trailers=trailers,
    )


def _address(text: str) -> str | None:
    """Return the first address of a list, None where there is none."""
    text = text.partition(",")[0].strip()
    return text if _ADDRESS.fullmatch(text) else None
