"""What turns a running replay down by itself: back-off, ramp, budgets, in a whole engine."""

from __future__ import annotations

import pytest
from flights import Range, shot
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.replay.governor import Governor
from mirrorproxy.replay.ledger import MAX_EVENTS, Turned
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.replay.schedule import MAX_SPEED
from mirrorproxy.rules.limits import BackoffLimits

WALL_US = 1_700_000_000_000_000
BACKOFF = Limits(concurrency=10_000, backoff=BackoffLimits(p95_s=0.2))


class Governed(Range):
    """A range whose engine is looked after. lines: what was said."""

    def __init__(self, events, limits, speed=1.0, order=None):
        super().__init__(events, limits, speed, order)
        self.lines: list[str] = []
        self.governor = Governor(
            limits, self.engine.lanes, self.knob, self.ledger, wall_us=WALL_US,
            say=self.lines.append,
        )  # fmt: skip
        self.engine.look = self.governor.look
        self.stopped = 0

    def live(self, seconds: float, latency_s: float, status: int = 200) -> None:
        """Turn on, and answer everything so much later."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.engine.turn()
            self.now_s += 0.002
            for flight in list(self.engine._departures.in_flight):
                if self.now_s - flight.sent_s >= latency_s:
                    self.answer(flight, status)
            self.engine.pump()


def steady(seconds: float, per_s: int = 200, target: str = "staging"):
    """Shots of a hundred sessions at an even pace."""
    for number in range(int(seconds * per_s)):
        yield shot(number / per_s, target, session=f"s{number % 100}")


def test_a_slow_target_is_sent_whole_sessions():
    """Of those that are left out nothing is sent any more; it is counted as backed off."""
    range_ = Governed(steady(10), {"staging": BACKOFF})
    range_.live(1.0, 0.01)
    range_.live(1.5, 0.3)
    assert range_.ledger.events[0].reason.startswith("p95 ")
    percent = range_.ledger.events[-1].percent
    assert percent < 100
    before = len(range_.sent)
    range_.live(0.5, 0.3)
    sessions = {flight.shot.session for flight in range_.sent[before:]}
    assert len(sessions) < 100
    range_.engine.close()
    assert set(range_.ledger.shed) == {"backoff"}
    assert range_.ledger.is_balanced


def test_what_is_sent_less_is_said_once():
    """A line on standard error, an event in the ledger, a number in the metrics."""
    range_ = Governed(steady(10), {"staging": BACKOFF})
    range_.live(1.0, 0.01)
    range_.live(1.0, 0.3)
    (event, *_) = range_.ledger.events
    assert isinstance(event, Turned)
    assert WALL_US + 101_000_000 < event.at_us < WALL_US + 102_100_000
    assert range_.lines[0] == (
        f"back-off: target staging is sent {event.percent:g}%: {event.reason}"
    )
    narrowed = range_.governor.targets()["staging"]
    assert (narrowed.percent, narrowed.state, narrowed.cuts) == (event.percent, "run", 1)


def test_one_target_s_trouble_is_not_another_s():
    """Each has a back-off of its own, or none."""
    shots = [one for n in range(400) for one in (
        shot(n / 100, "staging", session=f"s{n % 50}"), shot(n / 100, "other", session=f"s{n % 50}")
    )]  # fmt: skip
    range_ = Governed(shots, {"staging": BACKOFF, "other": Limits(concurrency=10_000)})
    range_.live(5, 0.3)
    sent = [flight.shot.target for flight in range_.sent]
    assert sent.count("other") == 400
    assert sent.count("staging") < 400


def test_back_off_narrows_what_the_knob_leaves():
    """A half of what is sent by hand; both reasons stand in the ledger."""
    range_ = Governed(steady(4), {"staging": Limits(concurrency=10_000)})
    range_.knob.set_rate(50)
    range_.knob.narrow("staging", 0.5, "backoff")
    range_.pass_time(4.2)
    assert range_.ledger.shed["rate"] == pytest.approx(400, abs=120)
    assert range_.ledger.shed["backoff"] == pytest.approx(200, abs=100)
    range_.knob.set_rate(100)
    range_.knob.narrow("staging", 1.0, "backoff")
    assert range_.engine.valve is None


def test_what_waits_for_a_slow_target_is_left_out_at_once():
    """Otherwise it would be sent its backlog for seconds after a cut."""
    range_ = Governed(steady(1), {"staging": Limits(concurrency=1)})
    range_.pass_time(0.85)
    waiting = len(range_.engine.lanes["staging"].waiting)
    range_.knob.narrow("staging", 0.0, "backoff")
    assert waiting > 100
    assert dict(range_.ledger.shed) == {"backoff": waiting}
    assert not range_.engine.lanes["staging"].waiting


def test_a_cut_during_a_ramp_begins_at_the_ramp():
    """Not at the whole, which was not being sent."""
    limits = Limits(concurrency=10_000, ramp_s=20, backoff=BackoffLimits(p95_s=0.2))
    range_ = Governed(steady(20), {"staging": limits})
    range_.live(6, 0.01)
    range_.live(2, 0.3)
    cut = next(event for event in range_.ledger.events if " over " in event.reason)
    assert cut.percent < 40


def test_at_max_speed_it_is_sent_more_slowly_and_nothing_is_shed():
    """There is no pace to keep, so fewer are on the way at a time."""
    limits = {"staging": Limits(concurrency=64, backoff=BackoffLimits(p95_s=0.2))}
    range_ = Governed(steady(60), limits, MAX_SPEED)
    range_.live(3.0, 0.3)
    assert range_.engine.in_flight < 64
    assert not range_.ledger.shed


def test_a_dead_target_at_max_speed_gets_probes_alone():
    """Three, then a longer pause; nothing is shed."""
    limits = {"staging": Limits(concurrency=8, backoff=BackoffLimits())}
    range_ = Governed(steady(60), limits, MAX_SPEED)
    for _ in range(3000):
        range_.engine.turn()
        range_.now_s += 0.001
        for flight in list(range_.engine._departures.in_flight):
            range_.fail(flight, "connect_refused")
        range_.engine.pump()
    paused = [event.at_us for event in range_.ledger.events if "paused" in event.reason]
    assert len(paused) == 2
    probes = [at for at in range_.sent_at if at > 0.8]
    assert len(probes) == 3
    assert not range_.ledger.shed


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_ramp_sends_ever_more(share):
    """In even steps from nothing to everything; the rest is counted as the ramp's."""
    range_ = Governed(steady(12), {"staging": Limits(concurrency=10_000, ramp_s=10)})
    range_.live(10 * share - 0.5, 0.01)
    before = len(range_.sent)
    range_.live(1.0, 0.01)
    assert len(range_.sent) - before == pytest.approx(200 * share, abs=30)
    range_.live(12, 0.01)
    assert len([at for at in range_.sent_at if at >= 11]) == pytest.approx(200, abs=2)
    assert set(range_.ledger.shed) == {"ramp"}
    assert [event.reason for event in range_.ledger.events] == ["ramp of 10s", "the ramp is over"]


def test_a_ramp_at_max_speed_lets_ever_more_be_on_the_way():
    """In even steps up to the concurrency; nothing is shed."""
    range_ = Governed(steady(60), {"staging": Limits(concurrency=100, ramp_s=10)}, MAX_SPEED)
    range_.live(5, 0.1)
    assert range_.engine.in_flight == pytest.approx(50, abs=5)
    range_.live(5.5, 0.1)
    assert range_.engine.in_flight == 100
    assert not range_.ledger.shed


def test_a_budget_of_shots_ends_the_replay():
    """In good order: what was not sent is unsent, what is on the way is answered."""
    range_ = Governed(steady(10), {"staging": Limits(max_shots=100)})
    range_.live(2, 0.01)
    assert (len(range_.sent), range_.ledger.answered) == (100, 100)
    assert range_.engine.is_over
    assert range_.ledger.unsent > 0
    assert range_.ledger.is_balanced


def test_a_budget_of_time_ends_the_replay():
    """From the first moment that there is something to send."""
    range_ = Governed(steady(10), {"staging": Limits(max_duration_s=2)})
    range_.live(4, 0.01)
    assert len(range_.sent) == pytest.approx(390, abs=60)
    assert range_.engine.is_over
    assert range_.ledger.is_balanced


def test_a_budget_of_one_target_leaves_the_others():
    """What it is not sent any more is shed by its budget."""
    shots = [shot(n / 100, target) for n in range(100) for target in ("a", "b")]
    range_ = Governed(shots, {"a": Limits(max_shots=10), "b": Limits()})
    range_.live(2, 0.01)
    assert dict(range_.ledger.shed) == {"budget": 90}
    assert range_.ledger.answered == 110


def test_a_time_of_one_target_leaves_the_others():
    """After it nothing more is sent there."""
    shots = [shot(n / 100, target) for n in range(100) for target in ("a", "b")]
    range_ = Governed(shots, {"a": Limits(max_duration_s=0.5), "b": Limits()})
    range_.live(2, 0.01)
    assert set(range_.ledger.shed) == {"budget"}
    assert 40 < range_.ledger.shed["budget"] < 65
    assert range_.ledger.is_balanced


def test_what_waits_for_its_session_is_left_out_of_a_cut_too():
    """The last of it first, and it breaks no session: what comes once all is well is sent."""
    shots = [shot(n / 10, session="alice", duration_us=1000) for n in range(4)]
    range_ = Governed(shots, {"staging": Limits()}, order=Order(skips_broken=True))
    range_.pass_time(0.3)
    range_.knob.narrow("staging", 0, "backoff")
    assert (len(range_.sent), dict(range_.ledger.shed)) == (1, {"backoff": 2})
    range_.answer(range_.sent[0])
    range_.knob.narrow("staging", 1, "backoff")
    range_.pass_time(0.2)
    assert len(range_.sent) == 2


@pytest.mark.parametrize("reason", ["rule rate", None])
def test_what_a_rule_s_rate_sheds_breaks_no_session(reason):
    """It is left out as sampling leaves out; what cannot be sent at all breaks it."""
    first = shot(0.0, shed=reason, headers=[("Host", "staging" if reason else "a\nb")])
    range_ = Governed([first, shot(0.1)], {"staging": Limits()}, order=Order(skips_broken=True))
    range_.pass_time(0.3)
    assert len(range_.sent) == (1 if reason else 0)
    assert range_.ledger.shed == (
        {"rule rate": 1} if reason else {"unsendable": 1, "session broken": 1}
    )


def test_events_are_bounded():
    """A replay for ever keeps the last ones."""
    ledger = Range([]).ledger
    for number in range(MAX_EVENTS + 5):
        ledger.events.append(Turned(number, "staging", 50.0, "p95"))
    assert (len(ledger.events), ledger.events[0].at_us) == (MAX_EVENTS, 5)


def test_nothing_is_looked_after_where_nothing_asks_for_it():
    """A replay without any of it does not pay for it."""
    assert not Governor.is_needed({"staging": Limits(rate=10)})
    assert Governor.is_needed({"a": Limits(), "b": Limits(ramp_s=1)})


@given(
    turns=st.lists(
        st.tuples(
            st.sampled_from(
                ["narrow", "other", "rate", "wait", "load", "answer", "fail", "pause", "resume"]
            ),
            st.integers(0, 100),
        ),
        max_size=25,
    ),
    speed=st.sampled_from([1.0, 100.0, MAX_SPEED]),
    order=st.none() | st.builds(Order, by_target=st.booleans(), skips_broken=st.booleans()),
    limits=st.builds(
        Limits,
        concurrency=st.integers(1, 5),
        max_shots=st.none() | st.integers(1, 20),
        ramp_s=st.sampled_from([0.0, 1.0]),
        backoff=st.none() | st.just(BackoffLimits(p95_s=0.1)),
    ),
)
def test_every_shot_has_one_end_whatever_is_narrowed(turns, speed, order, limits):
    """By hand, by back-off, by a ramp and by a budget at once, whatever waits for what."""
    shots = [
        shot(
            number / 100,
            "other" if number % 3 == 1 else "staging",
            session=f"s{number % 5}",
            machine="n" if number % 7 == 2 else "m",
            shed="rule rate" if number % 11 == 10 else None,
            **({"body_ref": "bodies/x", "body_bytes": 3} if number % 4 == 3 else {}),
        )
        for number in range(50)
    ]
    range_ = Governed(shots, {"staging": limits, "other": limits}, speed, order)
    for turn, number in turns:
        in_flight = list(range_.engine._departures.in_flight)
        if turn == "narrow":
            range_.knob.narrow("staging", number / 100, "backoff", probes=number % 3)
        elif turn == "other":
            range_.knob.narrow("other", number / 100, "ramp")
        elif turn == "rate":
            range_.knob.set_rate(number)
        elif turn == "wait":
            range_.pass_time(number / 100, step_s=0.01)
        elif turn == "load":
            while range_.loading:
                flight = range_.loading.pop()
                range_.engine.loaded(flight, flight.shot)
        elif turn == "pause":
            range_.knob.pause()
        elif turn == "resume":
            range_.knob.resume()
        elif in_flight:
            end = range_.answer if turn == "answer" else range_.fail
            end(in_flight[number % len(in_flight)])
    range_.engine.close()
    assert range_.engine.is_over
    assert range_.ledger.is_balanced
    assert len(range_.outcomes) == range_.ledger.planned
    assert range_.held == (0, 0, 0)
