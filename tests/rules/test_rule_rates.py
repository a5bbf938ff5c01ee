"""A rule's rate: so many shots leave a second, sessions whole."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from rulekit import exchange, rules_from

from mirrorproxy.rules.planner import Planner
from mirrorproxy.rules.shift import Offset

START_US = 1_700_000_000_000_000


def planner(send, speed=1.0, now=lambda: START_US):
    text = (
        "version: 1\ntargets: {t: {url: 'http://t'}}\n"
        f"rules: [{{name: r, match: {{path: /a}}, send: {{{send}}}}}, {{name: s, send: {{}}}}]"
    )
    return Planner(rules_from(text), "seed", "run", speed=speed, now_us=now)


def one_at(us, client="203.0.113.7", target="/a"):
    one = exchange(target=target, client=client)
    one.started_us = START_US + us
    return one


def test_what_exceeds_the_rate_is_shed():
    """A second's worth at once, then so many a second; other rules are not touched."""
    plans = planner("rate: 10")
    shed = [shot.shed for n in range(400) for shot in plans.plan(one_at(n * 10_000)).shots]
    assert Counter(shed) == {None: 49, "rule rate": 351}
    assert shed[:10] == [None] * 10
    assert plans.plan(one_at(1, target="/b")).shots[0].shed is None


def test_the_rate_is_that_of_the_sending():
    """At five times the speed five times as many come in a second."""
    plans = planner("rate: 10", speed=5.0)
    shed = [shot.shed for n in range(400) for shot in plans.plan(one_at(n * 10_000)).shots]
    assert shed.count(None) == 17


def test_without_due_times_the_clock_counts():
    """As fast as it goes is as fast as the rate allows."""
    now = iter(range(START_US, START_US + 10_000_000, 1_000))
    plans = planner("rate: 10", speed=math.inf, now=lambda: next(now))
    shed = [shot.shed for _ in range(2_000) for shot in plans.plan(one_at(0)).shots]
    assert 29 <= shed.count(None) <= 30


def test_sessions_are_kept_or_shed_whole():
    """The first request decides for all."""
    plans = planner("rate: 10, percent_by: session")
    seen = {}
    for n in range(300):
        client = f"10.0.{n % 100}.1"
        (shot,) = plans.plan(one_at(n * 10_000, client)).shots
        seen.setdefault(client, set()).add(shot.shed)
    assert all(len(verdicts) == 1 for verdicts in seen.values())
    assert 0 < sum(None in verdicts for verdicts in seen.values()) < 100


def test_sessions_that_pass_the_rate_by_themselves_are_given_up():
    """One machine's token must not send without bound."""
    plans = planner("rate: 10, percent_by: session")
    shed = [shot.shed for n in range(2000) for shot in plans.plan(one_at(n * 1_000)).shots]
    first = shed.index("rule rate")
    assert 29 <= first <= 31
    assert set(shed[first:]) == {"rule rate"}


@pytest.mark.parametrize(
    ("speed", "started_us", "offset_us"),
    [
        pytest.param(1.0, START_US + 5, 1_000, id="at the recorded pace it stays"),
        pytest.param(2.0, START_US + 500, 1_000 - 250, id="faster: it shrinks"),
        pytest.param(0.5, START_US + 500, 1_000 + 500, id="slower: it grows"),
        pytest.param(math.inf, START_US + 300, 700, id="as fast as it goes: now"),
    ],
)
def test_by_how_much_times_are_shifted(speed, started_us, offset_us):
    """By as much as this request is sent later than it was captured."""
    offset = Offset(speed, lambda: START_US + 1_000)
    offset.of(START_US)
    assert offset.of(started_us) == offset_us
