"""What got slower than the rest of the run did, on targets that are slow in their own way."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from mirrorproxy.report.groups import Groups
from mirrorproxy.report.slowness import slow_groups

# Milliseconds in production, by group: many that are fast, few that are not.
PRODUCTION = {"a": 2.0, "b": 2.0, "c": 3.0, "d": 2.5, "e": 4.0, "f": 20.0, "report": 30.0}
Target = Callable[[float, random.Random], float]


def names(target: Target, slower: dict[str, float], count: int = 200) -> list[str]:
    """Return the groups that stand out at a target. slower: group -> by which factor it is."""
    groups = Groups()
    chance = random.Random(7)
    for name, ms in PRODUCTION.items():
        group = groups.group("t", None, "GET", f"/{name}")
        for _ in range(count):
            group.production.add(int(ms * chance.uniform(0.9, 1.3) * 1000))
            own = ms * slower.get(name, 1.0) * chance.uniform(0.9, 1.3)
            group.target.add(int(target(own, chance) * 1000))
    return [slow.key.shape[1:] for slow in slow_groups(groups.items())]


TARGETS = [
    pytest.param(lambda ms, _chance: ms, id="as fast as production"),
    pytest.param(lambda ms, _chance: ms * 0.4, id="faster"),
    pytest.param(lambda ms, _chance: ms * 3, id="slower in proportion"),
    pytest.param(lambda ms, chance: ms + chance.expovariate(1 / 30), id="busy: most wait"),
    pytest.param(lambda ms, chance: ms + 8 + chance.expovariate(1 / 30), id="busy: all wait"),
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_is_slow_as_a_whole_is_no_finding(target):
    """However slow it is."""
    assert names(target, {}) == []


@pytest.mark.parametrize("target", [TARGETS[0], *TARGETS[3:]])
def test_an_endpoint_that_is_three_times_slower_stands_out(target):
    """Also where everything waits so long that its own ratio is the smallest of all."""
    assert names(target, {"report": 3.0}) == ["report"]


@pytest.mark.parametrize("target", TARGETS[:3])
def test_so_does_a_fast_one(target):
    """It is measured by those that took as long in production."""
    assert names(target, {"c": 3.0}) == ["c"]


def test_a_little_slower_is_not_slow():
    """However sure that is."""
    assert names(lambda ms, _chance: ms, {"report": 1.3, "c": 1.3}, count=2000) == []


def test_a_few_answers_say_nothing():
    """Below twenty."""
    assert names(lambda ms, _chance: ms, {"report": 3.0}, count=19) == []


def test_what_cannot_be_measured_is_not_slow():
    """Three times nothing is nothing."""
    assert names(lambda ms, _chance: ms / 20, {"a": 3.0}) == []


def test_one_group_alone_has_nothing_to_be_compared_with():
    """Whether the target is slow or the endpoint cannot be told."""
    groups = Groups()
    group = groups.group("t", None, "GET", "/a")
    for _ in range(100):
        group.production.add(1000)
        group.target.add(90_000)
    assert slow_groups(groups.items()) == []
