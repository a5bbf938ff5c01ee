"""When to try again: full jitter below a limit that doubles, without end."""

from __future__ import annotations

import pytest

from mirrorproxy.retry import RetrySchedule


@pytest.mark.parametrize(
    ("failures", "limit_s"),
    [
        pytest.param(1, 0.5, id="the first"),
        pytest.param(2, 1.0, id="twice as long"),
        pytest.param(6, 16.0, id="and again"),
        pytest.param(7, 30.0, id="up to half a minute"),
        pytest.param(10_000, 30.0, id="however often"),
    ],
)
def test_the_limit_of_a_wait(failures, limit_s):
    """With the jitter at its most."""
    schedule = RetrySchedule(lambda: 1.0)
    for _ in range(failures):
        schedule.failed(100.0)
    assert schedule.waits_s(100.0) == limit_s
    assert schedule.retries == failures


@pytest.mark.parametrize(("jitter", "wait_s"), [(0.0, 0.0), (0.25, 7.5), (1.0, 30.0)])
def test_jitter_is_full(jitter, wait_s):
    """Taken of the limit itself: late waits are as spread as early ones."""
    schedule = RetrySchedule(lambda: jitter)
    for _ in range(20):
        schedule.failed(0.0)
    assert schedule.waits_s(0.0) == wait_s


def test_an_attempt_is_due_after_its_wait():
    """And not before; at the very moment it is."""
    schedule = RetrySchedule(lambda: 1.0)
    assert schedule.is_due(0.0)
    schedule.failed(0.0)
    assert not schedule.is_due(0.499)
    assert schedule.is_due(0.5)


def test_progress_begins_anew():
    """The next failure is a first one."""
    schedule = RetrySchedule(lambda: 1.0)
    for _ in range(5):
        schedule.failed(0.0)
    schedule.succeeded()
    assert schedule.waits_s(0.0) is None
    schedule.failed(0.0)
    assert schedule.waits_s(0.0) == 0.5


def test_an_attempt_that_begins_forgets_no_failure():
    """Or every second wait would be a short one."""
    schedule = RetrySchedule(lambda: 1.0)
    schedule.failed(0.0)
    schedule.started()
    assert schedule.is_due(0.0)
    schedule.failed(0.0)
    assert schedule.waits_s(0.0) == 1.0


def test_a_hurry_cuts_a_wait_short():
    """And lengthens none."""
    schedule = RetrySchedule(lambda: 1.0)
    for _ in range(9):
        schedule.failed(0.0)
    schedule.hurry(0.0, 1.0)
    assert schedule.waits_s(0.0) == 1.0
    schedule.hurry(0.0, 5.0)
    assert schedule.waits_s(0.0) == 1.0
    schedule.failed(0.0, limit_s=2.0)
    assert schedule.waits_s(0.0) == 2.0
