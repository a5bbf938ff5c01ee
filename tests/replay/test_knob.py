"""The knob of a running replay: what still leaves, when, and what becomes of the rest."""

from __future__ import annotations

from collections import Counter

import pytest
from flights import Range, shot
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.replay.knob import Knob
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.replay.schedule import MAX_SPEED
from mirrorproxy.replay.valve import Valve
from mirrorproxy.sampling import copies
from mirrorproxy.sources.events import Signal

REF = {"method": "POST", "body_ref": "bodies/x", "body_bytes": 3, "body_length": 0}

WIDE = {"staging": Limits(concurrency=10_000)}


def steady(seconds: float, per_s: int = 1000, sessions: int = 500, **fields):
    """Shots of many sessions at an even pace."""
    for number in range(int(seconds * per_s)):
        yield shot(number / per_s, session=f"s{number % sessions}", **fields)


def tenths(range_: Range) -> dict[int, int]:
    """How many shots left in each tenth of a second."""
    return Counter(int(at * 10) for at in range_.sent_at)


def test_a_running_replay_halves_at_once():
    """In the tenth of a second after the turn, though two seconds were planned by then."""
    range_ = Range(steady(4), WIDE)
    range_.pass_time(1.05)
    before = len(range_.sent)
    range_.knob.set_rate(50)
    range_.pass_time(1.0)
    assert before == pytest.approx(1000, abs=2)
    assert len(range_.sent) - before == pytest.approx(500, abs=50)
    assert [tenths(range_)[n] for n in range(1, 10)] == [pytest.approx(100, abs=2)] * 9
    assert [tenths(range_)[n] for n in range(10, 19)] == [pytest.approx(50, abs=20)] * 9


def test_what_is_left_out_is_whole_sessions_and_counted():
    """What leaves does so at its own time; the rest is shed by the knob and by nothing else."""
    range_ = Range(steady(2, sessions=50), WIDE)
    range_.knob.set_rate(50)
    range_.pass_time(2.2)
    range_.answer_all()
    sent = {flight.shot.session for flight in range_.sent}
    left_out = {f"s{n}" for n in range(50)} - sent
    assert 15 < len(sent) < 35
    assert len(range_.sent) == 40 * len(sent)
    assert dict(range_.ledger.shed) == {"rate": 40 * len(left_out)}
    assert range_.ledger.lag.max is not None
    assert range_.ledger.lag.max < 1100
    assert range_.engine.is_over
    assert range_.ledger.is_balanced


def test_turned_up_again_everything_leaves():
    """At once, and nothing of what was shed comes back."""
    range_ = Range(steady(3), WIDE)
    range_.knob.set_rate(0)
    range_.pass_time(1.05)
    assert range_.sent == []
    range_.knob.set_rate(100)
    range_.pass_time(1.0)
    assert len(range_.sent) == pytest.approx(1000, abs=2)
    assert range_.ledger.shed["rate"] == pytest.approx(1000, abs=2)


def test_what_waits_for_the_target_is_left_out_too():
    """Otherwise a slow target would be sent its backlog for seconds."""
    range_ = Range(steady(2), {"staging": Limits(concurrency=1)})
    range_.pass_time(1.05)
    assert len(range_.sent) == 1
    range_.knob.set_rate(0)
    assert range_.ledger.shed["rate"] == pytest.approx(1000, abs=2)
    range_.answer_all()
    range_.engine.pump()
    assert len(range_.sent) == 1


def test_a_body_that_is_due_but_not_read_is_left_out():
    """It is neither sent when it comes, nor holds memory."""
    range_ = Range([shot(0.0, **REF), shot(0.1, **REF)])
    range_.pass_time(0.06)
    range_.knob.set_rate(0)
    range_.pass_time(0.2)
    for flight in range_.loading:
        range_.engine.loaded(flight, shot(0.0, method="POST", body=b"abc", body_length=3))
    assert (range_.sent, dict(range_.ledger.shed)) == ([], {"rate": 2})
    assert range_.engine.is_over
    assert range_.ledger.is_balanced
    assert range_.held[1:] == (0, 0)


@pytest.mark.parametrize("percent", [10, 25, 50, 75, 90])
def test_one_session_that_is_all_traffic_is_halved_too(percent):
    """The address of a load balancer stands for all users: its shots are chosen one by one."""
    valve = Valve(percent)
    admitted = sum(valve.admits(shot(n, session="192.0.2.1")) for n in range(5000))
    assert admitted / 50 == pytest.approx(percent, abs=3)


def test_the_lower_the_rate_the_fewer_of_the_same():
    """A session that leaves at a quarter also leaves at half, on every worker."""
    shots = [shot(n / 10, session=f"s{n}") for n in range(1000)]
    quarter, half = Valve(25), Valve(50)
    at_quarter = {one.session for one in shots if quarter.admits(one)}
    at_half = {one.session for one in reversed(shots) if half.admits(one)}
    assert at_quarter < at_half
    assert len(at_quarter) == pytest.approx(250, abs=50)


def test_halving_a_sample_of_sessions_halves_it():
    """The valve has a salt of its own: what sampling kept is not what the valve keeps."""
    kept = [f"s{n}" for n in range(2000) if copies(f"s{n}", 50, "replay")]
    valve = Valve(50)
    admitted = sum(valve.admits(shot(0.0, session=session)) for session in kept)
    assert admitted / len(kept) == pytest.approx(0.5, abs=0.06)


def test_each_copy_is_a_session_of_its_own():
    """Halving what is sent twice is not all or nothing."""
    valve = Valve(50)
    answers = {
        tuple(valve.admits(shot(n, session=f"s{n}", copy=copy)) for copy in range(2))
        for n in range(50)
    }
    assert answers == {(False, False), (False, True), (True, False), (True, True)}


def test_the_valve_remembers_a_bounded_number_of_sessions():
    """However many there are in a capture."""
    valve = Valve(50)
    for n in range(20_000):
        valve.admits(shot(0.0, session=f"s{n}"))
    assert len(valve._shots_by_session) < 4096


# -- pause ---------------------------------------------------------------------


def test_a_pause_moves_everything_that_is_to_come():
    """Order and pace stay, nothing leaves in a burst, and the pause is no lag."""
    range_ = Range(shot(n / 10) for n in range(10))
    range_.pass_time(0.32)
    range_.knob.pause()
    range_.pass_time(60.0, step_s=0.05)
    assert len(range_.sent) == 3
    assert range_.knob.state == "pause"
    range_.knob.resume()
    range_.pass_time(1.0)
    paused_s = range_.sent_at[3] - 0.3
    assert paused_s == pytest.approx(60.0, abs=0.06)
    assert range_.sent_at[3:] == pytest.approx(
        [paused_s + n / 10 for n in range(3, 10)], abs=0.0021
    )
    range_.answer_all()
    assert range_.ledger.lag.max < 1100
    assert dict(range_.ledger.shed) == {}
    assert range_.engine.is_over


def test_a_pause_moves_what_is_planned_later_too():
    """Long after it, everything is as far apart as it was recorded."""
    range_ = Range(shot(n / 2) for n in range(20))
    range_.pass_time(1.2)
    range_.knob.pause()
    range_.now_s += 3.0
    range_.knob.resume()
    range_.pass_time(10.0)
    assert range_.sent_at == pytest.approx(
        [n / 2 if n < 3 else n / 2 + 3.0 for n in range(20)], abs=0.0021
    )


def test_what_comes_behind_its_turn_after_a_pause_is_not_overdue():
    """It is due when it is noticed, not before the pause."""
    resumed = []

    def events():
        yield shot(100.0)
        while not resumed:
            yield Signal.PENDING
        yield shot(50.0)

    range_ = Range(events())
    range_.pass_time(0.1)
    range_.knob.pause()
    range_.now_s += 60.0
    range_.knob.resume()
    resumed.append(True)
    range_.pass_time(0.2)
    range_.answer_all()
    assert (range_.ledger.answered, dict(range_.ledger.shed)) == (2, {})


def test_a_pause_holds_what_waits_for_a_limit_too():
    """An answer makes room, and still nothing leaves; what was late is no later for it."""
    limits = {"staging": Limits(concurrency=1, max_lag_s=1)}
    range_ = Range([shot(0.0), shot(0.01)], limits)
    range_.pass_time(0.1)
    range_.knob.pause()
    range_.answer(range_.sent[0])
    range_.engine.pump()
    range_.pass_time(10.0, step_s=0.05)
    assert len(range_.sent) == 1
    range_.knob.resume()
    assert len(range_.sent) == 2
    range_.answer(range_.sent[1])
    assert range_.outcomes[1].lag_us < 100_000


def test_a_paused_replay_reads_no_further():
    """A pause of an hour must not plan an hour ahead."""
    range_ = Range(shot(n / 10) for n in range(10_000))
    range_.pass_time(0.1)
    range_.knob.pause()
    range_.pass_time(60.0, step_s=0.05)
    assert range_.intake.taken == pytest.approx(21, abs=2)


def test_pausing_twice_and_resuming_twice_is_once():
    """The second pause does not forget when the first began."""
    range_ = Range([shot(0.0), shot(1.0)])
    range_.pass_time(0.1)
    range_.knob.resume()
    range_.knob.pause()
    range_.now_s += 5
    range_.knob.pause()
    range_.now_s += 5
    range_.knob.resume()
    range_.knob.resume()
    range_.pass_time(1.0)
    assert range_.sent_at == pytest.approx([0.0, 11.0], abs=0.0021)


def test_a_replay_paused_before_its_first_shot_begins_when_it_is_resumed():
    """A knob that stood at pause when the replay started."""
    range_ = Range([shot(5.0), shot(5.1)])
    range_.knob.pause()
    range_.pass_time(3.0, step_s=0.05)
    assert range_.intake.taken == 0
    range_.knob.resume()
    range_.pass_time(0.3)
    assert range_.sent_at[1] - range_.sent_at[0] == pytest.approx(0.1, abs=0.0021)


# -- stop ----------------------------------------------------------------------


def test_stopping_a_paused_and_turned_down_replay_balances():
    """Each planned shot is answered, shed or unsent."""
    range_ = Range(steady(3, per_s=100))
    range_.pass_time(0.5)
    range_.knob.set_rate(50)
    range_.pass_time(0.5)
    range_.knob.pause()
    range_.knob.stop()
    range_.knob.stop()
    assert range_.knob.state == "stop"
    range_.answer_all()
    ledger = range_.ledger
    assert range_.engine.is_over
    assert ledger.unsent > 0
    assert ledger.shed["rate"] > 0
    assert ledger.planned == ledger.answered + ledger.shed["rate"] + ledger.unsent
    assert ledger.is_balanced


def test_stopping_twice_is_once():
    """A second stop of the runner would not wait for answers any more."""
    range_ = Range([shot(0.0)])
    stops = []

    def stop() -> None:
        stops.append("stop")
        range_.engine.stop()

    knob = Knob(range_.engine, lambda: range_.now_s, range_.engine.turn, stop)
    knob.stop()
    knob.stop()
    assert stops == ["stop"]


def test_a_stopped_replay_cannot_be_resumed():
    """Its schedule is gone."""
    range_ = Range([shot(0.0), shot(1.0)])
    range_.pass_time(0.1)
    range_.knob.stop()
    range_.knob.resume()
    range_.knob.pause()
    assert range_.knob.state == "stop"
    range_.pass_time(2.0)
    assert len(range_.sent) == 1


# -- without due times -----------------------------------------------------------


class Closed:
    """A target that answers every shot after a time: what is sent follows the answers.

    per_ms: how many answers it, or the sender, can do in a millisecond.
    """

    def __init__(self, latency_s: float, per_ms: int = 1000) -> None:
        shots = (shot(0.0) for _ in range(1_000_000))
        self.range = Range(shots, {"staging": Limits(concurrency=10)}, MAX_SPEED)
        self._latency_s = latency_s
        self._per_ms = per_ms
        self._answered = 0

    def run(self, seconds: float) -> int:
        """Return how many shots left meanwhile."""
        range_, before = self.range, len(self.range.sent)
        until_s = range_.now_s + seconds
        while range_.now_s < until_s:
            for flight in range_.sent[self._answered : self._answered + self._per_ms]:
                if flight.sent_s + self._latency_s > range_.now_s:
                    break
                range_.answer(flight)
                self._answered += 1
                range_.engine.pump()
            range_.engine.turn()
            range_.now_s += 0.001
        return len(range_.sent) - before


@pytest.mark.parametrize(
    ("latency_s", "per_ms"),
    [
        pytest.param(0.0, 3, id="answers at once, however few are asked"),
        pytest.param(0.1, 1000, id="takes its time"),
    ],
)
def test_without_due_times_it_leaves_half_as_fast_and_nothing_is_shed(latency_s, per_ms):
    """There is no pace to keep, so nothing has to be lost for it."""
    closed = Closed(latency_s, per_ms)
    full = closed.run(1.0)
    closed.range.knob.set_rate(50)
    closed.run(0.2)
    assert closed.run(1.0) == pytest.approx(full / 2, rel=0.15)
    closed.range.knob.set_rate(25)
    closed.run(0.2)
    assert closed.run(1.0) == pytest.approx(full / 4, rel=0.25)
    closed.range.knob.set_rate(0)
    assert closed.run(1.0) == 0
    closed.range.knob.set_rate(100)
    assert closed.run(1.0) == pytest.approx(full, rel=0.15)
    assert dict(closed.range.ledger.shed) == {}


def test_without_due_times_a_pause_holds_everything():
    """And it goes on at full speed."""
    closed = Closed(0.1)
    closed.run(0.5)
    closed.range.knob.pause()
    assert closed.run(1.0) == 0
    closed.range.knob.resume()
    assert closed.run(1.0) == pytest.approx(100, abs=15)


TURNS = st.lists(
    st.tuples(
        st.sampled_from(["rate", "pause", "resume", "answer", "load", "jump"]),
        st.integers(0, 100),
    ),
    max_size=40,
)


@given(
    plans=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 5), st.booleans()), max_size=40),
    turns=TURNS,
    order=st.none() | st.builds(Order, skips_broken=st.booleans()),
    speed=st.sampled_from([0.5, 1.0, 100.0, MAX_SPEED]),
    limits=st.builds(Limits, concurrency=st.integers(1, 5), max_lag_s=st.none() | st.floats(0, 2)),
)
def test_every_shot_has_one_end_however_the_knob_is_turned(plans, turns, order, speed, limits):
    """And nothing stays behind in memory."""
    shots = [shot(at, session=f"s{n}", **(REF if ref else {})) for at, n, ref in sorted(plans)]
    range_ = Range(shots, {"staging": limits}, speed, order)
    knob, engine = range_.knob, range_.engine
    for turn, number in turns:
        in_flight = list(engine._departures.in_flight)
        if turn == "rate":
            knob.set_rate(number)
        elif turn == "pause":
            knob.pause()
        elif turn == "resume":
            knob.resume()
        elif turn == "answer" and in_flight:
            range_.answer(in_flight[number % len(in_flight)])
            engine.pump()
        elif turn == "load" and range_.loading:
            flight = range_.loading.pop(number % len(range_.loading))
            engine.loaded(flight, shot(0.0, method="POST", body=b"abc", body_length=3))
        elif turn == "jump":
            range_.now_s += 3.0
        before = len(range_.sent)
        range_.pass_time(0.02, step_s=0.005)
        if knob.state == "pause":
            assert len(range_.sent) == before
    knob.stop()
    engine.close()
    assert engine.is_over
    assert range_.ledger.is_balanced
    assert len(range_.outcomes) == range_.ledger.planned
    assert range_.held == (0, 0, 0)
