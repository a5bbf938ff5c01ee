"""Heads of HTTP/1.x messages: parsed from bytes, and written for the next hop.

Pure. A parsed head keeps the raw header block; it is decoded into pairs only
when somebody asks, which on the hot path nobody does before the answer is out.
"""

from __future__ import annotations

import re

from mirrorproxy.errors import PeerError
from mirrorproxy.headers import end_to_end, values
from mirrorproxy.http1.grammar import (
    CHUNKED,
    REQUEST_HEAD,
    RESPONSE_HEAD,
    Special,
    check_host,
    check_target,
    fields,
    options,
    request_framing,
    response_framing,
    special_fields,
    why_no_request,
)
from mirrorproxy.record import HeaderList

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""RFC 9110, 9.2.2: sent twice, these leave the target as sent once."""

# Headers of one connection; the framing ones are written anew from what was decoded.
_DROPPED = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
    b"x-mirrorproxy-app",
)
# A client cannot have these taken out by naming them in Connection: they decide
# framing, routing, or who the application believes the client to be.
_PROTECTED = re.compile(
    rb"(?:host|content-length|content-type|authorization|cookie|forwarded|x-forwarded-.*|x-real-ip)"
)


class RequestHead:
    """One request's head.

    method, target: as received. version: 0 or 1, the minor version. block: the
    raw header lines, each with its CRLF. host: lower-case with its port, b"" in
    HTTP/1.0 without one. framing: body length in bytes, or CHUNKED. keep_alive:
    whether the client wants the connection kept. upgrade: the protocol asked
    for, as received, or None (h2c is never offered on). app: the value of
    X-Mirrorproxy-App, lower-case, or None.
    """

    __slots__ = (
        "app", "block", "framing", "host", "keep_alive", "method", "special", "target", "upgrade",
        "version",
    )  # fmt: skip

    def __init__(
        self, method: bytes, target: bytes, version: int, block: bytes, *, strict: bool = False
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.block = block
        self.special: Special = special_fields(block)
        check_target(method, target, strict=strict)
        self.host = check_host(self.special, version, target)
        self.framing = request_framing(self.special, version)
        self.keep_alive = version == 1
        self.upgrade: bytes | None = None
        if b"connection" in self.special:
            wanted = options(self.special, b"connection")
            if b"close" in wanted:
                self.keep_alive = False
            elif b"keep-alive" in wanted:
                self.keep_alive = True
            if b"upgrade" in wanted and version == 1:
                self.upgrade = _offered_upgrade(block, self.special)
        app = self.special.get(b"x-mirrorproxy-app")
        self.app = app[-1] if app else None

    def headers(self) -> HeaderList:
        """Return the header lines as received, as latin-1 text."""
        return fields(self.block)

    def onward(self, default_host: bytes, base_path: bytes = b"") -> bytes:
        """Return the head to send to the upstream, framing included.

        default_host: what Host says where an HTTP/1.0 client sent none.
        base_path: put before a target in origin-form; no final slash.
        """
        block = _without_connection_fields(self.block, self.special)
        if not self.host:
            block = b"Host: " + default_host + b"\r\n" + block
        if self.framing == CHUNKED:
            block += b"Transfer-Encoding: chunked\r\n"
        if self.upgrade:
            block += b"Connection: Upgrade\r\nUpgrade: " + self.upgrade + b"\r\n"
        target = self.target
        if base_path and target[:1] == b"/":
            target = base_path + target
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (self.method, target, block)


class ResponseHead:
    """One response's head; the same meanings as in `RequestHead`.

    framing: body length in bytes, CHUNKED or UNTIL_CLOSE; 0 where the status or
    a HEAD request leaves no body. keep_alive: whether the upstream keeps its connection.
    """

    __slots__ = ("block", "framing", "keep_alive", "reason", "special", "status", "version")

    def __init__(
        self, status: int, reason: bytes, version: int, block: bytes, *, to_head: bool = False
    ) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.block = block
        self.special: Special = special_fields(block)
        self.framing = response_framing(self.special, version, status, to_head=to_head)
        self.keep_alive = version == 1
        if b"connection" in self.special:
            wanted = options(self.special, b"connection")
            if b"close" in wanted:
                self.keep_alive = False
            elif b"keep-alive" in wanted:
                self.keep_alive = True

    def headers(self) -> HeaderList:
        """Return the header lines as received, as latin-1 text."""
        return fields(self.block)

    def onward(self, *, chunked: bool, connection: bytes) -> bytes:
        """Return the head to send to the client.

        chunked: whether the body that follows will be chunked. connection: the
        value of our own Connection header, b"" for none.
        """
        block = _without_connection_fields(self.block, self.special)
        if (self.status < 200 or self.status == 204) and b"content-length" in self.special:
            block = _remove(block, (b"content-length",))  # RFC 9110, 8.6: never in these
        if chunked:
            block += b"Transfer-Encoding: chunked\r\n"
        if self.status in (101, 426) and b"upgrade" in self.special:
            also = b", " + connection if connection else b""
            upgrade = _raw_upgrade(self.block)
            block += b"Connection: Upgrade%b\r\nUpgrade: %b\r\n" % (also, upgrade)
        elif connection:
            block += b"Connection: " + connection + b"\r\n"
        return b"HTTP/1.1 %d %b\r\n%b\r\n" % (self.status, self.reason, block)


def parse_request(head: bytes, *, strict: bool = False) -> RequestHead:
    """Return the request whose head these bytes are, final empty line included.

    Raises PeerError (400, 501 or 505).
    """
    match = REQUEST_HEAD.fullmatch(head)
    if match is None:
        raise why_no_request(head)
    method, target, version, block = match.groups()
    return RequestHead(method, target, 1 if version == b"1" else 0, block, strict=strict)


def parse_response(head: bytes, *, to_head: bool = False) -> ResponseHead:
    """Return the response whose head these bytes are, final empty line included.

    Raises PeerError(502).
    """
    match = RESPONSE_HEAD.fullmatch(head)
    if match is None:
        raise PeerError(502, "malformed response head")
    version, status, reason, block = match.groups()
    return ResponseHead(
        int(status), reason or b"", 1 if version == b"1" else 0, block, to_head=to_head
    )


def serialize_request(
    method: str, target: str, headers: HeaderList, body_length: int | None
) -> bytes:
    """Return the head of a request of our own, with its framing.

    headers: latin-1 text; hop-by-hop and framing headers are taken out.
    body_length: in bytes; None sends no Content-Length (a request without a body).
    Raises ValueError if anything would not be read as it is meant.
    """
    lines = [
        f"{name}: {value}\r\n"
        for name, value in end_to_end(headers)
        if name.lower() != "content-length"
    ]
    if body_length is not None:
        lines.append(f"Content-Length: {body_length}\r\n")
    try:
        head = f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("a head can only hold latin-1 text") from error
    match = REQUEST_HEAD.fullmatch(head)
    if match is None or match[4].count(b"\r\n") != len(lines):
        raise ValueError("the method, target or a header holds bytes that HTTP does not allow")
    return head


def _raw_upgrade(block: bytes) -> bytes:
    return ", ".join(values(fields(block), "upgrade")).encode("latin-1")


def _offered_upgrade(block: bytes, special: Special) -> bytes | None:
    # HTTP/2 over a tunnel would carry requests that nobody here reads (h2c smuggling).
    if any(protocol.startswith(b"h2") for protocol in options(special, b"upgrade")):
        return None
    return _raw_upgrade(block) or None


def _without_connection_fields(block: bytes, special: Special) -> bytes:
    dropped = [name for name in _DROPPED if name in special]
    if not dropped:
        return block
    dropped += [o for o in options(special, b"connection") if not _PROTECTED.fullmatch(o)]
    return _remove(block, dropped)


def _remove(block: bytes, names: list[bytes] | tuple[bytes, ...]) -> bytes:
    unwanted = frozenset(names)
    return b"".join(
        line
        for line in block.splitlines(keepends=True)
        if line.partition(b":")[0].lower() not in unwanted
    )
