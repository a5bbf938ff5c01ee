"""Values that differ and mean the same, and those that only look so."""

from __future__ import annotations

import pytest

from mirrorproxy.report.alike import is_opaque, like_numbers, like_texts, names_an_id

MARK = "{h1:3f9a:5f0c61d25f0c61d25f0c61d25f0c61d2}"
THEN = 1_763_640_000.0  # 2025-11-20T12:00:00Z
NOW = 1_764_072_000.0  # 2025-11-25T12:00:00Z
MOMENTS = (THEN, NOW)


@pytest.mark.parametrize(
    ("production", "target", "name", "reason"),
    [
        pytest.param(
            "2025-11-20T10:11:12Z", "2025-11-25T01:02:03.5+01:00", "at", "time", id="RFC 3339"
        ),
        pytest.param(
            "Thu, 20 Nov 2025 10:11:12 GMT",
            "Tue, 25 Nov 2025 10:11:12 GMT",
            "",
            "time",
            id="HTTP date",
        ),
        pytest.param(
            "0198f3d2-7c1b-7a55-9c1e-0a1b2c3d4e5f",
            "0198f3d2-7c1b-7a55-9c1e-0a1b2c3d4e60",
            "ref",
            "id",
            id="UUID",
        ),
        pytest.param(
            "01JD3M5Y7Z8A9BCDEFGHJKMNPQ", "01JD3M5Y7Z8A9BCDEFGHJKMNPR", "ref", "id", id="ULID"
        ),
        pytest.param("5f0c61d25f0c61d2", "9a7b61d25f0c6100", "etag", "token", id="hex"),
        pytest.param("x9K2mQ7pL4vB8nR1tZ6w", "a1B2c3D4e5F6g7H8i9J0", "csrf", "token", id="random"),
        pytest.param(
            "eyJhbGciOi.eyJzdWIi.c2ln", "eyJhbGciOi.eyJzdWIx.c2lo", "jwt", "token", id="JWT"
        ),
        pytest.param("17", "4017", "order_id", "id", id="a number as text under a name of an id"),
        pytest.param("ord_17", "ord_4017", "id", "id", id="a short id under its name"),
        pytest.param(MARK, "anything, and more", "password", "sealed", id="a whole secret"),
        pytest.param(f"Bearer {MARK}", "Bearer abc.def", "auth", "sealed", id="a secret within"),
        pytest.param("/orders/17/items", "/orders/4017/items", "self", "id", id="a path"),
        pytest.param(
            "https://api.example.com/orders/17",
            "http://127.0.0.1:80/orders/99",
            "url",
            "id",
            id="a link",
        ),
        pytest.param(
            "https://api.example.com/a", "https://staging/a", "url", "host", id="another host"
        ),
        pytest.param(
            "placed 2025-11-20T10:11:12Z by 0198f3d2-7c1b-7a55-9c1e-0a1b2c3d4e5f",
            "placed 2025-11-25T10:11:12Z by 0198f3d2-7c1b-7a55-9c1e-0a1b2c3d4e60",
            "note",
            "time",
            id="in a text",
        ),
        pytest.param(
            "2025-11-23", "2025-11-28", "delivery", "time", id="a day as far off as the replay"
        ),
    ],
)
def test_what_is_as_good_as_equal(production, target, name, reason):
    """And why."""
    assert like_texts(production, target, name, None, MOMENTS) == reason


@pytest.mark.parametrize(
    ("production", "target", "name"),
    [
        pytest.param("9.50", "9.90", "price", id="a price"),
        pytest.param("open", "closed", "state", id="a state"),
        pytest.param("open", "closed", "state_id", id="a word under a name of an id"),
        pytest.param("17", "18", "quantity", id="a count as text"),
        pytest.param("2025-11-20", "2025-11-21", "day", id="a day that moved by another time"),
        pytest.param("2025-11-20T10:11:12Z", "1763633472", "at", id="a time in another form"),
        pytest.param("0198f3d2-7c1b-7a55-9c1e-0a1b2c3d4e5f", "none", "ref", id="an id is lost"),
        pytest.param(
            "shipped-by-carrier-2-express", "shipped-by-carrier-3-express", "how", id="a long word"
        ),
        pytest.param("Chair, oak, 4 legs", "Chair, oak, 3 legs", "name", id="a number in a text"),
        pytest.param("/orders/17/items", "/orders/17/lines", "self", id="another path"),
        pytest.param(f"Bearer {MARK}", "Basic abc", "auth", id="another scheme before a secret"),
        pytest.param(
            f'<b>5</b><i value="{MARK}">', '<b>6</b><i value="abc">', "", id="beside a secret"
        ),
    ],
)
def test_what_is_not(production, target, name):
    """A change that somebody made."""
    assert like_texts(production, target, name, None, MOMENTS) is None


def test_a_page_with_a_secret_is_compared_around_it():
    """The form's token is the target's own; what stands before it may be the same words."""
    page = '<p>Pay 5</p><input name="a" value="1"><input name="csrf" value="{}"><p>end</p>'
    assert like_texts(page.format(MARK), page.format("tok-1"), "", None, MOMENTS) == "sealed"
    other = page.replace("Pay 5", "Pay 6").format("tok-1")
    assert like_texts(page.format(MARK), other, "", None, MOMENTS) is None


@pytest.mark.parametrize(
    ("production", "target", "name", "reason"),
    [
        pytest.param(42, 77, "order_id", "id", id="an id by its name"),
        pytest.param(42, 77, "quantity", None, id="a count"),
        pytest.param(9.5, 9.9, "price", None, id="a price"),
        pytest.param(2025, 2026, "year", None, id="a year"),
        pytest.param(int(THEN), int(NOW) + 9, "at", "time", id="seconds"),
        pytest.param(THEN * 1000, NOW * 1000, "at", "time", id="milliseconds"),
        pytest.param(int(THEN), int(NOW * 1000), "at", None, id="seconds became milliseconds"),
        pytest.param(
            4_711_000_111, 4_711_000_112, "phone", None, id="ten digits that are no time near"
        ),
        pytest.param(1 << 60, (1 << 60) + 7, "key", "id", id="too large to count anything"),
    ],
)
def test_numbers(production, target, name, reason):
    """By their name, by their size, by the moment when they were said."""
    assert like_numbers(production, target, name, None, MOMENTS) == reason


def test_what_was_learned_goes_first():
    """Whole values, and words in a text; numbers as their text."""

    def same(one: str, other: str) -> bool:
        return (one, other) == ("42", "77")

    assert like_numbers(42, 77, "quantity", same, MOMENTS) == "learned"
    assert like_texts("42", "77", "n", same, MOMENTS) == "learned"
    assert like_texts("Order 42 is paid", "Order 77 is paid", "n", same, MOMENTS) == "learned"
    assert like_texts("Order 42 is paid", "Order 78 is paid", "n", same, MOMENTS) is None


@pytest.mark.parametrize(
    "name", ["id", "_id", "order_id", "orderId", "userIds", "@id", "uuid", "ID"]
)
def test_names_of_ids(name):
    """As people write them."""
    assert names_an_id(name)


@pytest.mark.parametrize("name", ["paid", "valid", "period", "identity", "grid", "quantity", ""])
def test_names_that_end_like_ids(name):
    """Are words."""
    assert not names_an_id(name)


@pytest.mark.parametrize("text", ["internationalization", "production-mode-v2-enabled", "A" * 40])
def test_words_are_not_opaque(text):
    """However long."""
    assert not is_opaque(text)
