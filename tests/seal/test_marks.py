"""Marks are found where they stand, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from mirrorproxy.marks import (
    Mark,
    contains_mark,
    find_marks,
    is_sealed,
    mark_of,
    parse_fingerprint,
    parse_mark,
)

DIGEST = "0123456789abcdef0123456789abcdef"
FINGERPRINT = f"h1:3f9a:{DIGEST}"
MARK = "{" + FINGERPRINT + "}"


def test_a_mark_is_its_fingerprint_in_braces():
    """Fingerprint and mark turn into each other."""
    assert mark_of(FINGERPRINT) == MARK
    mark = parse_mark(MARK)
    assert mark == Mark("3f9a", DIGEST, 0, len(MARK))
    assert mark.fingerprint == FINGERPRINT
    assert parse_fingerprint(FINGERPRINT) == ("3f9a", DIGEST)


def test_find_marks_gives_places():
    """Positions count characters in text and bytes in a body."""
    assert find_marks(f"é {MARK}") == [Mark("3f9a", DIGEST, 2, 2 + len(MARK))]
    assert find_marks(f"é {MARK}".encode()) == [Mark("3f9a", DIGEST, 3, 3 + len(MARK))]
    assert len(find_marks(MARK * 3)) == 3


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(FINGERPRINT, id="no braces"),
        pytest.param("{h1:3f9a:}", id="no digest"),
        pytest.param("{h2:3f9a:" + DIGEST + "}", id="another version"),
        pytest.param("{h1:3F9A:" + DIGEST + "}", id="upper case"),
        pytest.param("{h1:3f9:" + DIGEST + "}", id="short key id"),
        pytest.param(MARK + "\n", id="newline after it"),
        pytest.param("Bearer " + MARK, id="more than the mark"),
    ],
)
def test_what_is_not_a_mark(text: str):
    """Only the whole and exact spelling is a mark."""
    assert parse_mark(text) is None
    assert not is_sealed(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"/orders?token={MARK}", id="plain"),
        pytest.param(f"/orders?token=%7Bh1%3A3f9a%3A{DIGEST}%7D", id="percent-encoded"),
        pytest.param(f"/orders?token=%7bh1:3f9a:{DIGEST}%7d", id="braces encoded"),
        pytest.param('{"a":"\\u007bh1:3f9a:' + DIGEST + '}"}', id="JSON-escaped"),
        pytest.param("{H1:3F9A:" + DIGEST.upper() + "}", id="upper case by a rewrite"),
        pytest.param("{h1:3f9a:01", id="cut"),
    ],
)
def test_traces_of_marks_are_seen_before_sending(text: str):
    """A mark that a rewrite encoded or cut is still not sent."""
    assert contains_mark(text)
    assert contains_mark(text.encode())


@pytest.mark.parametrize("text", ["", "h1", "{h1}", "<h1>3f9a</h1>", '{"h1":"3f9a"}', "{h1:x}"])
def test_ordinary_text_holds_no_mark(text: str):
    """Headings and short objects are sent."""
    assert not contains_mark(text)
    assert not contains_mark(text.encode())
    assert find_marks(text) == []
