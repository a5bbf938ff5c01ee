"""Spans: which folders, objects and moments are asked for."""

from __future__ import annotations

import pytest

from mirrorproxy.keys import object_key
from mirrorproxy.sources.objects import find_objects
from mirrorproxy.sources.span import EVERYTHING, Span
from mirrorproxy.units import parse_moment

MINUTE = 60_000_000
HOUR = 60 * MINUTE
T0 = 1_763_884_800_000_000  # 2025-11-23 08:00:00 UTC
AN_HOUR = Span(T0, T0 + HOUR)


@pytest.mark.parametrize(
    ("at_us", "is_held"),
    [(T0 - 1, False), (T0, True), (T0 + HOUR - 1, True), (T0 + HOUR, False)],
)
def test_a_span_holds_its_beginning_and_not_its_end(at_us, is_held):
    """Two spans that meet share nothing."""
    assert AN_HOUR.holds(at_us) is is_held
    assert EVERYTHING.holds(at_us)


@pytest.mark.parametrize(
    ("at_us", "may_hold"),
    [
        pytest.param(T0 - 15 * MINUTE - 1, False, id="full before the span began"),
        pytest.param(T0 - 15 * MINUTE, True, id="still gathering when it began"),
        pytest.param(T0 + 2 * HOUR, True, id="what was held up by an outage"),
        pytest.param(T0 + 2 * HOUR + 1, False, id="held up for longer than --lookback"),
        pytest.param(None, True, id="nothing is known"),
    ],
)
def test_objects_that_may_hold_a_span(at_us, may_hold):
    """An object is named for the arrival of its oldest record."""
    assert AN_HOUR.may_be_in(at_us) is may_hold


@pytest.mark.parametrize(
    ("folder", "is_taken"),
    [
        ("2025", True), ("2024", False), ("2025/11", True), ("2025/12", False),
        ("2025/11/23", True), ("2025/11/23/06", False), ("2025/11/23/07", True),
        ("2025/11/23/10", True), ("2025/11/23/11", False),
    ],
)  # fmt: skip
def test_folders_that_may_hold_a_span(folder, is_taken):
    """At every level, so that a year that is not asked for costs nothing."""
    assert AN_HOUR.takes_folder(folder) is is_taken
    assert EVERYTHING.takes_folder(folder)


def test_of_a_directory_only_the_folders_of_a_span_are_looked_into(tmp_path):
    """A folder of another hour is not even listed."""
    for hour in (6, 8, 12):
        path = tmp_path / object_key("", "mirror", T0 + (hour - 8) * HOUR, "u")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    (tmp_path / "2025/11/23/06").rename(tmp_path / "2025/11/23/05")
    found = [source.name for source in find_objects([str(tmp_path)], span=AN_HOUR)]
    assert [name.split("/")[-2] for name in found] == ["08"]


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("2025-11-23T08:00:00Z", T0),
        ("2025-11-23T08:00:00.25Z", T0 + 250_000),
        ("2025-11-23t09:30:00+01:30", T0),
        ("2025-11-23 08:00:00-00:00", T0),
        ("-2h", T0 - 2 * HOUR),
        ("-1h30m", T0 - 90 * MINUTE),
        ("-0", T0),
    ],
)
def test_moments(text, at_us):
    """As in RFC 3339, or before now."""
    assert parse_moment(text, T0) == at_us


@pytest.mark.parametrize(
    "text",
    ["", "now", "2h", "-", "--2h", "2025-11-23", "2025-11-23T08:00:00", "2025-13-01T00:00:00Z"],
)  # fmt: skip
def test_a_moment_without_its_place_on_earth_is_refused(text):
    """A local time would mean another hour on another machine."""
    with pytest.raises(ValueError, match="expected a time such as"):
        parse_moment(text, T0)
