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
from mirrorproxy.headers import APP_HEADER, end_to_end
from mirrorproxy.http1.messages import RequestHead, ResponseHead
from mirrorproxy.record import Credential, HeaderList, Request, Response

_APP_NAME = APP_HEADER.lower()
# Where none of these stands in a head, its headers are recorded just as they are.
_CONNECTION_FIELDS = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
        b"x-mirrorproxy-app",
    }
)
_ADDRESS = re.compile(r"\[?[0-9A-Fa-f:.%]{2,45}\]?(?::[0-9]{1,5})?")
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_SESSION_COOKIE = re.compile(r"sess|(?:^|[._-])sid$|auth|token|jwt|login", re.IGNORECASE)
_RECORDED_TEXT = re.compile(
    r"\s*(?:text/|application/(?:json|xml|x-www-form-urlencoded|x-ndjson|javascript)"
    r"|[a-z]+/[a-z0-9.\-]+\+(?:json|xml))",
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


def recorded_headers(head: RequestHead | ResponseHead) -> HeaderList:
    """Return the headers of a record: end to end, and without what routed the request here."""
    headers = head.headers()
    if _CONNECTION_FIELDS.isdisjoint(head.special):
        return headers
    return [(name, value) for name, value in end_to_end(headers) if name.lower() != _APP_NAME]


def facts_of(head: RequestHead, peer: str, *, trust_forwarded: bool) -> Facts:
    """Return what a request's headers say.

    peer: the address of the other end of the connection. trust_forwarded:
    whether X-Forwarded-For, X-Real-Ip and X-Forwarded-Proto are believed: they
    are set by the proxy in front of us, or by anybody where there is none.
    """
    headers = recorded_headers(head)
    content_type = content_encoding = client = real_ip = None
    scheme = "http"
    for name, value in headers:
        # Only names of these lengths are of interest here, and few others have them.
        size = len(name)
        if size == 12:
            if content_type is None and name.lower() == "content-type":
                content_type = value
        elif size == 16:
            if name.lower() == "content-encoding":
                # Several lines are one list (RFC 9110, 5.3).
                content_encoding = f"{content_encoding}, {value}" if content_encoding else value
        elif not trust_forwarded:
            continue
        elif size == 15:
            if client is None and name.lower() == "x-forwarded-for":
                client = _address(value.partition(",")[0])
        elif size == 9:
            if real_ip is None and name.lower() == "x-real-ip":
                real_ip = _address(value)
        elif size == 17 and name.lower() == "x-forwarded-proto":
            scheme = _SCHEMES.get(value.partition(",")[0].strip().lower(), scheme)
    return Facts(headers, content_type, content_encoding, client or real_ip or peer, scheme)


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
    text = text.strip()
    return text if _ADDRESS.fullmatch(text) else None
