"""Of headers only what a client acts on is compared."""

from __future__ import annotations

import pytest

from mirrorproxy.http1.heads import parse_response
from mirrorproxy.report.head_diff import are_alike, compare_heads, watched, watched_lines

MARK = "{h1:3f9a:5f0c61d25f0c61d25f0c61d25f0c61d2}"
MOMENTS = (1.76e9, 1.77e9)
Pairs = list[tuple[str, str]]


def differences(ours: Pairs, theirs: Pairs, also=(), ignored=()) -> dict[str, str]:
    """Compare two heads, as a replay does."""
    raw = "".join(f"{name}: {value}\r\n" for name, value in theirs)
    head = parse_response(f"HTTP/1.1 200 OK\r\n{raw}\r\n".encode("latin-1"))
    assert head is not None
    names = frozenset(also)
    found = compare_heads(
        watched(ours, names), watched_lines(head.lines, names), frozenset(ignored), None, MOMENTS
    )
    if not names and are_alike(ours, head.lines):
        assert found == {}
    return found


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        pytest.param(
            "Content-Type",
            "application/json; charset=utf-8",
            "Application/JSON;charset=UTF-8",
            id="type",
        ),
        pytest.param(
            "Location", "https://api.example.com/orders/42?a=1", "/orders/77?a=2", id="place"
        ),
        pytest.param("Location", f"/reset/{MARK}", "/reset/x9K2", id="a place with a secret"),
        pytest.param("Cache-Control", "no-cache, private", "private,no-cache", id="words"),
        pytest.param("ETag", '"v1"', '"v2"', id="tag"),
        pytest.param(
            "Set-Cookie", f"sid={MARK}; HttpOnly; Path=/", "sid=abc; Path=/x; HttpOnly", id="cookie"
        ),
        pytest.param("WWW-Authenticate", 'Bearer realm="a"', 'Bearer realm="b"', id="scheme"),
        pytest.param(
            "Last-Modified",
            "Thu, 20 Nov 2025 10:11:12 GMT",
            "Tue, 25 Nov 2025 10:11:12 GMT",
            id="time",
        ),
        pytest.param("Server", "nginx", "gunicorn", id="not watched"),
    ],
)
def test_what_is_alike(name, ours, theirs):
    """Whatever else differs in it."""
    assert differences([(name, ours)], [(name, theirs)]) == {}


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        pytest.param("content-type", "application/json", "text/html", id="type"),
        pytest.param("location", "/orders/42", "/login", id="place"),
        pytest.param("location", "/orders?page=2", "/orders?p=2", id="query"),
        pytest.param("cache-control", "max-age=60", "max-age=6", id="words"),
        pytest.param("etag", '"v1"', 'W/"v1"', id="tag"),
        pytest.param("set-cookie", "sid=a; HttpOnly", "sid=b", id="cookie's attribute"),
        pytest.param("set-cookie", "sid=a", "session=a", id="cookie's name"),
        pytest.param("www-authenticate", "Bearer", "Basic", id="scheme"),
    ],
)
def test_what_differs(name, ours, theirs):
    """In what matters."""
    assert differences([(name, ours)], [(name, theirs)]) == {f"header {name}": "changed"}


def test_what_is_there_on_one_side():
    """Missing at the target, or new; case and order of names do not matter."""
    assert differences(
        [("ETag", '"1"'), ("Content-Type", "a/b")], [("content-type", "a/b"), ("Allow", "GET")]
    ) == {"header etag": "missing", "header allow": "added"}


def test_what_comes_last_counts_too():
    """A header more, at the end, on either side."""
    both = [("Content-Type", "a/b")]
    assert differences(both, [*both, ("Allow", "GET")]) == {"header allow": "added"}
    assert differences([*both, ("Allow", "GET")], both) == {"header allow": "missing"}


def test_repeated_headers_are_a_set():
    """Cookies come in any order, and each counts."""
    ours = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=1")]
    assert differences(ours, [("Set-Cookie", "b=2"), ("Set-Cookie", "a=2")]) == {}
    assert differences(ours, [("Set-Cookie", "a=2")]) == {"header set-cookie": "changed"}


def test_rules_add_and_leave_out():
    """A header that is asked for is compared by its value, but for ids and times."""
    ours, theirs = [("X-Version", "1"), ("ETag", "1")], [("X-Version", "2")]
    assert differences(ours, theirs, also=["x-version"], ignored=["etag"]) == {
        "header x-version": "changed"
    }
    uuid = "0198f3d2-7c1b-7a55-9c1e-0a1b2c3d4e5"
    assert differences([("X-Id", uuid + "f")], [("X-Id", uuid + "e")], also=["x-id"]) == {}
