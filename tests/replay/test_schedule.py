"""Due times, and limits of one target: pure arithmetic on a clock that is handed in."""

from __future__ import annotations

import math

import pytest

from mirrorproxy.errors import ConfigError
from mirrorproxy.replay.limits import RateLimit
from mirrorproxy.replay.schedule import DueTimes, Schedule, parse_speed

T0 = 1_700_000_000_000_000


@pytest.mark.parametrize(
    ("speed", "captured_s", "due_s"),
    [
        pytest.param(1, 0, 50.0, id="the first is due at the origin"),
        pytest.param(1, 90, 140.0, id="as recorded"),
        pytest.param(10, 90, 59.0, id="ten times as fast"),
        pytest.param(0.1, 90, 950.0, id="ten times slower"),
        pytest.param(1, -2, 48.0, id="before the first: in the past"),
    ],
)
def test_due_times_are_absolute(speed, captured_s, due_s):
    """The origin plus captured time over speed; nothing depends on what was sent before."""
    assert Schedule(50.0, T0, speed).due_s(T0 + captured_s * 1_000_000) == due_s


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        pytest.param("max", math.inf, id="max"),
        pytest.param("1", 1.0, id="as recorded"),
        pytest.param("0.1", 0.1, id="slowest"),
        pytest.param("1000", 1000.0, id="fastest"),
    ],
)
def test_speeds(text, speed):
    """What --speed takes."""
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "0.05", "1001", "nan", "inf", "fast", ""])
def test_a_speed_out_of_range_is_refused(text):
    """With the range."""
    with pytest.raises(ConfigError) as caught:
        parse_speed(text)
    assert str(caught.value) == "--speed: expected 0.1 to 1000, or max"


def sent_within(limit: RateLimit, seconds: float, step_s: float) -> int:
    steps = round(seconds / step_s)
    return sum(1 for step in range(steps) for _ in range(1000) if limit.take(step * step_s))


@pytest.mark.parametrize(
    ("rate", "step_s", "sent"),
    [
        pytest.param(10, 0.001, 10, id="slow, even"),
        pytest.param(2000, 0.001, 2000, id="several in a tick"),
        pytest.param(2000, 0.004, 2000, id="a sender that wakes up late"),
        pytest.param(0.5, 0.001, 1, id="one in two seconds"),
    ],
)
def test_a_rate_is_kept(rate, step_s, sent):
    """As many as asked for in a second, give or take the 5 ms that may go at once."""
    assert abs(sent_within(RateLimit(rate), 1.0, step_s) - sent) <= max(1, rate * 0.005)


def test_a_rate_does_not_save_up():
    """After a pause it goes on at the rate, not in a burst."""
    limit = RateLimit(100)
    assert limit.take(0.0)
    assert sum(limit.take(10.0) for _ in range(50)) == 1


def test_a_rate_of_nothing_is_refused():
    """Nothing would ever be sent."""
    with pytest.raises(ValueError, match="above 0"):
        RateLimit(0)


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def s(self) -> float:
        return self.now_s


def test_without_a_delay_the_first_is_due_at_once():
    """The others follow it, and none is due before what was planned before it."""
    due = DueTimes(2.0, None, Clock(50.0).s, 0)
    assert [due.due_s(T0 + at_us) for at_us in (0, 4_000_000, 1_000_000)] == pytest.approx(
        [50.05, 52.05, 52.05]
    )


def test_with_a_delay_everything_is_due_by_the_wall_clock():
    """So all workers agree, whatever each began with."""
    # Its clock showed 0 at T0 - 20 s: what was captured at T0 is due at 20 s plus the delay.
    for now_s in (5.0, 300.0):
        due = DueTimes(1.0, 300.0, Clock(now_s).s, T0 - 20_000_000)
        assert due.due_s(T0) == pytest.approx(320.0, abs=1e-5)
        assert due.due_s(T0 + 1_500_000) == pytest.approx(321.5, abs=1e-5)


def test_what_comes_after_its_time_is_due_now():
    """Not in the past, where it would be shed as overdue."""
    clock = Clock(1000.0)
    due = DueTimes(1.0, 300.0, clock.s, T0)
    assert due.due_s(T0) == 1000.0
    clock.now_s = 2000.0
    assert due.due_s(T0) == 2000.0


def test_a_pause_shifts_what_is_to_come():
    """With and without a delay."""
    due = DueTimes(1.0, 300.0, Clock(0.0).s, T0)
    before_s = due.due_s(T0)
    due.shift(7.0)
    assert due.due_s(T0) == pytest.approx(before_s + 7.0)
