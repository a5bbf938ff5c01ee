"""Fresh values and shifted times: the shape stays."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.rules.fresh import fresh
from mirrorproxy.rules.shift import shifted

DAY_US = 86_400_000_000


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        pytest.param("0b52e771-4fa6-439c-8d10-e2f5a7b6c948",
                     r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}", id="UUID"),
        pytest.param('"8e03978e-40d5-43dd-bc93-6894a57f9324"',
                     r'"[0-9a-f-]{19}b[0-9a-f-]{16}"', id="a UUID as a structured field"),
        pytest.param("01ARZ3NDEKTSV4RRFFQ69G5FAV", r"01ARZ3NDEK[0-9A-HJKMNP-TV-Z]{16}", id="ULID"),
        pytest.param("12345", r"[1-9][0-9]{4}", id="a number"),
        pytest.param("00123", r"0[0-9]{4}", id="digits that begin with 0"),
        pytest.param("ord_9fA3kQ27", r"ord_[0-9][a-z][A-Z][0-9][a-z][A-Z][0-9]{2}", id="an id"),
        pytest.param("ann@example.com", r"ann\+[0-9a-f]{8}@example.com", id="an email address"),
        pytest.param("a title", r"a title-[0-9a-f]{8}", id="any text"),
    ],
)  # fmt: skip
def test_a_fresh_value_has_the_shape_of_the_captured_one(value, shape):
    """And is another one."""
    new = fresh(value, "run", 1)
    assert re.fullmatch(shape, new)
    assert new != value
    assert new == fresh(value, "run", 1)
    assert len({value, new, fresh(value, "run", 2), fresh(value, "other", 1)}) == 4


@given(st.text(max_size=300), st.integers(1, 100))
def test_any_text_can_be_fresh(value, copy):
    """Nothing fails; the first copy keeps what was captured."""
    assert fresh(value, "run", 0) == value
    assert fresh(value, "run", copy) == fresh(value, "run", copy)


@pytest.mark.parametrize(
    ("text", "later"),
    [
        ("2026-11-25T00:25:57Z", "2026-11-26T00:25:58Z"),
        ("2026-11-25T00:25:57.123+02:00", "2026-11-26T00:25:58.623+02:00"),
        ("2026-11-25T00:25:57,999999999Z", "2026-11-26T00:25:59,499999999Z"),
        ("2026-12-31t23:59:59z", "2027-01-02t00:00:00z"),
        ("2026-11-25 00:25", "2026-11-26 00:25"),
        ("2026-11-25", "2026-11-26"),
        ("1700000000", "1700086401"),
        ("1700000000.25", "1700086401.75"),
        ("1700000000123", "1700086401623"),
        ("1700000000123456", "1700086401623456"),
        ("1700000000123456789", "1700086401623456789"),
        ("17", "17"),
        ("yesterday", "yesterday"),
        ("2026-13-45T00:00:00Z", "2026-13-45T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("", ""),
    ],
)
def test_times_move_and_keep_their_spelling(text, later):
    """By a day and a second and a half; what is no time stays."""
    assert shifted(text, DAY_US + 1_500_000, 1_700_000_000_000_000) == later


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.,]{5,12}Z"),
       st.integers(-(10**17), 10**17))  # fmt: skip
def test_any_text_can_be_shifted(text, offset_us):
    """Nothing fails, whatever the offset."""
    assert isinstance(shifted(text, offset_us, 1_700_000_000_000_000), str)
