"""What the proxy's grammar accepts, llhttp accepts too, and reads the same in it.

The other way round is no aim: llhttp is laxer. Where it is stricter, or reads
something else, `oracle.KNOWN` says so and why that does no harm.
"""

from __future__ import annotations

import re

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from oracle import KNOWN, Opinion, request_opinion, response_opinion

from mirrorproxy.errors import PeerError
from mirrorproxy.http1.body import decoder
from mirrorproxy.http1.grammar import CHUNKED, UNTIL_CLOSE
from mirrorproxy.http1.heads import RequestHead, ResponseHead, parse_request, parse_response
from mirrorproxy.record import HeaderList

names = st.sampled_from(
    [
        "Host", "host", "Content-Length", "content-length", "Transfer-Encoding", "Connection",
        "Content-Lengt", "Content-Length1", "Transfer-Encodin", "Upgrade", "TE", "Trailer", "X",
        "X-Mirrorproxy-App", "Proxy-Connection", "Keep-Alive", "Expect", "a!#$%&'*+-.^_`|~z",
    ]
) | st.text("Xx-_ \t\x0b\x80:(", min_size=1, max_size=3)  # fmt: skip
values = st.sampled_from(
    [
        "h", "h:80", "[::1]:80", "5", "05", "0", "+5", "-5", "5,5", "5 ", "0x5", "9" * 20,
        "chunked", "Chunked", "chunked ", "gzip, chunked", "chunked, chunked", "identity", "",
        "close", "keep-alive", "Upgrade", "websocket", "h2c", "close, X", "\t", "100-continue",
        "trailers", "a\xe9", "a\x00b", "a\rb", "a\nb", "a\x7fb", "a\x0bb", "Content-Length",
    ]
) | st.text(st.characters(max_codepoint=255), max_size=4)  # fmt: skip
separators = st.sampled_from([": ", ": ", ": ", ":", " :", ":\t", ":  \t "])
ends = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\n ", "\r\n\t"])
lines = st.builds("{}{}{}{}".format, names, separators, values, ends)
methods = st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "PATCH", "get", "PRI", "G T"])
targets = st.sampled_from(
    [
        "/", "/a?b#c", "*", "http://h/x", "HTTP://h", "//h/x", "/\xe5|{}\"^<>", "/a b", "/\x7f",
        "/\x80\xff", "h:80", "?", "/\t", "http://u@h/", "/%00", "ws://h/",
    ]
)  # fmt: skip
versions = st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1"])
starts = st.sampled_from([" "] * 12 + ["  ", "\t", ""])
requests = st.builds(
    "{}{}{}{}{}{}{}{}\r\n".format,
    methods, starts, targets, starts, versions, ends,
    st.sampled_from(["Host: h\r\n", "Host: h\r\n", ""]),
    st.lists(lines, max_size=4).map("".join),
)  # fmt: skip
statuses = st.sampled_from(["200", "204", "304", "101", "100", "404", "099", "1000", "2e2", "999"])
responses = st.builds(
    "{} {}{}{}{}\r\n".format,
    versions, statuses, st.sampled_from([" OK", " ", "", " \xe9", " a\x00"]), ends,
    st.lists(lines, max_size=4).map("".join),
)  # fmt: skip
BODY = b"body!"


def framed(framing: int) -> bytes:
    """Return a body in that framing."""
    if framing == CHUNKED:
        return b"2\r\nbo\r\n3;x=y\r\ndy!\r\n0\r\nX-T: 1\r\n\r\n"
    return b"" if framing == 0 else (BODY * (framing // 5 + 1))[:framing]


def latin(pairs: HeaderList) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def check_fields(head: RequestHead | ResponseHead, opinion: Opinion) -> None:
    seen = opinion.fields
    if head.framing == CHUNKED:
        assert seen[-1] == (b"X-T", b"1")
        seen = seen[:-1]
    assert seen == latin(head.headers())


@settings(max_examples=600)
@given(requests)
@example("PRI / HTTP/1.0\r\n\r\n")
@example("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
def test_requests_read_the_same(text: str) -> None:
    """Method, target, headers, version, and above all where the request ends."""
    data = text.encode("latin-1")
    try:
        head = parse_request(data)
    except PeerError:
        return
    assume(head is not None and head.framing < 10_000)
    assert head is not None
    data = head.raw + framed(head.framing)
    opinion = request_opinion(data)
    if opinion.error is not None:
        assert opinion.error.startswith(tuple(KNOWN)), opinion.error
        return
    if head.method == b"PRI" and not opinion.completed:
        return  # to llhttp the beginning of HTTP/2, whatever version follows
    assert opinion.completed == 1
    assert (opinion.method, opinion.target) == (head.method, head.target)
    assert opinion.version == f"1.{head.version}"
    check_fields(head, opinion)
    assert len(opinion.body) == (5 if head.framing == CHUNKED else head.framing)
    # One byte less is no whole request to either of them.
    assert request_opinion(data[:-1]).completed == 0


@settings(max_examples=600)
@given(responses)
@example("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n")
def test_answers_read_the_same(text: str) -> None:
    """Status, headers, version, and above all where the answer ends."""
    data = text.encode("latin-1")
    try:
        head = parse_response(data)
    except PeerError:
        return
    assume(head is not None and head.framing < 10_000)
    assert head is not None
    data = head.raw + framed(5 if head.framing == UNTIL_CLOSE else head.framing)
    opinion = response_opinion(data)
    if opinion.error is not None:
        assert opinion.error.startswith(tuple(KNOWN)), opinion.error
        return
    assert opinion.status == head.status
    assert opinion.version == f"1.{head.version}"
    check_fields(head, opinion)
    assert opinion.completed == (head.framing != UNTIL_CLOSE)
    wanted = 5 if head.framing in (CHUNKED, UNTIL_CLOSE) else head.framing
    assert len(opinion.body) == wanted


chunk_parts = st.sampled_from(
    [
        b"0", b"5", b"a", b"F", b"00", b"0x5", b"-1", b" 5", b"5 ", b";", b"x=y", b'x="y;\\""',
        b"=", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"hello", b"X: 1\r\n", b"X : 1\r\n", b" ",
        b"5\r\nhello\r\n", b"0\r\n\r\n", b"Content-Length: 1\r\n",
    ]
)  # fmt: skip


@settings(max_examples=600)
@given(st.lists(chunk_parts, max_size=8).map(b"".join), st.integers(1, 50))
def test_chunks_read_the_same(body: bytes, size: int) -> None:
    """A chunked body that is accepted ends where llhttp ends it, with the same content."""
    pieces: list[bytes] = []
    body += b"\r\n0\r\n\r\n"
    taken, chunks = 0, decoder(CHUNKED, 400)
    try:
        for start in range(0, len(body), size):
            taken += chunks.feed(body[start : start + size], pieces)
            if chunks.done:
                break
    except PeerError:
        return
    if not chunks.done:
        return
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    opinion = request_opinion(head + body[:taken])
    assert opinion.error is None, opinion.error
    assert opinion.completed == 1
    assert opinion.body == b"".join(pieces)
    assert request_opinion(head + body[: taken - 1]).completed == 0
    assert re.fullmatch(rb"(?:[^\r\n]+\r\n)*", chunks.trailers)
