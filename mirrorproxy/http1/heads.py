"""Heads of HTTP/1.x messages: parsed from bytes, and rewritten for the next hop.

Pure. What nothing has to be changed in is passed on as the bytes that came.
"""

from __future__ import annotations

from mirrorproxy.errors import PeerError
from mirrorproxy.headers import is_protected
from mirrorproxy.http1.grammar import (
    BARE_LF,
    CHUNKED,
    REQUEST_LINE,
    STATUS_LINE,
    UNTIL_CLOSE,
    check_authority,
    check_chunked,
    check_target,
    content_length,
    is_host,
    members,
    why_no_request,
)
from mirrorproxy.http1.lines import (
    DROPPED,
    HOST,
    KEPT,
    LENGTH,
    STEERING,
    Line,
    read_lines,
)
from mirrorproxy.http1.origin import Origin
from mirrorproxy.record import HeaderList

_SLASH = 47

_NOT_ONWARD = frozenset({
    "connection", "transfer-encoding", "upgrade", "http2-settings", "x-mirrorproxy-app",
})  # fmt: skip
"""Of the steering lines, those that belong to one connection or routed the request here."""


class _Head:
    """What heads of either kind have. raw: with the final empty line. lines: the header lines."""

    raw: bytes
    lines: list[Line]
    _is_steered = False

    @property
    def block(self) -> bytes:
        """The header lines, each with its CRLF."""
        return self.raw[self.raw.index(b"\n") + 1 : -2]

    def values(self, name: str) -> list[bytes]:
        """Return the lower-case values of the headers of a lower-case name, in order."""
        return [line.value for line in self.lines if line.name == name]

    def connection_options(self) -> list[bytes]:
        """Return what Connection names, lower-case; nothing for a mere keep-alive."""
        return members(self.values("connection")) if self._is_steered else []

    def headers(self) -> HeaderList:
        """Return the headers as received, as latin-1 text."""
        return [line.pair for line in self.lines]


class RequestHead(_Head):
    """One request's head.

    method, target: as received. version: 0 or 1, the minor version. raw: the
    head's bytes, final empty line included. lines: its header lines. host:
    lower-case with its port, b"" in HTTP/1.0 without one. framing: body length in
    bytes, or CHUNKED. keep_alive: whether the client wants the connection kept.
    upgrade: the protocol asked for, as received, or None (h2c is never offered
    on). app: the value of X-Mirrorproxy-App, lower-case, or None. is_plain: it has
    no line but ordinary ones, Host and Content-Length.
    """

    # Defaults, so that making a head stores only what differs.
    upgrade: bytes | None = None
    app: bytes | None = None
    framing = 0
    is_plain = True

    def __init__(
        self, raw: bytes, start: tuple[bytes, bytes, bytes], lines: list[Line], *, strict: bool
    ) -> None:
        """Raises PeerError (400 or 501)."""
        self.raw = raw
        self.method, target, version = start
        self.target = target
        self.lines = lines
        self.version = 1 if version == b"1" else 0
        self.keep_alive = version == b"1"
        host = length = None
        for line in lines:
            if kind := line.kind:
                if kind == HOST:
                    if host is not None:
                        raise PeerError(400, "more than one Host")
                    host = line.value
                elif kind == LENGTH:
                    if length is not None:
                        raise PeerError(400, "more than one Content-Length")
                    length = line.value
                    self.framing = content_length(length, 400)
                else:
                    self.is_plain = False
                    self._is_steered = self._is_steered or kind == STEERING
        if host is None:
            if self.version:
                raise PeerError(400, "no Host")
            host = b""
        elif not is_host(host):
            raise PeerError(400, "invalid Host")
        self.host: bytes = host
        if strict or target[0] != _SLASH or self.method == b"CONNECT":
            check_target(self.method, target, strict=strict)
            if target[0] != _SLASH and target != b"*":
                check_authority(host, target)
        if not self.is_plain:
            self._steer(has_length=length is not None)

    def _steer(self, *, has_length: bool) -> None:
        if not self._is_steered:
            self.keep_alive = self.keep_alive or any(line.kind == KEPT for line in self.lines)
            return
        codings = self.values("transfer-encoding")
        if codings:
            check_chunked(codings, self.version, 400, has_length=has_length)
            self.framing = CHUNKED
        wanted = self.connection_options()
        if wanted:
            self.keep_alive = _keeps(wanted, self.version)
            if b"upgrade" in wanted and self.version == 1:
                self.upgrade = _offered_upgrade(self.lines)
        apps = self.values("x-mirrorproxy-app")
        if apps:
            self.app = apps[-1]

    def onward(self, upstream: Origin, base_path: str = "") -> bytes:
        """Return the head to send to the upstream, framing included.

        upstream: what Host says where an HTTP/1.0 client sent none.
        base_path: put before a target in origin-form; no final slash.
        """
        if self.is_plain and self.version == 1 and not base_path:
            return self.raw
        lines = _onward(self.lines, self.connection_options())
        if not self.host:
            lines.insert(0, b"Host: " + upstream.authority.encode())
        if self.framing == CHUNKED:
            lines.append(b"Transfer-Encoding: chunked")
        if self.upgrade:
            lines += (b"Connection: Upgrade", b"Upgrade: " + self.upgrade)
        target = self.target
        if base_path and target[0] == _SLASH:
            target = base_path.encode() + target
        return b"\r\n".join((b"%b %b HTTP/1.1" % (self.method, target), *lines, b"\r\n"))


class ResponseHead(_Head):
    """One response's head; the same meanings as in `RequestHead`.

    framing: body length in bytes, CHUNKED or UNTIL_CLOSE; 0 where the status or
    a HEAD request leaves no body. keep_alive: whether the upstream keeps its
    connection. is_chunked: whether the head says so, even where no body follows.
    is_plain: it may be passed on as it came.
    """

    is_chunked = False
    is_plain = True

    def __init__(
        self, raw: bytes, start: tuple[bytes, bytes], lines: list[Line], *, to_head: bool
    ) -> None:
        """Raises PeerError(502)."""
        version, status_text = start
        self.raw = raw
        self.lines = lines
        self.version = 1 if version == b"1" else 0
        self.status = status = int(status_text)
        self.keep_alive = version == b"1"
        framing, length = UNTIL_CLOSE, None
        for line in lines:
            if kind := line.kind:
                if kind == LENGTH:
                    if length is not None:
                        raise PeerError(502, "more than one Content-Length")
                    length = line.value
                    framing = content_length(length, 502)
                elif kind == KEPT:
                    self.is_plain = False
                    self.keep_alive = True
                elif kind != HOST:
                    self.is_plain = False
                    self._is_steered = self._is_steered or kind == STEERING
        if self._is_steered:
            codings = self.values("transfer-encoding")
            if codings:
                check_chunked(codings, self.version, 502, has_length=length is not None)
                self.is_chunked = True
                framing = CHUNKED
            wanted = self.connection_options()
            if wanted:
                self.keep_alive = _keeps(wanted, self.version)
        # Framing headers are checked above even where the status leaves no room
        # for a body: the next reader may not know that.
        no_body = to_head or status < 200 or status in (204, 304)
        self.framing = 0 if no_body else framing

    def onward(self, *, chunked: bool, connection: bytes) -> bytes:
        """Return the head to send to the client.

        chunked: whether the body that follows will be chunked. connection: the
        value of our own Connection header, b"" for none.
        """
        bodiless = self.status < 200 or self.status == 204  # RFC 9110, 8.6: no Content-Length
        if self.is_plain and self.version == 1 and not (chunked or connection or bodiless):
            return self.raw
        if self._is_steered:
            lines = _onward(self.lines, self.connection_options())
        else:
            lines = [line.raw for line in self.lines if line.kind < KEPT]
        if bodiless:
            lines = [raw for raw in lines if raw[:15].lower() != b"content-length:"]
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        upgrade = self._is_steered and self.status in (101, 426) and _raw_upgrade(self.lines)
        if upgrade:
            connection = b"Upgrade, " + connection if connection else b"Upgrade"
        if connection:
            lines.append(b"Connection: " + connection)
        if upgrade:
            lines.append(b"Upgrade: " + upgrade)
        # The version is ours, the status and its reason are the upstream's.
        start = b"HTTP/1.1" + self.raw[8 : self.raw.index(b"\r")]
        return b"\r\n".join((start, *lines, b"\r\n"))


def parse_request(data: bytes, *, strict: bool = False) -> RequestHead | None:
    """Return the request whose head these bytes begin with; None while it is incomplete.

    Raises PeerError (400, 501 or 505).
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        # A bare LF may be where others see the end of the head: nothing to wait for.
        if BARE_LF.search(data):
            raise why_no_request(data)
        return None
    first, *block = data[:end].split(b"\r\n")
    start = REQUEST_LINE.fullmatch(first)
    if start is None:
        raise why_no_request(data)
    try:
        lines = read_lines(block, end)
    except ValueError as error:
        raise PeerError(400, "malformed header line") from error
    return RequestHead(data[: end + 4], start.groups(), lines, strict=strict)  # type: ignore[arg-type]


def parse_response(data: bytes, *, to_head: bool = False) -> ResponseHead | None:
    """Return the response whose head these bytes begin with; None while it is incomplete.

    Raises PeerError(502).
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if BARE_LF.search(data):
            raise PeerError(502, "malformed response head")
        return None
    first, *block = data[:end].split(b"\r\n")
    start = STATUS_LINE.fullmatch(first)
    if start is None:
        raise PeerError(502, "malformed response head")
    try:
        lines = read_lines(block, end)
    except ValueError as error:
        raise PeerError(502, "malformed header line") from error
    return ResponseHead(data[: end + 4], start.groups(), lines, to_head=to_head)  # type: ignore[arg-type]


def _keeps(wanted: list[bytes], version: int) -> bool:
    if version == 1:
        return b"close" not in wanted
    return b"keep-alive" in wanted and b"close" not in wanted


def _raw_upgrade(lines: list[Line]) -> bytes:
    return ", ".join(line.pair[1] for line in lines if line.name == "upgrade").encode("latin-1")


def _offered_upgrade(lines: list[Line]) -> bytes | None:
    # HTTP/2 over a tunnel would carry requests that nobody here reads (h2c smuggling).
    protocols = members([line.value for line in lines if line.name == "upgrade"])
    if any(protocol.startswith(b"h2") for protocol in protocols):
        return None
    return _raw_upgrade(lines) or None


def _onward(lines: list[Line], options: list[bytes]) -> list[bytes]:
    """Return the lines without those of one connection; framing is written anew."""
    named = {option.decode("latin-1") for option in options}
    named = {name for name in named if not is_protected(name)}
    return [
        line.raw
        for line in lines
        if line.kind not in (KEPT, DROPPED)
        and not (line.kind == STEERING and line.name in _NOT_ONWARD)
        and line.name not in named
    ]
