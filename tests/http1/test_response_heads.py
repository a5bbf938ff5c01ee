"""What an upstream's head must be, and what of it goes back to the client."""

from __future__ import annotations

import pytest

from mirrorproxy.errors import PeerError
from mirrorproxy.http1.grammar import CHUNKED, UNTIL_CLOSE
from mirrorproxy.http1.heads import ResponseHead, parse_response


def response(*lines: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *lines]) + b"\r\n\r\n"


def parsed(data: bytes, *, to_head: bool = False) -> ResponseHead:
    head = parse_response(data, to_head=to_head)
    assert head is not None
    return head


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(response(b"Content-Length: 1", b"Content-Length: 1"), id="two lengths"),
        pytest.param(response(b"Content-Length: 1, 1"), id="joined lengths"),
        pytest.param(response(b"Content-Length: 1", b"Transfer-Encoding: chunked"), id="CL and TE"),
        pytest.param(response(b"Transfer-Encoding: gzip, chunked"), id="two codings"),
        pytest.param(
            response(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK"), id="chunked in 1.0"
        ),
        pytest.param(response(b"X: a\nY: b"), id="bare LF"),
        pytest.param(response(b"X : a"), id="space before the colon"),
        pytest.param(response(b"X: a\r\n b"), id="folded line"),
        pytest.param(response(b"X: \x00"), id="NUL"),
        pytest.param(response(line=b"HTTP/1.1 2000 OK"), id="four digits"),
        pytest.param(response(line=b"HTTP/1.1 099 OK"), id="status below 100"),
        pytest.param(response(line=b"HTTP/2 200 OK"), id="version"),
        pytest.param(b"garbage\r\n\r\n", id="garbage"),
        pytest.param(b"\x16\x03\x01\n", id="TLS"),
    ],
)
def test_an_answer_that_can_be_read_two_ways_is_a_502(data: bytes) -> None:
    """The client never sees bytes whose framing is in doubt."""
    with pytest.raises(PeerError) as error:
        parse_response(data)
    assert error.value.status == 502


@pytest.mark.parametrize(
    ("data", "to_head", "framing"),
    [
        pytest.param(response(b"Content-Length: 5"), False, 5, id="length"),
        pytest.param(response(b"Transfer-Encoding: chunked"), False, CHUNKED, id="chunked"),
        pytest.param(response(), False, UNTIL_CLOSE, id="until close"),
        pytest.param(response(b"Content-Length: 5"), True, 0, id="to HEAD"),
        pytest.param(response(line=b"HTTP/1.1 204 No"), False, 0, id="204"),
        pytest.param(response(b"Content-Length: 5", line=b"HTTP/1.1 304 Not"), False, 0, id="304"),
        pytest.param(response(line=b"HTTP/1.1 103 Early"), False, 0, id="103"),
    ],
)
def test_how_a_body_ends(data: bytes, to_head: bool, framing: int) -> None:
    """RFC 9112, section 6.3."""
    assert parsed(data, to_head=to_head).framing == framing


@pytest.mark.parametrize(
    ("data", "onward"),
    [
        pytest.param(
            response(b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"X: 1"),
            response(b"X: 1"),
            id="as Node says it",
        ),
        pytest.param(
            response(b"X: 1", b"connection: Keep-Alive", b"Y: 2"),
            response(b"X: 1", b"Y: 2"),
            id="in the middle",
        ),
        pytest.param(response(b"Connection: close", b"X: 1"), response(b"X: 1"), id="close"),
        pytest.param(
            response(b"Connection: x-hop", b"X-Hop: 1", b"X: 1"), response(b"X: 1"), id="named"
        ),
        pytest.param(
            response(b"X: 1", line=b"HTTP/1.0 200 Fine "),
            response(b"X: 1", line=b"HTTP/1.1 200 Fine "),
            id="1.0 upstream",
        ),
        pytest.param(
            response(line=b"HTTP/1.1 200"), response(line=b"HTTP/1.1 200"), id="no reason"
        ),
        pytest.param(
            response(b"Content-Length: 3", line=b"HTTP/1.1 204 No"),
            response(line=b"HTTP/1.1 204 No"),
            id="no length in a 204",
        ),
        pytest.param(
            response(b"Set-Cookie: a", b"set-cookie: b"),
            response(b"Set-Cookie: a", b"set-cookie: b"),
            id="repeats stay",
        ),
        pytest.param(
            response(b"Connection: upgrade", b"Upgrade: TLS/1.0", line=b"HTTP/1.1 426 Do"),
            response(b"Connection: Upgrade", b"Upgrade: TLS/1.0", line=b"HTTP/1.1 426 Do"),
            id="426 names its protocol",
        ),
    ],
)
def test_only_what_belongs_to_one_connection_is_taken_out(data: bytes, onward: bytes) -> None:
    """The rest reaches the client as the upstream wrote it."""
    assert parsed(data).onward(chunked=False, connection=b"") == onward


def test_our_own_framing_and_connection_are_added() -> None:
    """A chunked body and a close are announced by us, once."""
    head = parsed(response(b"Transfer-Encoding: chunked", b"X: 1", b"Connection: keep-alive"))
    assert head.onward(chunked=True, connection=b"close") == response(
        b"X: 1", b"Transfer-Encoding: chunked", b"Connection: close"
    )


@pytest.mark.parametrize(
    ("line", "lines", "keep_alive"),
    [
        pytest.param(b"HTTP/1.1 200 OK", [], True, id="1.1"),
        pytest.param(b"HTTP/1.1 200 OK", [b"Connection: close"], False, id="1.1 close"),
        pytest.param(b"HTTP/1.0 200 OK", [], False, id="1.0"),
        pytest.param(b"HTTP/1.0 200 OK", [b"Connection: keep-alive"], True, id="1.0 keep-alive"),
        pytest.param(
            b"HTTP/1.1 200 OK", [b"Connection: keep-alive", b"Connection: close"], False, id="both"
        ),
    ],
)
def test_whether_the_upstream_keeps_its_connection(
    line: bytes, lines: list[bytes], keep_alive: bool
) -> None:
    """A connection that its upstream will close is never used again."""
    assert parsed(response(*lines, line=line)).keep_alive is keep_alive
