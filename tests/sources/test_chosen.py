"""Choosing by time: what is outside, what is late, and that each says so."""

from __future__ import annotations

from collections import deque

import pytest
from test_merge import SECOND_US, exchange

from mirrorproxy.sources.chosen import Chosen
from mirrorproxy.sources.events import Captured, CaptureObject, PassedOver, Signal, Unreadable
from mirrorproxy.sources.span import EVERYTHING, Span

SOURCE = CaptureObject("a", NotImplemented)
NOW_S = 1000


def captured(at_s: float, *, is_late: bool = False) -> Captured:
    return Captured(exchange(1, int(at_s * SECOND_US)), SOURCE, is_late)


class Listed:
    def __init__(self, *events) -> None:
        self._events = iter(events)
        self.is_closed = False

    def take(self):
        return next(self._events, Signal.END)

    def close(self) -> None:
        self.is_closed = True


def chosen(*events, span=EVERYTHING, delay_s=None, skips_late=True, aside=()):
    return Chosen(
        Listed(*events), span, delay_us=None if delay_s is None else delay_s * SECOND_US,
        skips_late=skips_late, wall_us=lambda: NOW_S * SECOND_US, aside=deque(aside),
    )  # fmt: skip


def test_what_was_captured_outside_the_span_is_passed_over():
    """And says so."""
    span = Span(100 * SECOND_US, 200 * SECOND_US)
    source = chosen(captured(99), captured(100), captured(200), span=span)
    assert source.take() == PassedOver("outside time", SOURCE)
    assert isinstance(source.take(), Captured)
    assert source.take() == PassedOver("outside time", SOURCE)
    assert source.take() is Signal.END


@pytest.mark.parametrize(
    ("at_s", "was_behind", "is_late"),
    [
        pytest.param(940, False, False, id="due just now"),
        pytest.param(939.5, False, False, id="overdue by less than a second"),
        pytest.param(938, False, True, id="overdue by two"),
        pytest.param(970, True, False, id="behind its turn, but not due yet"),
    ],
)
def test_with_a_delay_the_due_time_decides(at_s, was_behind, is_late):
    """Not where an exchange stood in its object."""
    taken = chosen(captured(at_s, is_late=was_behind), delay_s=60).take()
    assert taken == (PassedOver("late", SOURCE) if is_late else captured(at_s))


@pytest.mark.parametrize("delay_s", [None, 60])
def test_late_ones_can_be_sent(delay_s):
    """They are counted as late all the same."""
    taken = chosen(captured(1, is_late=True), delay_s=delay_s, skips_late=False).take()
    assert isinstance(taken, Captured)
    assert taken.is_late


def test_what_could_not_be_read_elsewhere_is_told_first():
    """Such as a message that names no object."""
    lost = Unreadable("message 1", None, "not a notification", None)
    source = chosen(Signal.PENDING, aside=[lost])
    assert [source.take(), source.take()] == [lost, Signal.PENDING]
