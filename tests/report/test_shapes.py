"""Path shapes: which paths count as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.report.shapes import MAX_SHAPE, path_shape


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        pytest.param("/orders", "/orders", id="no id"),
        pytest.param("/orders/17?x=1", "/orders/{int}", id="an integer, the query is left out"),
        pytest.param("/orders/17/lines/2", "/orders/{int}/lines/{int}", id="two"),
        pytest.param(
            "/u/019ab0c1-f2a4-7e5c-8d3f-0a1b2c3d4e5f",
            "/u/{uuid}",
            id="a UUID, whatever its version",
        ),
        pytest.param("/u/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/u/{ulid}", id="a ULID"),
        pytest.param("/c/3f9a5f0c61d2", "/c/{hex}", id="hex digits"),
        pytest.param("/c/facade/deadbeef", "/c/facade/deadbeef", id="words of hex letters stay"),
        pytest.param("/d/2026-11-23", "/d/{date}", id="a date"),
        pytest.param("/api/v1/x", "/api/v1/x", id="a version is no id"),
        pytest.param("/o/ALICE-17", "/o/ALICE-{int}", id="a number after a dash"),
        pytest.param("/img/17.png", "/img/{int}.png", id="a number before a dot"),
        pytest.param("/t/Zm9vYmFyYmF6cXV4MQ", "/t/{opaque}", id="letters and digits, long"),
        pytest.param("/antidisestablishmentarianism", "/antidisestablishmentarianism", id="a word"),
        pytest.param("/r/%7Bh1:3f9a:5f0c%7D", "/r/{sealed}", id="a mark, escaped"),
        pytest.param("/r/{h1:3f9a:5f0c}", "/r/{sealed}", id="a mark"),
        pytest.param("http://a.example/x/1#f", "/x/{int}", id="absolute form, with a fragment"),
        pytest.param("http://a.example", "/", id="absolute form without a path"),
        pytest.param("*", "*", id="OPTIONS *"),
        pytest.param("/", "/", id="root"),
        pytest.param("?a=1", "/", id="only a query"),
        pytest.param("/a//b/", "/a//b/", id="empty segments stay"),
        pytest.param("/" + "x" * 300, "/" + "x" * 198 + "…", id="cut at 200 characters"),
    ],
)
def test_shape(target, shape):
    """Ids are folded, words are not."""
    assert path_shape(target) == shape


@given(st.text(st.characters(max_codepoint=255)))
def test_any_target_has_a_short_shape(target):
    """No text is too odd."""
    assert 0 < len(path_shape(target)) <= MAX_SHAPE
