"""Back-off on a clock of its own: what it does to targets that fall behind, fail, or die."""

from __future__ import annotations

import pytest
from narrow_target import Simulation

from mirrorproxy.replay.backoff import Backoff
from mirrorproxy.replay.signs import (
    ERROR,
    GOOD,
    TIMED_OUT,
    UNREACHED,
    Recent,
    ended_as,
    seconds_of,
)
from mirrorproxy.rules.limits import BackoffLimits

RATE = 300
NARROWED_S, WIDENED_S = 5.0, 30.0


def narrowed(now_s: float) -> float:
    """A third of its capacity for a while."""
    return 150 if NARROWED_S <= now_s < WIDENED_S else 450


@pytest.fixture(scope="module")
def run() -> Simulation:
    return Simulation(BackoffLimits(p95_s=0.25), rate=RATE, capacity=narrowed).run(55)


def test_the_p95_is_under_its_limit_within_three_seconds(run):
    """And stays there but for the moments in which it is felt how much is too much."""
    assert run.p95_s(NARROWED_S, NARROWED_S + 2) > 0.25
    assert run.p95_s(NARROWED_S + 2.5, NARROWED_S + 3.5) < 0.25
    over = [at for at in range(9, 30) if run.p95_s(at, at + 1) > 0.25]
    assert len(over) <= 4


def test_the_rate_recovers_within_fifteen_seconds(run):
    """To nine tenths, and then to all of it."""
    assert run.share_at(WIDENED_S + 15) >= 0.9
    assert run.share_at(WIDENED_S + 18) == 1.0
    assert set(run.shares_in(WIDENED_S + 18, 55)) == {1.0}


def test_it_does_not_swing(run):
    """Once settled the share stays within a fifth of what the target can do: a half."""
    settled = run.shares_in(NARROWED_S + 5, WIDENED_S)
    assert 0.4 <= min(settled) <= max(settled) <= 0.6


def test_every_change_has_its_reason(run):
    """The first says which limit was crossed and by how much, the last that all is well."""
    assert run.reasons[0].startswith("p95 ")
    assert run.reasons[0].endswith(" over 250ms")
    assert run.reasons[-1] == "all well"
    assert "" not in run.reasons


def test_nothing_happens_to_a_target_that_keeps_up():
    """Not even near its limit: it is a limit, not a goal."""
    limits = BackoffLimits(p95_s=0.25)
    run = Simulation(limits, rate=RATE, capacity=lambda _: 1000, base_s=0.24).run(20)
    assert (run.changes, run.shed) == ([], 0)


def test_a_long_limit_is_not_waited_for():
    """What is on the way already says that answers will take too long."""
    run = Simulation(BackoffLimits(p95_s=0.8), rate=RATE, capacity=narrowed).run(15)
    assert run.reasons[0].startswith("answers will take ")
    assert run.p95_s(NARROWED_S + 3.5, NARROWED_S + 4.5) < 0.8


def test_a_sudden_load_on_a_slow_target_is_no_sign():
    """What was sent just now cannot have been answered yet."""
    backoff = Backoff(BackoffLimits(p95_s=0.8))
    landing: list[tuple[float, float]] = []
    changes = []
    for tick in range(1000):
        now_s = tick / 100
        while landing and landing[0][0] <= now_s:
            ended_s, sent_s = landing.pop(0)
            backoff.landed(sent_s, round((ended_s - sent_s) * 1e6), GOOD)
        # Ten times as much from the fifth second on; each takes half a second.
        for _ in range(10 if now_s >= 5 else 1):
            backoff.sent(now_s, 500_000)
            landing.append((now_s + 0.5, now_s))
        changes.append(backoff.look(now_s))
    assert set(changes) == {None}


def test_requests_that_are_held_for_long_are_no_sign():
    """One in twenty-five waits for a minute, by design; the others are quick."""
    backoff = Backoff(BackoffLimits(p95_s=0.2))
    changes = []
    for tick in range(3000):
        now_s = tick / 100
        backoff.sent(now_s, 10_000)
        if tick % 25:
            backoff.landed(now_s, 10_000, GOOD)
        changes.append(backoff.look(now_s))
    assert set(changes) == {None}


def test_production_s_own_latency_is_the_measure():
    """Twice of what the same exchanges took there."""
    limits = BackoffLimits(p95_times=2)
    slow_there = Simulation(
        limits, rate=100, capacity=lambda _: 1000, base_s=0.3, production_us=200_000
    ).run(5)
    assert slow_there.changes == []
    quick_there = Simulation(
        limits, rate=100, capacity=lambda _: 1000, base_s=0.3, production_us=100_000
    ).run(5)
    assert quick_there.reasons[0].startswith("p95 ")
    assert quick_there.reasons[0].endswith("over 205ms")


def test_refusals_of_a_full_queue_are_errors():
    """It is cut to what is answered well, and no further."""
    run = Simulation(BackoffLimits(), rate=RATE, capacity=lambda _: 150, queue=10).run(20)
    assert run.reasons[0].startswith("errors ")
    assert run.reasons[0].endswith(" over 5%")
    assert 0.35 <= min(run.shares_in(5, 20)) <= max(run.shares_in(5, 20)) <= 0.6


def test_retry_after_is_obeyed():
    """Once the limit is crossed, the target is left alone for as long as it asks."""
    run = Simulation(
        BackoffLimits(), rate=RATE, capacity=lambda _: 150, queue=10, retry_after_s=3
    ).run(6)
    at_s, change = run.changes[0]
    assert change.reason.endswith("; Retry-After 3s; paused for 3s")
    assert set(run.shares_in(at_s, at_s + 3)) == {0.0}
    assert [one for one in run.answered if at_s + 0.2 < one.sent_s < at_s + 3] == []


def test_a_dead_target_is_left_alone_and_probed():
    """Three shots after a second, after two, four and so on; one answer ends it."""
    limits = BackoffLimits(p95_s=0.25)
    run = Simulation(limits, rate=RATE, capacity=lambda now_s: 0 if now_s < 11 else 450).run(40)
    assert run.reasons[0] == "100% unreached; paused for 1s"
    assert [reason for reason in run.reasons if reason.startswith("probes failed")] == [
        "probes failed; paused for 2s",
        "probes failed; paused for 4s",
        "probes failed; paused for 8s",
    ]
    assert len([one for one in run.answered if 1 < one.sent_s < 11]) == 9
    assert "a probe was answered" in run.reasons
    assert run.share_at(35) == 1.0


def test_a_target_that_hangs_is_paused_before_anything_times_out():
    """Nothing is answered and what was sent waits for too long."""
    backoff = Backoff(BackoffLimits(p95_s=0.25))
    changes = []
    for tick in range(200):
        now_s = tick / 100
        if backoff.share:
            backoff.sent(now_s, 10_000)
        if change := backoff.look(now_s):
            changes.append((now_s, change.reason))
    at_s, reason = changes[0]
    assert at_s < 1
    assert reason.endswith("over 250ms, and nothing is answered; paused for 1s")


def test_the_floor_holds():
    """Errors that no rate mends never stop a replay for good."""
    limits = BackoffLimits(floor=0.1)
    backoff = Backoff(limits)
    for tick in range(10_000):
        now_s = tick / 100
        backoff.sent(now_s, 10_000)
        backoff.landed(now_s, 10_000, ERROR if tick % 5 == 0 else GOOD)
        backoff.look(now_s)
    assert backoff.share == 0.1


def test_timeouts_have_a_limit_of_their_own():
    """Two in a hundred are over 1 %, and no error limit is crossed."""
    backoff = Backoff(BackoffLimits(errors=0.5, timeouts=0.01))
    reasons = []
    for tick in range(200):
        now_s = tick / 100
        backoff.sent(now_s, 10_000)
        backoff.landed(now_s, 10_000, TIMED_OUT if tick % 50 < 2 else GOOD)
        if change := backoff.look(now_s):
            reasons.append(change.reason)
    assert reasons[0].startswith("timeouts ")


def test_one_error_alone_is_no_reason():
    """Among a few shots it would be a large share."""
    backoff = Backoff(BackoffLimits())
    for tick in range(300):
        now_s = tick / 10
        if tick % 10 == 0:
            backoff.sent(now_s, 10_000)
            backoff.landed(now_s, 10_000, ERROR if tick == 100 else GOOD)
        assert backoff.look(now_s) is None


@pytest.mark.parametrize(
    ("status", "failure", "production", "end"),
    [
        pytest.param(200, None, 200, GOOD, id="well"),
        pytest.param(404, None, 200, GOOD, id="an answer of the application"),
        pytest.param(500, None, 200, ERROR, id="an error"),
        pytest.param(500, None, 503, GOOD, id="that production had too"),
        pytest.param(429, None, 200, ERROR, id="too many"),
        pytest.param(503, None, None, ERROR, id="production's is not known"),
        pytest.param(0, "reset", 200, ERROR, id="reset"),
        pytest.param(0, "response_timeout", 200, TIMED_OUT, id="not in time"),
        pytest.param(0, "connect_refused", 200, UNREACHED, id="refused"),
        pytest.param(0, "connect_timeout", 500, UNREACHED, id="no connection in time"),
    ],
)
def test_how_shots_end(status, failure, production, end):
    """What failed in production as well says nothing against a target."""
    assert ended_as(status, failure, production) == end


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"", 0), (b"3", 3), (b"120", 120), (b"-1", 0), (b"1.5", 0), (b"9" * 400, 0),
        (b"fri, 31 dec 1999 23:59:59 gmt", 0),
    ],
)  # fmt: skip
def test_retry_after_in_seconds(text, seconds):
    """Dates and nonsense are not looked at."""
    assert seconds_of(text) == seconds


def test_the_window_reaches_back_where_little_is_sent():
    """To twenty shots, or ten seconds."""
    recent = Recent(1.0, None, None, 0.01)
    for second in range(30):
        recent.sent(float(second), 0)
        recent.landed(float(second), 1000, ERROR)
    assert recent.look(30.0, 0.0).shots == 10
    assert recent.look(30.0, 25.0).shots == 5


def test_memory_does_not_grow():
    """What no window will reach is dropped; what lands after that is not counted."""
    recent = Recent(1.0, 0.5, None, 0.01)
    for tick in range(10_000):
        recent.sent(tick / 10, 0)
        recent.forget(tick / 10)
    assert len(recent._slots) < 120
    recent.landed(0.05, 1_000, GOOD)
    assert recent.in_flight == 9_999
