"""What the headers of an exchange say about it."""

import pytest

from mirrorproxy.capture.facts import facts_of
from mirrorproxy.capture.lines import LineReader, json_of
from mirrorproxy.http1.heads import parse_request
from mirrorproxy.record import Credential
from mirrorproxy.sampling import session_key

LINES = LineReader(lambda line: (line, ()))


def facts(headers):
    head = parse_request(f"POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode("latin-1"))
    return facts_of(LINES.read(head.lines), "192.0.2.1", trust_forwarded=True)


@pytest.mark.parametrize(
    ("headers", "content_type", "content_encoding"),
    [
        pytest.param("", None, None, id="none"),
        pytest.param(
            "CONTENT-TYPE: a/b\r\ncontent-encoding: gzip\r\n", "a/b", "gzip", id="in any case"
        ),
        pytest.param("Content-Type: a/b\r\nContent-Type: c/d\r\n", "a/b", None, id="the first"),
        pytest.param(
            "Content-Encoding: gzip\r\nContent-Encoding: br\r\n", None, "gzip, br", id="a list"
        ),
    ],
)
def test_what_a_body_is(headers, content_type, content_encoding):
    """Type and encoding, as the sealer needs them."""
    found = facts(headers)
    assert (found.content_type, found.content_encoding) == (content_type, content_encoding)


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        pytest.param("X-Forwarded-Proto: HTTPS, http\r\n", "https", id="the first of a list"),
        pytest.param(
            "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", "https", id="the first line"
        ),
    ],
)
def test_the_scheme_is_the_clients(headers, scheme):
    """What is nearest to the client counts."""
    assert facts(headers).scheme == scheme


def test_the_first_line_of_addresses_is_the_clients():
    """Each proxy adds behind what was there."""
    headers = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 10.0.0.1\r\n"
    assert facts(headers).client == "203.0.113.7"


def test_headers_that_serve_the_connection_are_taken_out():
    """HTTP2-Settings belongs to an upgrade that is never passed on."""
    block = b"A: 1\r\nHTTP2-Settings: x\r\nConnection: Hop, keep-alive\r\nHop: y\r\nB: 2\r\n"
    head = parse_request(b"GET / HTTP/1.1\r\nHost: h\r\n" + block + b"\r\n")
    headers = json_of(LINES.read(head.lines), head.connection_options())
    assert headers == b'["Host","h"],["A","1"],["B","2"]'


AUTHORIZED = Credential("header", "authorization", "h1:k:token", subject="h1:k:user")
KEYED = Credential("header", "X-Api-Key", "h1:k:key")


@pytest.mark.parametrize(
    ("credentials", "key"),
    [
        pytest.param([AUTHORIZED], "h1:k:user", id="the subject outlives its token"),
        pytest.param([Credential("header", "Authorization", "h1:k:t")], "h1:k:t", id="a token"),
        pytest.param(
            [Credential("cookie", "sid", "h1:k:c"), AUTHORIZED], "h1:k:user", id="before cookies"
        ),
        pytest.param(
            [Credential("cookie", "sid", "h1:k:1"), Credential("cookie", "session", "h1:k:2")],
            "h1:k:1",
            id="the first session cookie",
        ),
        pytest.param([Credential("cookie", "theme", "h1:k:c")], "client", id="another cookie"),
        pytest.param([KEYED], "client", id="a key shared by many is nobody's session"),
        pytest.param([], "client", id="nothing"),
    ],
)
def test_session_keys(credentials, key):
    """Who is behind a request, as well as it can be told."""
    assert session_key(credentials, "client") == key
