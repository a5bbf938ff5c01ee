"""The exchange record, version 1: what was captured of one request and its answer.

These are the values; `codec` turns them into lines and back. Readers ignore
unknown keys and refuse a higher version. No record refers back to itself, so the
garbage collector need not walk over the thousands that a reader holds (gc=False).
"""

from __future__ import annotations

from typing import Literal

import msgspec

VERSION = 1

Via = Literal["inline", "tap", "access-log", "har", "gor"]
BodyEncoding = Literal["utf8", "base64"]
BODY_NOT_LOGGED = "not in the log"
"""Why the body of a request is omitted that an access log tells of."""

HeaderList = list[tuple[str, str]]
"""Header lines as received: in order, with repeats and case, as latin-1 text."""


class Request(msgspec.Struct, omit_defaults=True, gc=False):
    """The request as the proxy received it, sealed.

    target: exactly as received, as latin-1 text. headers: without hop-by-hop
    headers and framing other than Content-Length. body: absent when empty,
    omitted or stored apart. body_bytes: the true length on the wire in bytes
    (None only in records of other makers). body_ref: where the body object
    lies, see `keys`. truncated: the body passed the capture limit and was cut;
    never replayed. omitted: why the body is not recorded, such as "unsealable".
    """

    method: str
    target: str
    version: str
    headers: HeaderList
    body: str | None = None
    body_encoding: BodyEncoding | None = None
    body_bytes: int | None = None
    body_ref: str | None = None
    truncated: bool = False
    omitted: str | None = None
    trailers: HeaderList = []


class Response(msgspec.Struct, omit_defaults=True, gc=False):
    """Production's answer; the same meanings as in `Request`.

    body is recorded only when asked for.
    """

    status: int
    headers: HeaderList = []
    body: str | None = None
    body_encoding: BodyEncoding | None = None
    body_bytes: int | None = None
    body_ref: str | None = None
    truncated: bool = False
    omitted: str | None = None
    trailers: HeaderList = []


class Credential(msgspec.Struct, omit_defaults=True, gc=False, rename={"place": "in"}):
    """One secret of the request, as its keyed fingerprint.

    place: "header", "cookie", "query" or "body". name: the header, cookie, key
    or field. scheme: "Bearer", "Basic" and so on, for Authorization.
    fingerprint and subject: ``h1:<key id>:<digest>``. claims: the allowed
    claims of a JWT. user: the Basic user name, only when keeping it was asked for.
    """

    place: str
    name: str
    fingerprint: str
    scheme: str | None = None
    subject: str | None = None
    claims: dict[str, object] = {}
    user: str | None = None


class Exchange(msgspec.Struct, omit_defaults=True, gc=False):
    """One captured request with production's answer.

    started_us: wall clock at the first byte of the request, microseconds since
    1970. duration_us: until just before the last byte of the response was
    handed to the socket. response is None when production gave none (failure
    says why) or none was seen (observed is False).
    """

    v: int
    id: str
    service: str
    via: Via
    node: str
    started_us: int
    duration_us: int
    client: str
    scheme: str
    upstream: str
    request: Request
    response: Response | None = None
    failure: str | None = None
    observed: bool = True
    credentials: list[Credential] = []
