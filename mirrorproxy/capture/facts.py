"""Facts: what the headers of an exchange say about it.

Pure. Decides who the client was, which session a request belongs to, which
headers a record holds, and which answers are text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from mirrorproxy.capture.lines import (
    CONTENT_ENCODING,
    CONTENT_TYPE,
    FORWARDED_FOR,
    FORWARDED_PROTO,
    REAL_IP,
    Recorded,
)
from mirrorproxy.headers import SESSION_COOKIE, is_protected
from mirrorproxy.record import Credential, HeaderList

_ADDRESS = re.compile(r"\[?[0-9A-Fa-f:.%]{2,45}\]?(?::[0-9]{1,5})?")
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_RECORDED_TEXT = re.compile(
    r"\s*(?:text/[a-z0-9.+\-]+|application/(?:json|xml|x-www-form-urlencoded|x-ndjson|javascript)"
    r"|[a-z]+/[a-z0-9.\-]+\+(?:json|xml))(?![a-z0-9.+\-])",
    re.IGNORECASE,
)


class Facts(NamedTuple):
    """What a request's headers say about it.

    headers: as they are recorded, sealed. credentials: what was sealed in them.
    client: an address. scheme: what the client used, "http" or "https".
    """

    headers: HeaderList
    credentials: list[Credential]
    content_type: str | None
    content_encoding: str | None
    client: str
    scheme: str


def recorded_headers(lines: Iterable[Recorded], options: Collection[bytes]) -> HeaderList:
    """Return what is recorded of a head's lines. options: what Connection names, lower-case."""
    headers = [line.pair for line in lines if line.pair is not None]
    return _without_named(headers, options) if options else headers


def facts_of(
    lines: Iterable[Recorded], options: Collection[bytes], peer: str, *, trust_forwarded: bool
) -> Facts:
    """Return what the lines of a request's head say.

    options: what Connection names, lower-case. peer: the address of the other end
    of the connection. trust_forwarded: whether X-Forwarded-For, X-Real-Ip and
    X-Forwarded-Proto are believed: they are set by the proxy in front of us, or by
    anybody where there is none.
    """
    headers: HeaderList = []
    credentials: list[Credential] = []
    content_type = content_encoding = None
    forwarded_for = real_ip = forwarded_proto = ""
    for line in lines:
        pair = line.pair
        if pair is not None:
            headers.append(pair)
            if line.is_usual:
                continue
            credentials += line.credentials
        role, value = line.role, line.value
        if role == CONTENT_TYPE:
            content_type = content_type or value
        elif role == FORWARDED_FOR:
            forwarded_for = forwarded_for or value
        elif role == FORWARDED_PROTO:
            forwarded_proto = forwarded_proto or value
        elif role == REAL_IP:
            real_ip = real_ip or value
        elif role == CONTENT_ENCODING:
            # Several lines are one list (RFC 9110, 5.3).
            content_encoding = f"{content_encoding}, {value}" if content_encoding else value
    if options:
        headers = _without_named(headers, options)
    if not trust_forwarded:
        return Facts(headers, credentials, content_type, content_encoding, peer, "http")
    client = (forwarded_for and _address(forwarded_for)) or (real_ip and _address(real_ip)) or peer
    scheme = _scheme(forwarded_proto) if forwarded_proto else "http"
    return Facts(headers, credentials, content_type, content_encoding, client, scheme)


def _without_named(headers: HeaderList, options: Collection[bytes]) -> HeaderList:
    """Return the headers without those that Connection names."""
    named = {option.decode("latin-1") for option in options}
    named = {name for name in named if not is_protected(name)} - {"keep-alive", "close"}
    return [pair for pair in headers if pair[0].lower() not in named] if named else headers


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
        if is_cookie and cookie is None and SESSION_COOKIE.search(credential.name):
            cookie = credential.fingerprint
    return cookie or client


def is_recorded_text(content_type: str | None) -> bool:
    """Tell whether answers of this type are recorded with their bodies: JSON, XML, form, text."""
    return content_type is not None and _RECORDED_TEXT.match(content_type) is not None


@functools.lru_cache(maxsize=64)
def _scheme(text: str) -> str:
    return _SCHEMES.get(text.partition(",")[0].strip().lower(), "http")


@functools.lru_cache(maxsize=1024)
def _address(text: str) -> str | None:
    """Return the first address of a list, None where there is none."""
    text = text.partition(",")[0].strip()
    return text if _ADDRESS.fullmatch(text) else None
