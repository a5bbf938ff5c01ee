"""The engine: when shots leave, what holds them, and where each of them ends."""

from __future__ import annotations

import pytest
from flights import Range, shot
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.replay.schedule import MAX_SPEED
from mirrorproxy.sources.events import Signal


@pytest.mark.parametrize(
    ("speed", "left_at"),
    [
        pytest.param(1.0, [0.0, 0.5, 0.6], id="as recorded"),
        pytest.param(10.0, [0.0, 0.05, 0.06], id="ten times as fast"),
    ],
)
def test_shots_leave_when_they_are_due(speed, left_at):
    """On absolute time, whatever happened before."""
    range_ = Range([shot(7.0), shot(7.5), shot(7.6)], speed=speed)
    range_.pass_time(1.0)
    assert range_.sent_at == pytest.approx(left_at, abs=0.0011)


def test_a_late_turn_does_not_shift_what_comes_after():
    """The lag of one shot is no lag of the next."""
    range_ = Range([shot(0.0), shot(0.1), shot(0.2), shot(0.3)])
    range_.pass_time(0.06)
    range_.now_s += 0.12
    range_.pass_time(0.3)
    assert range_.sent_at == pytest.approx([0.0, 0.13, 0.2, 0.3], abs=0.0011)
    range_.answer_all()
    assert range_.outcomes[1].lag_us == pytest.approx(30_000, abs=1100)
    assert range_.outcomes[1].lag_cause == "sender"
    assert range_.outcomes[2].lag_us < 1100


def test_what_came_behind_its_turn_leaves_at_once():
    """It is not overdue: it is due when it is noticed, and is not shed."""
    range_ = Range([shot(100.0), shot(50.0), shot(100.1)])
    range_.pass_time(0.3)
    assert range_.sent_at == pytest.approx([0.0, 0.0, 0.1], abs=0.0011)


def test_at_max_speed_everything_leaves_as_the_target_answers():
    """Nothing is due at a time of its own, so nothing is ever late."""
    limits = {"staging": Limits(concurrency=2)}
    range_ = Range([shot(at) for at in (0.0, 1000.0, 2000.0)], limits, MAX_SPEED)
    range_.pass_time(0.01)
    assert len(range_.sent) == 2
    range_.now_s += 60
    range_.answer(range_.sent[0])
    assert range_.wakes == 1
    range_.engine.pump()
    assert len(range_.sent) == 3
    range_.answer_all()
    assert range_.ledger.lag.max == 0
    assert range_.ledger.answered == 3
    assert range_.engine.is_over


def test_concurrency_holds_back_and_the_cause_is_the_limit():
    """The lag is recorded as the limit's, not the sender's."""
    range_ = Range([shot(0.0), shot(0.01), shot(0.02)], {"staging": Limits(concurrency=1)})
    range_.pass_time(0.2)
    assert len(range_.sent) == 1
    range_.answer(range_.sent[0])
    range_.engine.pump()
    assert len(range_.sent) == 2
    range_.answer(range_.sent[1])
    range_.engine.pump()
    range_.answer(range_.sent[2])
    assert [outcome.lag_cause for outcome in range_.outcomes] == ["sender", "limit", "limit"]


def test_a_rate_spreads_what_was_recorded_at_once():
    """Ten a second, though all were captured in one moment."""
    range_ = Range([shot(0.0) for _ in range(5)], {"staging": Limits(rate=10)})
    range_.pass_time(0.6)
    assert range_.sent_at == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4], abs=0.0021)


def test_what_is_overdue_by_too_much_is_shed():
    """It is not sent in a burst when the target has room again."""
    limits = {"staging": Limits(concurrency=1, max_lag_s=0.1)}
    range_ = Range([shot(0.0), shot(0.01), shot(0.5)], limits)
    range_.pass_time(0.3)
    assert dict(range_.ledger.shed) == {"max_lag": 1}
    range_.answer(range_.sent[0])
    range_.pass_time(0.5)
    assert len(range_.sent) == 2
    assert [outcome.shed for outcome in range_.outcomes] == ["max_lag", None]


def test_without_a_max_lag_nothing_is_shed():
    """Everything is sent, however late."""
    limits = {"staging": Limits(concurrency=1, max_lag_s=None)}
    range_ = Range([shot(0.0), shot(0.01)], limits)
    range_.pass_time(20.0, step_s=0.05)
    range_.answer(range_.sent[0])
    range_.engine.pump()
    assert len(range_.sent) == 2


def test_a_slow_target_does_not_hold_up_another():
    """Each has a lane of its own."""
    limits = {"slow": Limits(concurrency=1), "fast": Limits()}
    shots = [shot(n / 100, target) for n in range(10) for target in ("slow", "fast")]
    range_ = Range(shots, limits)
    range_.pass_time(0.2)
    assert sum(flight.shot.target == "fast" for flight in range_.sent) == 10
    assert sum(flight.shot.target == "slow" for flight in range_.sent) == 1


def test_answers_and_failures_are_different_things():
    """A 503 is an answer; a reset is a failure."""
    range_ = Range([shot(0.0), shot(0.0), shot(0.0, status=503)])
    range_.pass_time(0.1)
    range_.answer(range_.sent[0], 503)
    range_.fail(range_.sent[1], "connect_refused")
    range_.answer(range_.sent[2], 503)
    assert range_.ledger.to_json()["status"] == {"5xx": 2}
    assert dict(range_.ledger.failed) == {"connect_refused": 1}
    assert range_.ledger.differing == 1
    first, second, _ = range_.outcomes
    assert (first.status, first.failure) == (503, None)
    assert (second.status, second.failure) == (None, "connect_refused")


def test_an_outcome_says_when_and_how_long():
    """Due on the wall clock, lag and latency apart, production's own beside it."""
    range_ = Range([shot(0.0, rule="writes", copy=2, duration_us=12345, status=201)])
    range_.pass_time(0.06)
    range_.now_s = range_.engine._departures.in_flight.copy().pop().sent_s + 0.25
    range_.answer(range_.sent[0], 201)
    (outcome,) = range_.outcomes
    assert outcome.due_us - 1_700_000_000_000_000 == pytest.approx(100_050_000, abs=1)
    assert outcome.latency_us == pytest.approx(250_000, abs=1)
    assert (outcome.id, outcome.copy, outcome.rule) == ("0" * 32, 2, "writes")
    assert (outcome.production.duration_us, outcome.production.status) == (12345, 201)


def test_planning_stays_two_seconds_ahead():
    """The capture is not read further than it is needed."""
    range_ = Range(shot(at / 10) for at in range(100_000))
    range_.pass_time(1.0)
    assert range_.intake.taken == pytest.approx(31, abs=2)


def test_planning_stays_within_its_memory():
    """Large bodies are planned fewer at a time."""
    range_ = Range(shot(at / 10_000, body=bytes(8 << 20)) for at in range(100_000))
    range_.pass_time(0.04)
    assert range_.intake.taken == 4


def test_the_engine_comes_back_when_it_is_needed():
    """At once while there is more to plan, in a millisecond for what waits, else later."""
    range_ = Range([Signal.READING, shot(0.0), Signal.PENDING, shot(10.0)])
    assert range_.engine.turn() == 0.001
    range_.engine.turn()
    range_.now_s += 0.06
    assert range_.engine.turn() == 0.05
    range_.now_s += 9.98
    assert range_.engine.turn() == pytest.approx(0.01)


def test_what_cannot_be_written_as_a_request_is_shed():
    """A record from elsewhere may hold what HTTP does not allow."""
    range_ = Range([shot(0.0, path="/a b"), shot(0.0, headers=[("Host", "a\r\nX: y")])])
    range_.pass_time(0.1)
    assert dict(range_.ledger.shed) == {"unsendable": 2}
    assert range_.sent == []
    assert range_.engine.is_over
    assert range_.ledger.is_balanced


REF = {"method": "POST", "body_ref": "bodies/x", "body_bytes": 3, "body_length": 0}


def test_what_a_rule_has_shed_is_not_sent():
    """It has its outcome all the same."""
    range_ = Range([shot(0.0, shed="rule rate"), shot(0.0)])
    range_.pass_time(0.1)
    assert (len(range_.sent), dict(range_.ledger.shed)) == (1, {"rule rate": 1})
    assert [one.shed for one in range_.outcomes] == ["rule rate"]


def test_a_large_body_is_fetched_a_second_before_it_is_due():
    """Not earlier: it would only take memory."""
    range_ = Range([shot(0.0), shot(1.5, **REF)])
    range_.pass_time(0.4)
    assert range_.loading == []
    range_.pass_time(0.3)
    (flight,) = range_.loading
    range_.engine.loaded(flight, shot(1.5, method="POST", body=b"abc", body_length=3))
    range_.pass_time(1.0)
    assert range_.sent_at == pytest.approx([0.0, 1.5], abs=0.0011)
    assert range_.sent[1].head.endswith(b"Content-Length: 3\r\n\r\n")


def test_a_body_that_comes_too_late_holds_up_no_other():
    """Its own shot leaves when it is there, and the lag is the sender's."""
    range_ = Range([shot(0.0, **REF), shot(0.1)])
    range_.pass_time(0.2)
    assert len(range_.sent) == 1
    range_.engine.loaded(range_.loading[0], shot(0.0, method="POST", body=b"abc", body_length=3))
    assert range_.wakes == 1
    range_.engine.pump()
    assert range_.sent[1].shot.body == b"abc"
    range_.answer_all()
    assert range_.outcomes[1].lag_us > 100_000
    assert range_.outcomes[1].lag_cause == "sender"


def test_a_body_that_cannot_be_read_is_lost_input():
    """Its shot is shed, and the ledger still balances."""
    range_ = Range([shot(0.0, **REF), shot(0.5, **REF)])
    range_.pass_time(0.2)
    for flight in range_.loading:
        range_.engine.not_loaded(flight)
    assert dict(range_.ledger.shed) == {"body unreadable": 2}
    assert range_.ledger.unreadable == 2
    range_.pass_time(1.0)
    assert range_.engine.is_over
    assert range_.ledger.is_balanced


def test_large_bodies_are_fetched_within_their_memory():
    """One more only when one is done; one alone may be larger than the bound."""
    big = REF | {"body_bytes": 200 << 20}
    range_ = Range([shot(0.0, **big), shot(0.1, **big)], speed=MAX_SPEED)
    range_.pass_time(0.01)
    assert len(range_.loading) == 1
    range_.engine.loaded(range_.loading[0], shot(0.0, method="POST", body=b"a", body_length=1))
    range_.pass_time(0.01)
    assert len(range_.loading) == 1
    range_.answer(range_.sent[0])
    range_.pass_time(0.01)
    assert len(range_.loading) == 2


def test_stopping_plans_and_sends_nothing_more():
    """What is in flight may still be answered; the rest is unsent; all of it is accounted for."""
    limits = {"staging": Limits(concurrency=2)}
    shots = [shot(0.0), shot(0.0), shot(0.0), shot(1.0), shot(0.5, **REF), *map(shot, range(2, 90))]
    range_ = Range(shots, limits)
    range_.pass_time(0.1)
    assert len(range_.loading) == 1
    range_.engine.stop()
    assert range_.intake.is_closed
    assert not range_.engine.is_over
    range_.engine.loaded(range_.loading[0], shot(0.5))
    range_.answer(range_.sent[0])
    range_.fail(range_.sent[1])
    assert len(range_.sent) == 2
    assert range_.engine.is_over
    assert range_.ledger.unsent == range_.ledger.planned - 2 == 5
    assert range_.ledger.is_balanced
    assert sum(outcome.unsent for outcome in range_.outcomes) == 5


def test_closing_gives_up_what_is_in_flight():
    """It was sent, and nobody waits for its answer any more: a failure."""
    range_ = Range([shot(0.0)])
    range_.pass_time(0.1)
    range_.engine.close()
    assert dict(range_.ledger.failed) == {"interrupted": 1}
    range_.answer(range_.sent[0])
    assert range_.ledger.answered == 0
    assert range_.ledger.is_balanced


def test_what_the_source_raises_comes_out_of_the_turn():
    """A target that turns out to be production ends the replay."""
    range_ = Range([shot(0.0), ValueError("production")])
    with pytest.raises(ValueError, match="production"):
        range_.pass_time(1.0)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["answer", "fail", "load", "lose", "wait", "jump"]), st.integers(0)),
    max_size=60,
)


def test_a_body_that_comes_between_two_turns_is_sent_once():
    """Its shot is due by then, but its turn is the next."""
    range_ = Range([shot(0.0, **REF), shot(0.5, **REF)])
    range_.pass_time(0.4)
    for flight in range_.loading:
        range_.now_s = max(range_.now_s, flight.due_s + 0.0001)
        loaded = shot(0.0, method="POST", body=b"abc", body_length=3)
        range_.engine.loaded(flight, loaded)
    range_.pass_time(0.1)
    assert len(range_.sent) == 2
    range_.answer_all()
    assert range_.ledger.is_balanced
    assert range_.ledger.answered == 2


@given(
    plans=st.lists(
        st.tuples(
            st.floats(0, 3), st.sampled_from(["a", "b"]), st.booleans(), st.sampled_from("xyz")
        ),
        max_size=40,
    ),
    order=st.none() | st.builds(Order, by_target=st.booleans(), skips_broken=st.booleans()),
    actions=ACTIONS,
    speed=st.sampled_from([0.5, 1.0, 100.0, MAX_SPEED]),
    limits=st.builds(
        Limits,
        rate=st.none() | st.floats(1, 1000),
        concurrency=st.integers(1, 5),
        max_lag_s=st.none() | st.floats(0, 2),
    ),
)
def test_every_shot_has_one_end_whatever_happens(plans, order, actions, speed, limits):
    """Answers, failures, lost bodies, lateness and a stop at any moment: the ledger balances."""
    shots = [
        shot(at, target, session=session, **(REF if ref else {}))
        for at, target, ref, session in sorted(plans)
    ]
    range_ = Range(shots, {"a": limits, "b": Limits()}, speed, order)
    for action, number in actions:
        in_flight = list(range_.engine._departures.in_flight)
        if action in ("answer", "fail") and in_flight:
            end = range_.answer if action == "answer" else range_.fail
            end(in_flight[number % len(in_flight)])
            range_.engine.pump()
        elif action in ("load", "lose") and range_.loading:
            flight = range_.loading.pop(number % len(range_.loading))
            if action == "load":
                loaded = shot(0.0, flight.shot.target, method="POST", body=b"abc", body_length=3)
                range_.engine.loaded(flight, loaded)
            else:
                range_.engine.not_loaded(flight)
        elif action == "jump":
            range_.now_s += 3.0
        range_.pass_time(0.02, step_s=0.005)
    range_.engine.stop()
    range_.engine.close()
    assert range_.engine.is_over
    assert range_.ledger.is_balanced
    assert len(range_.outcomes) == range_.ledger.planned
    assert range_.held == (0, 0, 0)
