"""Accounts: when everything of an object has come to its end, from reading to the last shot."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flights import Range, shot

from mirrorproxy.codec import MalformedRecord
from mirrorproxy.replay.intake import Intake, Planned
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.rules.plan import Plan
from mirrorproxy.sources.events import Account, Captured, CaptureObject, PassedOver, Signal


class Settled:
    """An object with an account, and whether it was settled."""

    def __init__(self, left: int) -> None:
        self.times = 0
        account = Account(self._settle)
        account.add(left)
        self.source = CaptureObject("a", NotImplemented, base=".", account=account)

    def _settle(self) -> None:
        self.times += 1


def ranged(settled: Settled, number: int = 2, **limits: object) -> Range:
    shots = [shot(0.0) for _ in range(number)]
    range_ = Range([Planned(shots, settled.source)], {"staging": Limits(**limits)})
    range_.ledger.planned += number
    return range_


def test_an_object_is_settled_when_its_last_shot_has_ended():
    """Answered or failed: each has its outcome."""
    settled = Settled(2)
    range_ = ranged(settled)
    range_.pass_time(0.1)
    range_.answer(range_.sent[0])
    assert settled.times == 0
    range_.fail(range_.sent[1])
    assert settled.times == 1


def test_what_is_shed_has_ended():
    """It is counted, and would not be sent another time either."""
    settled = Settled(2)
    range_ = ranged(settled, concurrency=1, max_lag_s=0.1)
    range_.pass_time(0.5)
    assert range_.ledger.shed == {"max_lag": 1}
    range_.answer(range_.sent[0])
    assert settled.times == 1


@pytest.mark.parametrize("end", [lambda engine: engine.stop(), lambda engine: engine.close()])
def test_what_was_not_sent_or_not_answered_has_not_ended(end: Callable):
    """Somebody else is to send it: nothing is settled by giving up."""
    settled = Settled(2)
    range_ = ranged(settled, concurrency=1)
    range_.pass_time(0.1)
    end(range_.engine)
    for flight in range_.sent:
        range_.answer(flight)
    assert range_.ledger.unsent == 1
    assert settled.times == 0


def test_a_shot_that_was_given_up_before_its_answer_has_not_ended():
    """Nobody knows what became of it: it is sent again, and counted."""
    settled = Settled(1)
    range_ = ranged(settled, 1)
    range_.pass_time(0.1)
    range_.engine.close()
    range_.answer(range_.sent[0])
    assert settled.times == 0


class OneEvent:
    def __init__(self, event: Captured | PassedOver) -> None:
        self._events = iter([event])

    def take(self):
        return next(self._events, Signal.END)

    def close(self) -> None:
        """Nothing is open."""


def malformed(_exchange: object, _source: object) -> Plan:
    raise MalformedRecord("bad")


@pytest.mark.parametrize(
    ("plan", "is_settled"),
    [
        pytest.param(lambda *_: Plan(None, skipped="rule"), True, id="skipped"),
        pytest.param(malformed, True, id="malformed"),
        pytest.param(lambda *_: Plan("r", (shot(), shot())), False, id="two shots"),
    ],
)
def test_what_gives_no_shot_has_ended_with_the_intake(plan, is_settled):
    """Two shots are two ends."""
    settled = Settled(1)
    captured = Captured(None, settled.source, False)  # type: ignore[arg-type]
    intake = Intake(OneEvent(captured), plan, Ledger(), lambda _: None)
    intake.take()
    assert settled.times == is_settled
    if not is_settled:
        assert settled.source.account is not None
        settled.source.account.done()
        assert settled.times == 0
        settled.source.account.done()
        assert settled.times == 1


def test_what_is_passed_over_is_counted_and_has_ended():
    """As skipped, by its reason."""
    settled, ledger = Settled(1), Ledger()
    intake = Intake(OneEvent(PassedOver("late", settled.source)), malformed, ledger, lambda _: None)
    assert intake.take() is Signal.READING
    assert (ledger.read, dict(ledger.skipped), settled.times) == (1, {"late": 1}, 1)
    assert ledger.is_balanced
