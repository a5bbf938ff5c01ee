"""Heads of HTTP/1.x messages: parsed from bytes, and written for the next hop.

Pure. A parsed head keeps the raw header block; it is decoded into pairs only
when somebody asks, which on the hot path nobody does before the answer is out.
"""

from __future__ import annotations

import functools
import re

from mirrorproxy.errors import PeerError
from mirrorproxy.headers import HOP_BY_HOP, end_to_end, is_protected, values
from mirrorproxy.http1.grammar import (
    BARE_LF,
    CHUNKED,
    REQUEST_HEAD,
    RESPONSE_HEAD,
    SPECIAL,
    TRAILERS,
    UNTIL_CLOSE,
    Special,
    check_authority,
    check_chunked,
    check_target,
    content_length,
    fields,
    is_host,
    options,
    why_no_request,
)
from mirrorproxy.http1.origin import Origin
from mirrorproxy.record import HeaderList

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""RFC 9110, 9.2.2: sent twice, these leave the target as sent once."""


class RequestHead:
    """One request's head.

    method, target: as received. version: 0 or 1, the minor version. raw: the
    head's bytes, final empty line included. host: lower-case with its port, b""
    in HTTP/1.0 without one. framing: body length in bytes, or CHUNKED.
    keep_alive: whether the client wants the connection kept. upgrade: the protocol
    asked for, as received, or None (h2c is never offered on). app: the value of
    X-Mirrorproxy-App, lower-case, or None.
    """

    # Defaults, so that making a head stores only what differs.
    upgrade: bytes | None = None
    app: bytes | None = None
    framing = 0
    _special: Special | None = None  # only where there is more than Host and Content-Length

    def __init__(self, match: re.Match[bytes], *, strict: bool) -> None:
        method, target, version, host, length, more = match.groups()
        self.method: bytes = method
        self.target: bytes = target
        self.version = int(version)
        self.raw: bytes = match[0]
        self.keep_alive = version == b"1"
        if more is not None:
            special = self._special = _by_name(self.raw)
            host = _only(special, b"host", 400)
            length = _only(special, b"content-length", 400)
            self._steer(special)
        if host is not None:
            host = host.lower()
            if not is_host(host):
                raise PeerError(400, "invalid Host")
        elif version == b"1":
            raise PeerError(400, "no Host")
        else:
            host = b""
        self.host: bytes = host
        if length is not None:
            self.framing = content_length(length, 400)
        if strict or target[0] != 47 or method == b"CONNECT":  # 47: a slash
            check_target(method, target, strict=strict)
            if target[0] != 47 and target != b"*":
                check_authority(host, target)

    def _steer(self, special: Special) -> None:
        if b"transfer-encoding" in special:
            check_chunked(special, self.version, 400)
            self.framing = CHUNKED
        if b"connection" in special:
            wanted = options(special, b"connection")
            self.keep_alive = _keeps(wanted, self.version)
            if b"upgrade" in wanted and self.version == 1:
                self.upgrade = _offered_upgrade(self.block, special)
        if b"x-mirrorproxy-app" in special:
            self.app = special[b"x-mirrorproxy-app"][-1]

    @property
    def special(self) -> Special:
        """What `grammar.SPECIAL` finds, by name; empty for no more than Host and Content-Length."""
        return self._special or {}

    @property
    def block(self) -> bytes:
        """The header lines, each with its CRLF."""
        return self.raw[self.raw.index(b"\n") + 1 : -2]

    def headers(self) -> HeaderList:
        """Return the header lines as received, as latin-1 text."""
        return fields(self.block)

    def onward(self, upstream: Origin, base_path: str = "") -> bytes:
        """Return the head to send to the upstream, framing included.

        upstream: what Host says where an HTTP/1.0 client sent none.
        base_path: put before a target in origin-form; no final slash.
        """
        if self._special is None and self.version == 1 and not base_path:
            return self.raw
        block = _cut(self.block, self._special)
        if not self.host:
            block = b"Host: %b\r\n%b" % (upstream.authority.encode(), block)
        if self.framing == CHUNKED:
            block += b"Transfer-Encoding: chunked\r\n"
        if self.upgrade:
            block += b"Connection: Upgrade\r\nUpgrade: " + self.upgrade + b"\r\n"
        target = self.target
        if base_path and target[:1] == b"/":
            target = base_path.encode() + target
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (self.method, target, block)


class ResponseHead:
    """One response's head; the same meanings as in `RequestHead`.

    framing: body length in bytes, CHUNKED or UNTIL_CLOSE; 0 where the status or
    a HEAD request leaves no body. keep_alive: whether the upstream keeps its
    connection. is_chunked: whether the head says so, even where no body follows.
    """

    is_chunked = False
    _special: Special | None = None  # only where there is more than what follows
    _kept: tuple[int, int] | None = None  # where "Connection: keep-alive" stands in raw

    def __init__(self, match: re.Match[bytes], *, to_head: bool) -> None:
        version, status_text, length, kept, more = match.groups()
        self.version = int(version)
        self.status = status = int(status_text)
        self.raw: bytes = match[0]
        self.keep_alive = version == b"1"
        framing = UNTIL_CLOSE
        if more is not None:
            special = self._special = _by_name(self.raw)
            length = _only(special, b"content-length", 502)
            if b"transfer-encoding" in special:
                check_chunked(special, self.version, 502)
                self.is_chunked = True
                framing = CHUNKED
            if b"connection" in special:
                self.keep_alive = _keeps(options(special, b"connection"), self.version)
        elif kept is not None:
            self.keep_alive = True
            self._kept = match.span(4)
        if length is not None:
            framing = content_length(length, 502)
        # Framing headers are checked above even where the status leaves no room
        # for a body: the next reader may not know that.
        no_body = to_head or status < 200 or status in (204, 304)
        self.framing = 0 if no_body else framing

    @property
    def special(self) -> Special:
        """What `grammar.SPECIAL` finds, by name; empty for no more than keep-alive and a length."""
        return self._special or {}

    @property
    def block(self) -> bytes:
        """The header lines, each with its CRLF."""
        return self.raw[self.raw.index(b"\n") + 1 : -2]

    def headers(self) -> HeaderList:
        """Return the header lines as received, as latin-1 text."""
        return fields(self.block)

    def onward(self, *, chunked: bool, connection: bytes) -> bytes:
        """Return the head to send to the client.

        chunked: whether the body that follows will be chunked. connection: the
        value of our own Connection header, b"" for none.
        """
        raw, special, kept = self.raw, self._special, self._kept
        bodiless = self.status < 200 or self.status == 204  # RFC 9110, 8.6: no Content-Length
        if special is None and not (chunked or connection or bodiless) and self.version == 1:
            return raw if kept is None else raw[: kept[0]] + raw[kept[1] :]
        lines_at = raw.index(b"\n") + 1
        block = raw[lines_at:-2]
        if special is not None:
            block = _cut(block, special)
        elif kept is not None:
            block = raw[lines_at : kept[0]] + raw[kept[1] : -2]
        if bodiless:
            block = _without(block, frozenset({b"content-length"}))
        if chunked:
            block += b"Transfer-Encoding: chunked\r\n"
        if special and self.status in (101, 426) and b"upgrade" in special:
            also = b", " + connection if connection else b""
            block += b"Connection: Upgrade%b\r\nUpgrade: %b\r\n" % (also, _raw_upgrade(self.block))
        elif connection:
            block += b"Connection: " + connection + b"\r\n"
        return b"HTTP/1.1%b%b\r\n" % (raw[8:lines_at], block)


def parse_request(data: bytes, *, strict: bool = False) -> RequestHead | None:
    """Return the request whose head these bytes begin with; None while it is incomplete.

    Raises PeerError (400, 501 or 505).
    """
    match = REQUEST_HEAD.match(data)
    if match is not None:
        return RequestHead(match, strict=strict)
    # A bare LF may be where others see the end of the head: nothing to wait for.
    if b"\r\n\r\n" in data or BARE_LF.search(data):
        raise why_no_request(data)
    return None


def parse_response(data: bytes, *, to_head: bool = False) -> ResponseHead | None:
    """Return the response whose head these bytes begin with; None while it is incomplete.

    Raises PeerError(502).
    """
    match = RESPONSE_HEAD.match(data)
    if match is not None:
        return ResponseHead(match, to_head=to_head)
    if b"\r\n\r\n" in data or BARE_LF.search(data):
        raise PeerError(502, "malformed response head")
    return None


def serialize_request(
    method: str, target: str, headers: HeaderList, body_length: int | None
) -> bytes:
    """Return the head of a request of our own, with its framing.

    headers: latin-1 text; hop-by-hop and framing headers are taken out.
    body_length: in bytes; None sends no Content-Length (a request without a body).
    Raises ValueError if anything would not be read as it is meant.
    """
    try:
        block = b"".join(map(_remembered_line, headers))
    except ValueError:
        # Perhaps a header that is refused is one of those that Connection takes out.
        block = b"".join(map(_line, end_to_end(headers)))
    start = _latin1(f"{method} {target} HTTP/1.1\r\n")
    if start.count(b"\n") != 1 or not REQUEST_HEAD.fullmatch(start + b"\r\n"):
        raise ValueError("the method or target holds bytes that HTTP does not allow")
    if body_length is None:
        return b"%b%b\r\n" % (start, block)
    return b"%b%bContent-Length: %d\r\n\r\n" % (start, block, body_length)


class _UnusualHeaderError(ValueError):
    """A header that takes others out, or that is too long to be remembered."""


_NOT_WRITTEN = HOP_BY_HOP | {"content-length"}
_MAX_REMEMBERED_CHARS = 2048


# The same few headers go out with every request: each is written and checked once.
@functools.lru_cache(4096)
def _remembered_line(header: tuple[str, str]) -> bytes:
    name, value = header
    if len(name) + len(value) > _MAX_REMEMBERED_CHARS or name.lower() == "connection":
        raise _UnusualHeaderError
    return _line(header)


def _line(header: tuple[str, str]) -> bytes:
    """Return the line of a header, b"" for one that is not written; raises ValueError."""
    name, value = header
    if name.lower() in _NOT_WRITTEN:
        return b""
    line = _latin1(f"{name}: {value}\r\n")
    if line.count(b"\n") != 1 or not TRAILERS.fullmatch(line + b"\r\n"):
        raise ValueError("a header holds bytes that HTTP does not allow")
    return line


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("a head can only hold latin-1 text") from error


def _by_name(head: bytes) -> Special:
    special: Special = {}
    for name, value in SPECIAL.findall(head.lower()):
        special.setdefault(name, []).append(value.rstrip(b" \t"))
    return special


def _only(special: Special, name: bytes, status: int) -> bytes | None:
    found = special.get(name)
    if found is None:
        return None
    if len(found) > 1:
        raise PeerError(status, f"more than one {name.decode().title()}")
    return found[0]


def _keeps(wanted: list[bytes], version: int) -> bool:
    if version == 1:
        return b"close" not in wanted
    return b"keep-alive" in wanted and b"close" not in wanted


def _raw_upgrade(block: bytes) -> bytes:
    return ", ".join(values(fields(block), "upgrade")).encode("latin-1")


def _offered_upgrade(block: bytes, special: Special) -> bytes | None:
    # HTTP/2 over a tunnel would carry requests that nobody here reads (h2c smuggling).
    if any(protocol.startswith(b"h2") for protocol in options(special, b"upgrade")):
        return None
    return _raw_upgrade(block) or None


_DROPPED = re.compile(
    rb"\n(?:connection|keep-alive|proxy-connection|te|transfer-encoding|upgrade|http2-settings"
    rb"|x-mirrorproxy-app):[^\n]*+"
)


def _cut(block: bytes, special: Special | None) -> bytes:
    """Return the lines without those of one connection; framing is written anew."""
    if special is None:
        return block
    pieces, kept_to = [], 0
    # The lines are found in a lower-case copy and cut out of the original.
    for match in _DROPPED.finditer(b"\n" + block.lower()):
        pieces.append(block[kept_to : match.start()])
        kept_to = match.end()
    pieces.append(block[kept_to:])
    block = b"".join(pieces)
    named = special.get(b"connection")
    if named is None or named in ([b"keep-alive"], [b"close"]):
        return block
    wanted = options(special, b"connection")
    return _without(
        block, frozenset(name for name in wanted if not is_protected(name.decode("latin-1")))
    )


def _without(block: bytes, names: frozenset[bytes]) -> bytes:
    lines = block.splitlines(keepends=True)
    return b"".join(line for line in lines if line.partition(b":")[0].lower() not in names)
