"""What a request's head must be, and what of it goes on to the upstream."""

from __future__ import annotations

import pytest

from mirrorproxy.errors import PeerError
from mirrorproxy.http1.grammar import CHUNKED
from mirrorproxy.http1.heads import RequestHead, parse_request
from mirrorproxy.http1.origin import Origin

UPSTREAM = Origin("http", "10.0.3.7", 8080)


def parsed(data: bytes, *, strict: bool = False) -> RequestHead:
    head = parse_request(data, strict=strict)
    assert head is not None
    return head


def request(*lines: bytes, line: bytes = b"POST /a HTTP/1.1", host: bytes = b"Host: h") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *lines]) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(request(b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400, id="CL.TE"),
        pytest.param(request(b"Transfer-Encoding: chunked", b"Content-Length: 1"), 400, id="TE.CL"),
        pytest.param(request(b"Content-Length: 1", b"Content-Length: 1"), 400, id="equal lengths"),
        pytest.param(request(b"Content-Length: 1, 1"), 400, id="joined lengths"),
        pytest.param(request(b"Content-Length: +1"), 400, id="signed length"),
        pytest.param(request(b"Content-Length: 0x1"), 400, id="hexadecimal length"),
        pytest.param(request(b"Content-Length: 1 1"), 400, id="spaced length"),
        pytest.param(request(b"Content-Length:"), 400, id="empty length"),
        pytest.param(request(b"Content-Length: " + b"9" * 19), 400, id="length beyond 63 bits"),
        pytest.param(request("Content-Length: \u0661".encode()), 400, id="digit of another script"),
        pytest.param(request(b"Transfer-Encoding: gzip, chunked"), 400, id="two codings"),
        pytest.param(request(b"Transfer-Encoding: chunked, chunked"), 400, id="chunked twice"),
        pytest.param(
            request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"), 400, id="TE.TE"
        ),
        pytest.param(request(b"Transfer-Encoding: identity"), 400, id="identity"),
        pytest.param(request(b"Transfer-Encoding: xchunked"), 400, id="like chunked"),
        pytest.param(request(b"Transfer-Encoding: \x0bchunked"), 400, id="vertical tab"),
        pytest.param(request(b"Transfer-Encoding : chunked"), 400, id="space before the colon"),
        pytest.param(
            request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"),
            400,
            id="chunked in 1.0",
        ),
        pytest.param(request(b"X: a\r\n b"), 400, id="folded line"),
        pytest.param(request(b" X: a"), 400, id="first line folded"),
        pytest.param(request(b"X: a\nY: b"), 400, id="bare LF"),
        pytest.param(request(b"X: a\rY: b"), 400, id="bare CR"),
        pytest.param(request(b"X: a\x00b"), 400, id="NUL in a value"),
        pytest.param(request(b"X\x00: a"), 400, id="NUL in a name"),
        pytest.param(request(b"X: \x7f"), 400, id="DEL in a value"),
        pytest.param(request(b": a"), 400, id="no name"),
        pytest.param(request(b"X"), 400, id="no colon"),
        pytest.param(request("\u00e9: a".encode()), 400, id="a name that is no token"),
        pytest.param(request(host=b""), 400, id="no Host"),
        pytest.param(request(b"Host: h"), 400, id="two Hosts"),
        pytest.param(request(host=b"Host: a b"), 400, id="space in Host"),
        pytest.param(request(host=b"Host: a,b"), 400, id="comma in Host"),
        pytest.param(request(host=b"Host: u@h"), 400, id="user in Host"),
        pytest.param(request(host=b"Host: h/x"), 400, id="path in Host"),
        pytest.param(request(host=b"Host:"), 400, id="empty Host"),
        pytest.param(request(line=b"GET http://other/ HTTP/1.1"), 400, id="Host is not the URL's"),
        pytest.param(request(line=b"GET http://u@h/ HTTP/1.1"), 400, id="user in the URL"),
        pytest.param(request(line=b"GET a HTTP/1.1"), 400, id="no slash"),
        pytest.param(request(line=b"GET * HTTP/1.1"), 400, id="asterisk without OPTIONS"),
        pytest.param(request(line=b"GET /a b HTTP/1.1"), 400, id="space in the target"),
        pytest.param(request(line=b"GET /\x01 HTTP/1.1"), 400, id="control byte in the target"),
        pytest.param(request(line=b"GET  / HTTP/1.1"), 400, id="two spaces"),
        pytest.param(request(line=b"G@T / HTTP/1.1"), 400, id="a method that is no token"),
        pytest.param(request(line=b"GET / http/1.1"), 400, id="version in lower case"),
        pytest.param(request(line=b"GET /"), 400, id="HTTP/0.9"),
        pytest.param(request(line=b"GET / HTTP/2.0"), 505, id="HTTP/2.0"),
        pytest.param(request(line=b"GET / HTTP/1.2"), 505, id="HTTP/1.2"),
        pytest.param(request(line=b"CONNECT h:443 HTTP/1.1"), 501, id="CONNECT"),
    ],
)
def test_what_can_be_read_two_ways_is_refused(data: bytes, status: int) -> None:
    """A head that another parser could frame or route otherwise never goes on."""
    with pytest.raises(PeerError) as refusal:
        parse_request(data)
    assert refusal.value.status == status


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(line=b'GET /?q=bl\xe5b|{}"^<> HTTP/1.1'), id="raw bytes in the query"),
        pytest.param(request(line=b"FOO-bar! / HTTP/1.1"), id="method of its own"),
        pytest.param(request(b"X-A:  b\t", b"x-a:", b"X-A: \xff"), id="odd values, repeated"),
        pytest.param(request(*[b"X-%d: %d" % (n, n) for n in range(300)]), id="300 lines"),
        pytest.param(request(b"Cookie: " + b"c" * 100_000), id="100 KB of cookies"),
        pytest.param(request(line=b"GET /" + b"p" * 30_000 + b" HTTP/1.1"), id="long target"),
        pytest.param(request(b"!#$%&'*+-.^_`|~: x"), id="every sign of a token"),
        pytest.param(request(host=b"hOsT: [2001:db8::1]:80"), id="IPv6 Host"),
        pytest.param(request(b"Content-Length: 0005"), id="leading zeros"),
        pytest.param(request(line=b"OPTIONS * HTTP/1.1"), id="asterisk"),
        pytest.param(request(line=b"GET http://H/a HTTP/1.1"), id="absolute form"),
    ],
)
def test_what_is_merely_ugly_goes_on_byte_for_byte(data: bytes) -> None:
    """Nothing is normalised: case, order, repeats and spaces stay as they came."""
    assert parsed(data).onward(UPSTREAM) == data


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"GET /bl\xe5b HTTP/1.1", id="raw byte"),
        pytest.param(b"GET /?a|b HTTP/1.1", id="bar"),
        pytest.param(b"GET /%4 HTTP/1.1", id="half an escape"),
        pytest.param(b"GET /a#b HTTP/1.1", id="fragment"),
    ],
)
def test_a_strict_listener_refuses_the_ugly(line: bytes) -> None:
    """What RFC 3986 gives no place is a 400 where clients connect directly."""
    assert parse_request(request(line=line)) is not None
    with pytest.raises(PeerError):
        parse_request(request(line=line), strict=True)


@pytest.mark.parametrize(
    ("lines", "onward"),
    [
        pytest.param([b"Connection: keep-alive", b"X: 1"], [b"X: 1"], id="Connection"),
        pytest.param([b"Connection: x-hop", b"X-Hop: 1", b"X: 1"], [b"X: 1"], id="named by it"),
        pytest.param(
            [b"Connection: authorization, host, x-forwarded-for", b"Authorization: t"],
            [b"Authorization: t"],
            id="protected from being named",
        ),
        pytest.param(
            [b"TE: trailers", b"Keep-Alive: timeout=5", b"Proxy-Connection: x", b"Trailer: T"],
            [b"Trailer: T"],
            id="hop by hop",
        ),
        pytest.param([b"X-Mirrorproxy-App: orders", b"X: 1"], [b"X: 1"], id="the app's name"),
        pytest.param(
            [b"transfer-ENCODING: Chunked"], [b"Transfer-Encoding: chunked"], id="framed anew"
        ),
        pytest.param(
            [b"Connection: Upgrade", b"Upgrade: WebSocket"],
            [b"Connection: Upgrade", b"Upgrade: WebSocket"],
            id="WebSocket",
        ),
        pytest.param(
            [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"],
            [],
            id="h2c is never offered on",
        ),
        pytest.param([b"Upgrade: websocket"], [], id="Upgrade that Connection does not name"),
    ],
)
def test_headers_of_one_connection_stay_behind(lines: list[bytes], onward: list[bytes]) -> None:
    """Only hop-by-hop headers and framing differ between the two sides."""
    assert parsed(request(*lines)).onward(UPSTREAM) == request(*onward)


def test_an_http_1_0_request_goes_on_as_1_1_with_a_host() -> None:
    """The proxy speaks its own version; a Host that is missing is the upstream's."""
    head = parsed(request(line=b"GET / HTTP/1.0", host=b""))
    assert head.onward(UPSTREAM) == b"GET / HTTP/1.1\r\nHost: 10.0.3.7:8080\r\n\r\n"
    assert not head.keep_alive


def test_a_base_path_stands_before_the_target() -> None:
    """An upstream that is mounted below a path sees its own paths."""
    assert parsed(request()).onward(UPSTREAM, "/base").startswith(b"POST /base/a HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("lines", "framing", "keep_alive"),
    [
        pytest.param([], 0, True, id="no body"),
        pytest.param([b"content-length: 5\t"], 5, True, id="length"),
        pytest.param([b"Transfer-Encoding:chunked "], CHUNKED, True, id="chunked"),
        pytest.param([b"Connection: Close"], 0, False, id="close"),
        pytest.param([b"Connection: x", b"Connection: close, keep-alive"], 0, False, id="both"),
    ],
)
def test_framing_and_persistence(lines: list[bytes], framing: int, keep_alive: bool) -> None:
    """How the body ends, and whether another request may follow."""
    head = parsed(request(*lines))
    assert (head.framing, head.keep_alive) == (framing, keep_alive)


def test_an_unfinished_head_is_waited_for() -> None:
    """No prefix of a head is a head, and none is refused before its end is there."""
    data = request(b"Content-Length: 3", b"X: y")
    assert all(parse_request(data[:size]) is None for size in range(len(data)))
