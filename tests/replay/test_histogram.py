"""Percentiles out of a fixed memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.replay.histogram import Histogram


def filled(*values: int) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def test_nothing_counted_has_no_percentiles():
    """No number is invented."""
    assert (filled().percentile(50), filled().max) == (None, None)


def test_small_values_are_exact():
    """Below 128 every value has a bucket of its own."""
    histogram = filled(*range(1, 101))
    assert [histogram.percentile(p) for p in (1, 50, 99, 100)] == [1, 50, 99, 100]


@pytest.mark.parametrize(
    ("value", "counted"),
    [
        pytest.param(-5, 0, id="negative: a clock went back"),
        pytest.param(2**60, 2**50 - 1, id="beyond the last bucket"),
    ],
)
def test_values_out_of_range_count_as_the_nearest(value, counted):
    """They never break the counting."""
    assert filled(value).max == counted
    assert filled(value).percentile(50) == counted


@given(
    st.lists(st.integers(0, 2**50 - 1), min_size=1, max_size=50),
    st.integers(1, 100),
)
def test_a_percentile_is_never_too_low_and_at_most_1_6_percent_too_high(values, percent):
    """Against the exact one, by rank."""
    exact = sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]
    found = filled(*values).percentile(percent)
    assert exact <= found <= exact + exact // 64


@pytest.mark.parametrize("percent", [0, 100.5])
def test_a_percentage_out_of_range_is_refused(percent):
    """It has no meaning."""
    with pytest.raises(ValueError, match="percentile"):
        filled(1).percentile(percent)


def test_histograms_add_up():
    """The whole has every value of its parts; an empty part changes nothing."""
    whole = Histogram.total([filled(1, 2), filled(), filled(1_000_000)])
    assert (whole.count, whole.max, whole.percentile(50)) == (3, 1_000_000, 2)
    assert Histogram.total([filled(), filled()]).max is None
