"""Heads of our own requests: what is written, what is left out, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirrorproxy.headers import end_to_end
from mirrorproxy.http1.grammar import REQUEST_HEAD
from mirrorproxy.http1.messages import retargeted, serialize_request

PLAIN = [("Host", "a"), ("X-Twice", "1"), ("x-twice", "2")]


@pytest.mark.parametrize(
    ("headers", "body_length", "head"),
    [
        pytest.param(
            PLAIN, None, b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n",
            id="order, case and repeats stay",
        ),
        pytest.param(
            [("Host", "a"), ("content-LENGTH", "99")], 5,
            b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            id="the length is that of the body",
        ),
        pytest.param(
            [("Host", "a"), ("Transfer-Encoding", "chunked"), ("TE", "x"), ("Keep-Alive", "y")], 0,
            b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            id="what serves one connection is left out",
        ),
        pytest.param(
            [("X-Hop", "1"), ("Host", "a"), ("Connection", "x-hop, close"), ("X-End", "2")], None,
            b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-End: 2\r\n\r\n",
            id="what Connection names is left out, before it and behind",
        ),
        pytest.param(
            [("Host", "a"), ("X-Hop", "\0"), ("Connection", "x-hop")], None,
            b"POST /a?b HTTP/1.1\r\nHost: a\r\n\r\n",
            id="whatever it holds",
        ),
        pytest.param(
            [("Host", "a"), ("X-Long", "v" * 5000)], None,
            b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-Long: " + b"v" * 5000 + b"\r\n\r\n",
            id="a long value",
        ),
        pytest.param(
            [("Host", "a"), ("X", "\xe9"), ("Y", "")], None,
            b"POST /a?b HTTP/1.1\r\nHost: a\r\nX: \xe9\r\nY: \r\n\r\n",
            id="latin-1, and nothing at all",
        ),
    ],
)  # fmt: skip
def test_the_head_as_it_is_written(headers, body_length, head):
    """The same again the second time, when every header is known."""
    for _ in range(2):
        assert serialize_request("POST", "/a?b", headers, body_length) == head


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        pytest.param("POST", "/", [("A", "b\r\nEvil: 1")], id="a second header in a value"),
        pytest.param("POST", "/", [("A", "b\nEvil: 1")], id="a bare LF"),
        pytest.param("POST", "/", [("A", "b\rc")], id="a bare CR"),
        pytest.param("POST", "/", [("A", "\0")], id="NUL"),
        pytest.param("POST", "/", [("A\r\nB", "c")], id="a second header in a name"),
        pytest.param("POST", "/", [("A ", "c")], id="a space before the colon"),
        pytest.param("POST", "/", [("Content-Length:5", "")], id="a colon in a name"),
        pytest.param("POST", "/", [("Te: x" + "e" * 3000, "")], id="a colon in a long name"),
        pytest.param("POST", "/", [("", "c")], id="no name"),
        pytest.param("POST", "/", [("A:b", "c"), ("A", "\u20ac")], id="no latin-1"),
        pytest.param("POST", "/", [("Long", "v" * 3000), ("A", "b\r\nE: 1")], id="beside a long"),
        pytest.param("POST", "/", [("Connection", "x"), ("A", "b\r\nE: 1")], id="beside hops"),
        pytest.param("POST", "/ HTTP/1.1\r\nEvil: 1", [], id="a header in the target"),
        pytest.param("POST", "/ HTTP/1.1\r\n\r\nGET /", [], id="a request in the target"),
        pytest.param("POST / HTTP/1.1\r\nA: b\r\nC:", "/", [], id="a header in the method"),
        pytest.param("POST", "/a b", [], id="a space in the target"),
        pytest.param("POST", "", [], id="no target"),
        pytest.param("", "/", [], id="no method"),
        pytest.param("P\u0142", "/", [], id="a method that is no latin-1"),
    ],
)
def test_what_could_be_read_otherwise_is_refused(method, target, headers):
    """Every time: a refusal is not remembered as anything else."""
    for _ in range(2):
        with pytest.raises(ValueError, match=r"HTTP does not allow|latin-1"):
            serialize_request(method, target, headers, None)


TEXT = st.text(st.sampled_from("aZ0-:; ,\t\r\n\0\x7f\xe9\u20ac/"), max_size=8)
NAMES = TEXT | st.sampled_from(
    ["Host", "Connection", "connection", "Content-Length", "TE", "X-A", "x-a", "Upgrade"]
)
VALUES = TEXT | st.sampled_from(["x-a, close", "v" * 2049])


@example("GET", "/", [("0:", "")], None)
@given(
    st.sampled_from(["GET", "POST"]) | TEXT,
    st.sampled_from(["/", "/a?b"]) | TEXT,
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    st.none() | st.integers(0, 9),
)
def test_a_head_is_what_a_check_of_the_whole_would_let_through(method, target, headers, length):
    """Headers are checked one by one; that must come to the same."""
    written = [one for one in end_to_end(headers) if one[0].lower() != "content-length"]
    lines = [f"{n}: {v}\r\n" for n, v in written]
    lines += [f"Content-Length: {length}\r\n"] if length is not None else []
    text = f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n"
    try:
        whole = text.encode("latin-1")
        is_sound = REQUEST_HEAD.fullmatch(whole) and whole.count(b"\r\n") == len(lines) + 2
    except UnicodeEncodeError:
        is_sound = False
    # In the whole a name's colon ends it early, and what follows is its value.
    if is_sound and not any(":" in name for name, _ in written):
        assert serialize_request(method, target, headers, length) == whole
    else:
        with pytest.raises(ValueError, match=r"HTTP does not allow|latin-1"):
            serialize_request(method, target, headers, length)


def test_a_head_with_another_target_is_as_if_it_had_been_written_so():
    head = serialize_request("PUT", "/orders/42?q=/orders/42", PLAIN, 5)
    assert retargeted(head, "PUT", "/orders/42?q=/orders/42", "/orders/7") == (
        b"PUT /orders/7 HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-twice: 2\r\n"
        b"Content-Length: 5\r\n\r\n"
    )


@pytest.mark.parametrize("target", ["", "/a b", "/a\r\nX: y", "/\xe9"])
def test_a_target_that_is_not_plain_is_not_put_into_a_head(target):
    assert retargeted(b"GET /a HTTP/1.1\r\n\r\n", "GET", "/a", target) is None
