"""Shots wait for the answers that give them their values, whatever their sessions."""

from __future__ import annotations

import json

from answering import MARKS
from flights import Range, shot

from mirrorproxy.record import Response
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.replay.schedule import MAX_SPEED
from mirrorproxy.shot import Shot


def made(at_s: float, number: int = 42, **fields: object) -> Shot:
    """A POST that made an order, as production answered it after a millisecond."""
    body = json.dumps({"id": number})
    answer = Response(201, [("Content-Type", "application/json")], body, "utf8", len(body))
    return shot(at_s, method="POST", path="/orders", recorded=answer, status=201, **fields)


def asked(at_s: float, path: str = "/orders/42", **fields: object) -> Shot:
    """A GET of an order, by another user."""
    return shot(at_s, path=path, session="other", **fields)


def ranged(*shots: Shot, speed: float = MAX_SPEED, **options: object) -> Range:
    """An engine with these shots, turned once."""
    range_ = Range(shots, speed=speed, correlator=Correlation(), **options)
    range_.pass_time(0.01)
    return range_


def paths(range_: Range) -> list[str]:
    return [f"{one.shot.method} {one.shot.path}" for one in range_.sent]


def test_who_needs_an_id_waits_for_the_answer_that_gives_it():
    range_ = ranged(made(0.0), asked(1.0), asked(1.0, "/users/42"))
    assert paths(range_) == ["POST /orders", "GET /users/42"]
    range_.answer(range_.sent[0], 201)
    range_.pass_time(0.01)
    assert paths(range_)[2:] == ["GET /orders/42"]
    range_.answer_all()
    assert range_.engine.is_over
    assert range_.ledger.answered == 3


def test_what_overlapped_in_production_waits_for_nothing():
    assert paths(ranged(made(0.0, duration_us=5_000_000), asked(1.0))) == [
        "POST /orders", "GET /orders/42",
    ]  # fmt: skip


def test_another_machines_clock_may_be_five_milliseconds_off():
    slow = ranged(made(0.0, duration_us=1_004_000, machine="a"), asked(1.0, machine="b"))
    assert paths(slow) == ["POST /orders"]
    slower = ranged(made(0.0, duration_us=1_006_000, machine="a"), asked(1.0, machine="b"))
    assert len(paths(slower)) == 2


def test_nobody_waits_for_what_failed_or_was_shed():
    range_ = ranged(made(0.0), asked(1.0))
    range_.fail(range_.sent[0])
    range_.pass_time(0.01)
    assert paths(range_) == ["POST /orders", "GET /orders/42"]


def test_one_who_waits_is_shed_when_it_is_overdue():
    limits = {"staging": Limits(max_lag_s=0.5)}
    range_ = Range([made(0.0), asked(0.1)], limits, correlator=Correlation())
    range_.pass_time(1.0)
    assert dict(range_.ledger.shed) == {"max_lag": 1}
    range_.answer_all()
    assert range_.engine.is_over


def test_without_due_times_one_waits_ten_seconds_at_most():
    range_ = ranged(made(0.0), asked(1.0))
    range_.pass_time(9.8, step_s=0.1)
    assert len(range_.sent) == 1
    range_.pass_time(0.5, step_s=0.1)
    assert paths(range_) == ["POST /orders", "GET /orders/42"]


def test_the_wait_counts_as_lag_by_order():
    range_ = Range([made(0.0), asked(0.1)], correlator=Correlation())
    range_.pass_time(0.5)
    range_.answer(range_.sent[0], 201)
    range_.engine.pump()
    range_.answer(range_.sent[1])
    assert [one.lag_cause for one in range_.outcomes] == ["sender", "order"]
    assert range_.outcomes[1].lag_us > 200_000


def test_a_write_that_carries_the_id_is_waited_for_too():
    """It is shipped after it was paid for, though its id was known long before."""
    pay = shot(1.0, method="POST", path="/orders/42/pay", session="ann")
    ship = shot(
        2.0, method="POST", path="/shipments", session="staff", body_length=15,
        headers=[("Content-Type", "application/json")], body=b'{"order_id":42}',
    )  # fmt: skip
    range_ = ranged(made(0.0, session="ann"), pay, ship, order=Order())
    assert paths(range_) == ["POST /orders"]
    range_.answer(range_.sent[0], 201)
    range_.pass_time(0.01)
    assert paths(range_)[1:] == ["POST /orders/42/pay"]
    range_.answer(range_.sent[1])
    range_.pass_time(0.01)
    assert paths(range_)[2:] == ["POST /shipments"]


def test_reads_of_one_thing_do_not_wait_for_each_other():
    body = '{"id":42}'
    answer = Response(200, [("Content-Type", "application/json")], body, "utf8", len(body))
    reads = [asked(at_s, recorded=answer) for at_s in (0.0, 1.0, 2.0)]
    assert len(ranged(*reads).sent) == 3


def test_a_token_that_a_login_is_to_give_is_waited_for():
    body = json.dumps({"access_token": MARKS[1]})
    answer = Response(200, [("Content-Type", "application/json")], body, "utf8", len(body))
    login = shot(0.0, method="POST", path="/login", recorded=answer, session="client")
    bearer = [("Host", "staging"), ("Authorization", f"Bearer {MARKS[1]}")]
    range_ = ranged(login, shot(1.0, headers=bearer, session="ann", sealed=True))
    assert paths(range_) == ["POST /login"]
    range_.answer(range_.sent[0])
    range_.pass_time(0.01)
    # The answer held no token: what is sealed is never sent.
    assert dict(range_.ledger.shed) == {"no credential": 1}
    assert range_.engine.is_over


def test_a_stopped_replay_waits_for_nobody():
    range_ = ranged(made(0.0), asked(1.0))
    range_.engine.stop()
    range_.answer(range_.sent[0], 201)
    assert range_.engine.is_over
    assert range_.ledger.unsent == 1


def test_nothing_is_left_of_what_has_ended():
    correlation = Correlation()
    range_ = Range([made(at_s, at_s * 10) for at_s in range(50)], speed=MAX_SPEED,
                   correlator=correlation)  # fmt: skip
    range_.pass_time(0.1)
    range_.answer_all()
    assert range_.engine.is_over
    assert correlation.open_values == 0
