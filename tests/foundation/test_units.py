"""Durations and sizes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("800ms", 0.8, id="milliseconds"),
        pytest.param("10s", 10.0, id="seconds"),
        pytest.param("1h30m", 5400.0, id="two units"),
        pytest.param("1d12h30m15s250ms5us", 131415.250005, id="every unit in order"),
        pytest.param("1.5s", 1.5, id="a fraction"),
        pytest.param("90", 90.0, id="text without a unit is seconds"),
        pytest.param(" 5m ", 300.0, id="spaces around"),
        pytest.param(2, 2.0, id="a number is seconds"),
        pytest.param(0, 0.0, id="nothing"),
        pytest.param("2w", 1_209_600.0, id="weeks"),
    ],
)
def test_a_duration_is_read_in_seconds(text, seconds):
    """A duration is read as Prometheus spells it."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="nothing"),
        pytest.param("30m1h", id="a small unit before a large one"),
        pytest.param("1m1m", id="a unit twice"),
        pytest.param("-1s", id="negative"),
        pytest.param(-1, id="a negative number"),
        pytest.param("1 s", id="a space inside"),
        pytest.param("5x", id="no such unit"),
        pytest.param("1e3", id="an exponent"),
        pytest.param("٣s", id="digits of another script"),
        pytest.param(True, id="a truth value"),
        pytest.param(None, id="no value"),
        pytest.param(math.inf, id="infinite"),
        pytest.param(math.nan, id="not a number"),
        pytest.param("9" * 400 + "s", id="more digits than a float holds"),
        pytest.param("101000w", id="more than a hundred years"),
    ],
)
def test_a_bad_duration_is_refused_with_what_is_expected(value):
    """The error says how a duration is written."""
    with pytest.raises(ValueError, match="expected a duration such as 800ms"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("512", 512, id="bytes"),
        pytest.param(512, 512, id="a number"),
        pytest.param("64KiB", 65_536, id="binary"),
        pytest.param("64Ki", 65_536, id="as Kubernetes writes it"),
        pytest.param("1GB", 1_000_000_000, id="decimal"),
        pytest.param("1.5MiB", 1_572_864, id="a fraction"),
        pytest.param("2k", 2_000, id="a small k"),
        pytest.param("64 MiB", 67_108_864, id="a space before the unit"),
    ],
)
def test_a_size_is_read_in_bytes(text, size):
    """A size is read as Kubernetes spells it."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("64mb", id="a unit in the wrong case"),
        pytest.param("-1", id="negative"),
        pytest.param(-1, id="a negative number"),
        pytest.param("lots", id="words"),
        pytest.param("", id="nothing"),
        pytest.param(True, id="a truth value"),
        pytest.param(1.5, id="a fraction of a byte"),
        pytest.param("5000000TiB", id="more than 4 EiB"),
    ],
)
def test_a_bad_size_is_refused_with_what_is_expected(value):
    """The error says how a size is written."""
    with pytest.raises(ValueError, match="expected a size such as 512"):
        parse_size(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(0.0, "0s", id="nothing"),
        pytest.param(0.0008, "800us", id="microseconds"),
        pytest.param(0.8, "800ms", id="milliseconds"),
        pytest.param(59.96, "1m", id="nearly a minute"),
        pytest.param(90.0, "1m30s", id="minutes and seconds"),
        pytest.param(3599.7, "1h", id="nearly an hour"),
        pytest.param(5400.0, "1h30m", id="hours and minutes"),
        pytest.param(262800.0, "3d1h", id="days and hours"),
    ],
)
def test_a_duration_is_shown_in_two_units_at_most(seconds, text):
    """People read the two largest units."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        pytest.param(512, "512B", id="bytes"),
        pytest.param(1536, "1.5KiB", id="a half"),
        pytest.param(67_108_864, "64MiB", id="whole"),
        pytest.param(1_048_575, "1MiB", id="one byte short"),
        pytest.param(5 << 40, "5TiB", id="large"),
    ],
)
def test_a_size_is_shown_in_powers_of_1024(size, text):
    """People read the largest unit."""
    assert format_size(size) == text


@given(st.floats(min_value=1e-6, max_value=3e9))
def test_what_is_shown_can_be_read_again(seconds):
    """A duration that was shown and read again is off by at most one part in sixteen."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.0625)
