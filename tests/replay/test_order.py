"""Order: within a session nothing leaves too early, and nothing waits for nothing."""

from __future__ import annotations

import pytest
from flights import SOURCE, Range, shot
from histories import Past, earliest, histories, replayed, waits_for
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorproxy.http1.client import Failure
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import GO, MAX_BROKEN, SKIP, Order
from mirrorproxy.replay.schedule import MAX_SPEED

SPEEDS = st.sampled_from([1.0, 5.0, MAX_SPEED])
MACHINES = st.sampled_from([("m",), ("m", "n")])


class Nobody:
    def landed(self, flight: Flight, failure: Failure | None) -> None: ...


NOBODY = Nobody()
ROOMY = {"staging": Limits(concurrency=1000)}
TICK_S = 0.0021
"""A turn a millisecond, and the rounding of the clock."""


@given(history=MACHINES.flatmap(histories), speed=SPEEDS)
@settings(max_examples=300)
def test_no_pair_is_ever_turned_round_and_none_waits_needlessly(history, speed):
    """Each shot leaves in the very millisecond in which its time and its session allow it."""
    earlier = waits_for(history)
    best = earliest(history, earlier, speed)
    order = Order()
    done = replayed(history, speed, order)
    for n, left_s in enumerate(done.left):
        for other in earlier[n]:
            assert left_s >= done.answered[other] - 1e-9
        assert left_s <= best[n] + TICK_S
    makespan_s = max(done.answered) - min(done.left)
    ideal_s = max(at + past.takes_s for at, past in zip(best, history, strict=True)) - min(best)
    assert makespan_s <= ideal_s * 1.02
    assert order.open_sessions == order.held == 0
    assert done.range.ledger.is_balanced
    assert done.range.held == (0, 0, 0)


def test_one_that_lasted_no_time_may_be_let_go_first():
    """Found by the test above: whom it passed must not wait for it then."""
    moment = Past(0, 0, "alice", "m", 0.25)
    between = [Past(0, 1, "alice", "m", 0.125), Past(0, 5001, "alice", "n", 0.25)]
    done = replayed([moment, *between, moment], 1.0, Order())
    assert done.left == pytest.approx([0.05, 0.3, 0.425, 0.3], abs=TICK_S)


@given(history=histories(("m", "n"), shots=400), speed=SPEEDS)
@settings(max_examples=10)
def test_long_queues_keep_their_order(history, speed):
    """Hundreds of open shots of one user are no reason to give up."""
    assert_nothing_turned_round(history, speed)


def assert_nothing_turned_round(history, speed):
    done = replayed(history, speed, Order())
    for n, others in enumerate(waits_for(history)):
        assert all(done.left[n] >= done.answered[other] - 1e-9 for other in others)


def chain(number: int, session: str = "alice", every_s: float = 0.01, **fields):
    """Shots of one session, each begun after the one before had ended."""
    return [
        shot(n * every_s, exchange_id=f"{session}{n}", session=session, **fields)
        for n in range(number)
    ]


def crowd(number: int, width: int, session: str = "robot", **fields):
    """Shots of one session of which production always had so many open at once."""
    fields = {"duration_us": width * 1000 - 500, **fields}
    return [shot(n / 1000, exchange_id=str(n), session=session, **fields) for n in range(number)]


def sent_ids(range_: Range) -> list[str]:
    return [flight.shot.exchange_id for flight in range_.sent]


def test_a_shot_waits_for_the_answer_to_the_one_before():
    """However late that makes it; the lag is the order's."""
    range_ = Range(chain(2), order=Order())
    range_.pass_time(0.2)
    assert sent_ids(range_) == ["alice0"]
    range_.answer(range_.sent[0])
    assert range_.wakes == 1
    range_.engine.pump()
    assert sent_ids(range_) == ["alice0", "alice1"]
    range_.answer(range_.sent[1])
    assert [outcome.lag_cause for outcome in range_.outcomes] == ["sender", "order"]
    assert range_.outcomes[1].lag_us == pytest.approx(140_000, abs=2000)


def test_what_overlapped_in_production_overlaps():
    """A long poll does not hold up what went on beside it."""
    shots = [shot(0.0, session="alice", duration_us=30_000_000), *chain(2, every_s=0.001)]
    range_ = Range(shots, order=Order())
    range_.pass_time(0.1)
    assert len(range_.sent) == 2


def test_sessions_do_not_wait_for_each_other():
    """Each goes its own way."""
    range_ = Range([*chain(1, "alice"), *chain(1, "bob", started_us=1_700_000_000_500_000)],
                   order=Order())  # fmt: skip
    range_.pass_time(0.6)
    assert sent_ids(range_) == ["alice0", "bob0"]


def test_each_copy_is_a_session_of_its_own():
    """The first copy's answer lets its own successor go, and no other."""
    shots = [
        shot(at, exchange_id=f"{at}", session="alice", copy=copy)
        for at in (0.0, 0.01)
        for copy in (0, 1)
    ]
    range_ = Range(shots, order=Order())
    range_.pass_time(0.1)
    assert [(one.shot.exchange_id, one.shot.copy) for one in range_.sent] == [
        ("0.0", 0),
        ("0.0", 1),
    ]
    range_.answer(range_.sent[1])
    range_.engine.pump()
    assert [(one.shot.exchange_id, one.shot.copy) for one in range_.sent[2:]] == [("0.01", 1)]


@pytest.mark.parametrize(
    ("by_target", "sent"),
    [
        pytest.param(False, ["login"], id="targets are parts of one environment"),
        pytest.param(True, ["login", "order"], id="targets are environments of their own"),
    ],
)
def test_order_between_targets(by_target, sent):
    """A choice of the rules."""
    shots = [
        shot(0.0, "auth", exchange_id="login", session="alice"),
        shot(0.01, "orders", exchange_id="order", session="alice"),
    ]
    limits = {"auth": Limits(), "orders": Limits()}
    range_ = Range(shots, limits, order=Order(by_target=by_target))
    range_.pass_time(0.1)
    assert sent_ids(range_) == sent
    range_.answer(range_.sent[0])
    range_.engine.pump()
    assert sent_ids(range_) == ["login", "order"]


def test_a_successor_for_another_target_is_sent_at_once():
    """An answer wakes the sender even if its own target has nothing to send."""
    shots = [shot(0.0, "auth", session="alice"), shot(0.01, "orders", session="alice")]
    range_ = Range(shots, {"auth": Limits(), "orders": Limits()}, order=Order())
    range_.pass_time(0.1)
    range_.answer(range_.sent[0])
    assert range_.wakes == 1


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        pytest.param("m", "m", False, id="one clock: they overlapped"),
        pytest.param("m", "n", True, id="two clocks: nobody can tell, so it waits"),
    ],
)
def test_clocks_of_two_machines_differ(first, second, waits):
    """By 5 ms at most: within these, waiting is the mistake that can be mended."""
    shots = [
        shot(0.0, session="alice", machine=first, duration_us=10_000),
        shot(0.006, session="alice", machine=second, duration_us=10_000),
    ]
    range_ = Range(shots, order=Order())
    range_.pass_time(0.2)
    assert len(range_.sent) == (1 if waits else 2)


# -- what ends without an answer -------------------------------------------------------


def test_a_failed_predecessor_lets_its_successors_go():
    """Each in its turn, as after an answer."""
    range_ = Range(chain(3), order=Order())
    range_.pass_time(0.1)
    range_.fail(range_.sent[0], "response_timeout")
    range_.engine.pump()
    assert sent_ids(range_) == ["alice0", "alice1"]
    range_.answer(range_.sent[1])
    range_.engine.pump()
    assert sent_ids(range_) == ["alice0", "alice1", "alice2"]


def test_a_failed_predecessor_ends_its_session_if_so_chosen():
    """What waits is left out, and what is still to come; others are not concerned."""
    shots = [*chain(3), *chain(2, "bob"), shot(0.2, session="alice"), shot(0.2, session="bob")]
    shots.sort(key=lambda one: one.started_us)
    range_ = Range(shots, order=Order(skips_broken=True))
    range_.pass_time(0.1)
    range_.fail(range_.sent[0], "reset")
    assert range_.ledger.shed == {"session broken": 2}
    range_.answer(range_.sent[1])
    range_.pass_time(0.2)
    range_.answer(range_.sent[2])
    range_.pass_time(0.1)
    assert [one.shot.session for one in range_.sent] == ["alice", "bob", "bob", "bob"]
    assert range_.ledger.shed == {"session broken": 3}
    range_.answer(range_.sent[3])
    assert range_.engine.is_over
    assert range_.ledger.is_balanced
    assert range_.held == (0, 0, 0)


def test_an_answer_that_is_an_error_ends_no_session():
    """A 503 is an answer."""
    range_ = Range(chain(2), order=Order(skips_broken=True))
    range_.pass_time(0.1)
    range_.answer(range_.sent[0], 503)
    range_.engine.pump()
    assert len(range_.sent) == 2


def test_who_comes_back_after_half_an_hour_begins_anew():
    """A broken session is not remembered longer than that after its last request."""
    order = Order(skips_broken=True)
    shots = [shot(0.0), shot(1.0), shot(1700.0), shot(3501.0)]
    range_ = Range(shots, speed=1000.0, order=order)
    range_.pass_time(0.06)
    range_.fail(range_.sent[0])
    range_.pass_time(4.0)
    assert range_.ledger.shed == {"session broken": 2}
    assert len(range_.sent) == 2


def test_what_began_before_the_unsendable_is_sent():
    """That it cannot be sent is known two seconds ahead of its turn."""
    shots = [shot(0.0), shot(0.5), shot(1.0, path="/a b"), shot(1.5)]
    range_ = Range(shots, order=Order(skips_broken=True))
    range_.pass_time(0.1)
    range_.answer(range_.sent[0])
    range_.pass_time(1.9)
    assert len(range_.sent) == 2
    assert range_.ledger.shed == {"unsendable": 1, "session broken": 1}


REF = {"method": "POST", "body_ref": "bodies/x", "body_bytes": 3, "body_length": 0}


def test_a_predecessor_whose_body_is_lost_lets_its_successors_go():
    """It will never be answered."""
    range_ = Range([shot(0.0, **REF), shot(0.01)], order=Order())
    range_.pass_time(0.1)
    assert range_.sent == []
    range_.engine.not_loaded(range_.loading[0])
    range_.engine.pump()
    assert len(range_.sent) == 1


@pytest.mark.parametrize("body_first", [True, False])
def test_a_shot_waits_for_its_session_and_for_its_body(body_first):
    """Whichever comes first."""
    range_ = Range([shot(0.0), shot(0.01, **REF)], order=Order())
    range_.pass_time(0.1)
    for step in ("body", "answer") if body_first else ("answer", "body"):
        assert len(range_.sent) == 1
        if step == "body":
            body = shot(0.01, method="POST", body=b"abc", body_length=3)
            range_.engine.loaded(range_.loading[0], body)
        else:
            range_.answer(range_.sent[0])
        range_.engine.pump()
    assert len(range_.sent) == 2


def test_what_waits_for_too_long_is_shed():
    """A target that hangs does not gather a backlog behind it; the next one has its own time."""
    limits = {"staging": Limits(max_lag_s=1.0)}
    range_ = Range([*chain(5), shot(2.0, session="alice")], limits, order=Order())
    range_.pass_time(1.5)
    assert range_.ledger.shed == {"max_lag": 4}
    range_.pass_time(0.4)
    range_.answer(range_.sent[0])
    range_.pass_time(0.5)
    assert len(range_.sent) == 2


def test_a_thousand_in_a_row_may_end_at_once():
    """Each lets the next go, which cannot be sent either."""
    shots = chain(5000, every_s=0.0001, duration_us=10, **REF)
    range_ = Range(shots, {"staging": Limits(max_lag_s=None)}, speed=1000.0, order=Order())
    range_.pass_time(0.1)
    for flight in range_.loading:
        range_.engine.not_loaded(flight)
    assert range_.ledger.shed == {"body unreadable": len(range_.loading)}
    assert range_.held[0] == range_.ledger.planned - len(range_.loading)


def test_one_that_comes_late_waits_for_what_had_ended_before_it():
    """Behind its turn, and behind others that wait: it overlapped with what these wait for."""
    shots = [
        shot(0.0, exchange_id="first", session="alice", duration_us=60_000),
        shot(0.1, exchange_id="next", session="alice"),
        shot(0.05, exchange_id="late", session="alice"),
    ]
    range_ = Range(shots, order=Order())
    range_.pass_time(0.3)
    assert sent_ids(range_) == ["first", "late"]
    range_.answer(range_.sent[0])
    range_.answer(range_.sent[1])
    range_.engine.pump()
    assert sent_ids(range_) == ["first", "late", "next"]


def test_a_long_session_may_be_broken_at_once():
    """However many wait."""
    limits = {"staging": Limits(max_lag_s=None)}
    order = Order(skips_broken=True)
    range_ = Range(chain(5000, every_s=0.0001, duration_us=10), limits, 1000.0, order)
    range_.pass_time(0.1)
    waiting = order.held
    assert waiting > 2000
    range_.fail(range_.sent[0])
    assert range_.ledger.shed == {"session broken": waiting}


# -- limits, the knob, the end --------------------------------------------------------


def test_the_longer_wait_is_the_cause():
    """What waited for its session and then for a limit."""
    limits = {"staging": Limits(concurrency=1)}
    for first_s, cause in ((0.3, "order"), (0.05, "limit")):
        shots = [shot(0.0, session="a"), shot(0.01, session="a"), shot(0.02, session="b")]
        range_ = Range(shots, limits, order=Order())
        range_.pass_time(0.05 + first_s)
        range_.answer(range_.sent[0])
        range_.engine.pump()
        assert range_.sent[1].shot.session == "b"
        range_.pass_time(0.15)
        range_.answer(range_.sent[1])
        range_.engine.pump()
        assert range_.sent[2].lag_cause == cause


def test_turning_the_rate_down_leaves_out_what_waits():
    """Whole sessions, those that wait for their own included; the others go on."""
    shots = sorted(
        (one for name in range(40) for one in chain(5, f"s{name}")), key=lambda one: one.started_us
    )
    range_ = Range(shots, {"staging": Limits(concurrency=10)}, order=Order())
    range_.pass_time(0.2)
    sent = {flight.shot.session for flight in range_.sent}
    range_.knob.set_rate(50)
    while not range_.engine.is_over:
        for flight in tuple(range_.engine._departures.in_flight):
            range_.answer(flight)
        range_.pass_time(0.01)
    assert range_.ledger.is_balanced
    assert set(range_.ledger.shed) == {"rate"}
    whole = [len([one for one in range_.sent if one.shot.session == f"s{n}"]) for n in range(40)]
    begun = [count for n, count in enumerate(whole) if f"s{n}" in sent]
    assert set(begun) <= {1, 5}
    assert {count for n, count in enumerate(whole) if f"s{n}" not in sent} == {0, 5}
    assert range_.held == (0, 0, 0)


@pytest.mark.parametrize("targets", [("a", "a"), ("a", "b"), ("b", "a")])
def test_leaving_one_out_lets_none_go_that_is_left_out_too(targets):
    """Between two clocks one may wait for the other alone; each is shed once."""
    shots = [
        shot(0.0, "a", session="alice", machine="m", duration_us=10_000),
        shot(0.006, targets[0], session="alice", machine="n", duration_us=1000),
        shot(0.008, targets[1], session="alice", machine="m", duration_us=1000),
    ]
    range_ = Range(shots, {"a": Limits(), "b": Limits()}, order=Order())
    range_.pass_time(0.1)
    assert len(range_.sent) == 1
    range_.knob.set_rate(0)
    assert range_.ledger.shed == {"rate": 2}
    range_.answer(range_.sent[0])
    assert range_.engine.is_over
    assert range_.ledger.is_balanced


def test_what_the_knob_leaves_out_breaks_no_session():
    """It goes on when the rate is turned up again."""
    range_ = Range([shot(0.0), shot(1.0)], order=Order(skips_broken=True))
    range_.knob.set_rate(0)
    range_.pass_time(0.5)
    range_.knob.set_rate(100)
    range_.pass_time(1.0)
    assert len(range_.sent) == 1


def test_a_pause_delays_no_order():
    """What was freed meanwhile leaves when it is over, and the pause is no lag."""
    range_ = Range(chain(2), order=Order())
    range_.pass_time(0.07)
    range_.knob.pause()
    range_.answer(range_.sent[0])
    range_.pass_time(30.0, step_s=0.5)
    assert len(range_.sent) == 1
    range_.knob.resume()
    range_.pass_time(0.01)
    assert len(range_.sent) == 2
    assert range_.sent[1].lag_us < 20_000


def test_what_still_waits_at_the_end_is_unsent():
    """Stopping lets nothing go."""
    range_ = Range(chain(3), order=Order())
    range_.pass_time(0.1)
    range_.engine.stop()
    range_.answer(range_.sent[0])
    range_.engine.pump()
    assert len(range_.sent) == 1
    assert range_.ledger.unsent == 2
    assert range_.engine.is_over
    assert range_.ledger.is_balanced
    assert range_.held == (0, 0, 0)


def test_one_long_session_does_not_keep_others_from_being_sent():
    """At full speed planning goes on beyond what waits for its own."""
    shots = [*chain(5000, every_s=0.001, duration_us=10), *chain(1, "bob")]
    range_ = Range(shots, speed=MAX_SPEED, order=Order())
    range_.pass_time(0.5)
    assert sent_ids(range_) == ["alice0", "bob0"]


# -- keys that many share ------------------------------------------------------------------


def test_a_key_with_many_open_shots_at_once_is_shared():
    """Its order is given up, for what waits and for what comes, and that is counted."""
    order = Order()
    range_ = Range(crowd(300, width=20), ROOMY, order=order)
    range_.pass_time(0.05 + 0.06)
    assert len(range_.sent) == 20
    range_.pass_time(0.3)
    assert len(range_.sent) == 300
    assert order.shared.total() == 300 - 20
    assert order.shared == {"robot": 280}
    assert order.open_sessions == 0


def test_a_key_with_few_open_at_once_is_a_user_with_a_long_queue():
    """Six connections, as browsers have: nothing is given up."""
    order = Order()
    range_ = Range(crowd(300, width=6), {"staging": Limits(max_lag_s=None)}, order=order)
    range_.pass_time(0.5)
    assert len(range_.sent) == 6
    assert order.shared.total() == 0


def test_a_busy_key_that_the_target_keeps_up_with_stays_in_order():
    """As many at once as in production are no reason."""
    order = Order()
    range_ = Range(crowd(300, width=20), ROOMY, order=order)
    for _ in range(400):
        range_.pass_time(0.001)
        for flight in tuple(range_.engine._departures.in_flight):
            if range_.now_s - flight.sent_s > 0.015:
                range_.answer(flight)
        range_.engine.pump()
    assert len(range_.sent) == 300
    assert order.shared.total() == 0


def test_a_failure_breaks_no_shared_key():
    """One request of one of many does not end them all."""
    order = Order(skips_broken=True)
    range_ = Range(crowd(300, width=20), ROOMY, order=order)
    range_.pass_time(0.2)
    assert order.shared
    range_.fail(range_.sent[-1])
    range_.pass_time(0.3)
    assert len(range_.sent) == 300


# -- memory ------------------------------------------------------------------------------------


def test_a_session_is_forgotten_with_its_last_shot():
    """What has ended holds nothing back: millions of sessions take no memory."""
    order = Order()
    sessions = (shot(n / 1000, session=f"s{n}") for n in range(2000))
    range_ = Range(sessions, order=order)
    most = 0
    for _ in range(2100):
        range_.pass_time(0.001)
        most = max(most, order.open_sessions)
        for flight in tuple(range_.engine._departures.in_flight):
            range_.answer(flight)
    assert range_.ledger.answered == 2000
    assert most <= 3
    assert order.open_sessions == 0


def test_broken_sessions_are_remembered_up_to_a_number():
    """Those that came last: what is forgotten is gone on with."""
    order = Order(skips_broken=True)
    for number in range(MAX_BROKEN + 2):
        flight = Flight(shot(0.0, session=f"s{number}"), SOURCE, NOBODY)
        assert order.enter(flight) == GO
        order.ended(flight, breaks=True)
    verdicts = [
        order.enter(Flight(shot(1.0, session=f"s{number}"), SOURCE, NOBODY))
        for number in (0, 1, 2, MAX_BROKEN + 1)
    ]
    assert verdicts == [GO, GO, SKIP, SKIP]
