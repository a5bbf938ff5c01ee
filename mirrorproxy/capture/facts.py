"""Facts: what the headers of an exchange say about it.

Pure, and before sealing. Decides who the client was, which session a request
belongs to, which headers a record holds, and which answers are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from mirrorproxy.headers import APP_HEADER, HOP_BY_HOP, end_to_end
from mirrorproxy.http1.messages import RequestHead
from mirrorproxy.record import Credential, HeaderList

_APP_NAME = APP_HEADER.lower()
_NOT_RECORDED = frozenset({*HOP_BY_HOP, "http2-settings", _APP_NAME})
_HOP, _CONTENT_TYPE, _CONTENT_ENCODING, _FORWARDED_FOR, _REAL_IP, _FORWARDED_PROTO = range(6)
_ROLES = {
    **dict.fromkeys(_NOT_RECORDED, _HOP),
    "content-type": _CONTENT_TYPE,
    "content-encoding": _CONTENT_ENCODING,
    "x-forwarded-for": _FORWARDED_FOR,
    "x-real-ip": _REAL_IP,
    "x-forwarded-proto": _FORWARDED_PROTO,
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
    """Return the headers of a record: end to end, and without what routed the request here.

    The list itself where nothing is to be taken out.
    """
    for name, _ in headers:
        if name.lower() in _NOT_RECORDED:
            return [pair for pair in end_to_end(headers) if pair[0].lower() not in _NOT_RECORDED]
    return headers


def facts_of(head: RequestHead, peer: str, *, trust_forwarded: bool) -> Facts:
    """Return what a request's headers say.

    peer: the address of the other end of the connection. trust_forwarded:
    whether X-Forwarded-For, X-Real-Ip and X-Forwarded-Proto are believed: they
    are set by the proxy in front of us, or by anybody where there is none.
    """
    headers = head.headers()
    content_type = content_encoding = None
    forwarded_for = real_ip = forwarded_proto = ""
    is_plain = True
    for name, value in headers:
        role = _ROLES.get(name.lower())
        if role is None:
            continue
        if role == _CONTENT_TYPE:
            content_type = content_type or value
        elif role == _FORWARDED_FOR:
            forwarded_for = forwarded_for or value
        elif role == _FORWARDED_PROTO:
            forwarded_proto = forwarded_proto or value
        elif role == _REAL_IP:
            real_ip = real_ip or value
        elif role == _CONTENT_ENCODING:
            # Several lines are one list (RFC 9110, 5.3).
            content_encoding = f"{content_encoding}, {value}" if content_encoding else value
        else:
            is_plain = False
    if not is_plain:
        headers = recorded_headers(headers)
    if not trust_forwarded:
        return Facts(headers, content_type, content_encoding, peer, "http")
    client = (forwarded_for and _address(forwarded_for)) or (real_ip and _address(real_ip)) or peer
    scheme = "http"
    if forwarded_proto:
        scheme = _SCHEMES.get(forwarded_proto.partition(",")[0].strip().lower(), scheme)
    return Facts(headers, content_type, content_encoding, client, scheme)


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


def _address(text: str) -> str | None:
    """Return the first address of a list, None where there is none."""
    text = text.partition(",")[0].strip()
    return text if _ADDRESS.fullmatch(text) else None
