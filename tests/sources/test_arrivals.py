"""Arrivals, and a merge whose next object is not known yet."""

from __future__ import annotations

import threading

import pytest
from test_merge import SECOND_US, ListFeed, batch, drain, line, numbers

from mirrorproxy.errors import SourceError
from mirrorproxy.sources.arrivals import MAX_KNOWN, Arrivals
from mirrorproxy.sources.events import Account, Captured, CaptureObject, Signal, Waiting
from mirrorproxy.sources.merge import Merge


def source(name: str, at_s: float, account: Account | None = None) -> CaptureObject:
    return CaptureObject(name, NotImplemented, int(at_s * SECOND_US), account=account)


class Clock:
    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def us(self) -> int:
        return int(self.now_s * SECOND_US)


def merged(arrivals: Arrivals, content: dict[str, list[bytes]]) -> Merge:
    return Merge(arrivals, lambda one: ListFeed([batch(*content[one.name])]))


def until_waiting(merge: Merge) -> list:
    events = []
    while (event := merge.take()) is not Signal.PENDING:
        if event is Signal.END:
            return [*events, event]
        if event is not Signal.READING:
            events.append(event)
    return events


def test_what_is_held_waits_for_what_may_still_come():
    """An exchange is given out when nothing earlier can be in an object that is not known yet."""
    clock = Clock(1020)
    arrivals = Arrivals(clock.us)
    merge = merged(arrivals, {"a": [line(2, 1001)], "b": [line(1, 1000)]})
    arrivals.add(source("a", 1001))
    assert until_waiting(merge) == []
    arrivals.add(source("b", 1000))
    assert until_waiting(merge) == []
    clock.now_s = 1030.5
    assert numbers(until_waiting(merge)) == [1]
    clock.now_s = 1031
    assert numbers(until_waiting(merge)) == [2]
    arrivals.end()
    assert until_waiting(merge) == [Signal.END]


def test_nothing_is_read_beyond_what_is_known_of_others():
    """With a delay, an object is read as its time comes, not when it is there."""
    clock = Clock(1002)
    arrivals = Arrivals(clock.us)
    merge = merged(arrivals, {"a": [line(n, 1000 + n) for n in range(100)]})
    arrivals.add(source("a", 1000))
    assert until_waiting(merge) == []
    clock.now_s = 1040
    given = numbers(until_waiting(merge))
    assert given == list(range(len(given)))
    assert 10 <= len(given) <= 12


def test_objects_come_in_the_order_of_their_times():
    """Not in that in which they were found."""
    arrivals = Arrivals(lambda: 0)
    for name, at_s in (("b", 2), ("a", 1), ("c", 3)):
        arrivals.add(source(name, at_s))
    assert [next(arrivals).name for _ in "abc"] == ["a", "b", "c"]
    assert next(arrivals) == Waiting(0)


def test_the_first_objects_are_fetched_ahead():
    """Those that will be opened soon, not all that are known."""
    arrivals = Arrivals(lambda: 0)
    begun: list[int] = []
    for number in range(20):
        arrivals.add(source("x", number), lambda number=number: begun.append(number))
    assert set(begun) == set(range(8))
    for _ in range(3):
        next(arrivals)
    assert set(begun) == set(range(11))


def test_the_finder_waits_while_too_many_are_known():
    """And goes on when it is closed."""
    arrivals = Arrivals(lambda: 0)
    for number in range(MAX_KNOWN):
        arrivals.add(source("x", number))
    added: list[bool] = []
    finder = threading.Thread(target=lambda: added.append(arrivals.add(source("y", 0))))
    finder.start()
    assert not added
    arrivals.close()
    finder.join(30)
    assert added == [False]


def test_what_ends_the_finding_is_raised_after_what_was_found():
    """Nothing that was found is lost."""
    arrivals = Arrivals(lambda: 0)
    arrivals.add(source("a", 1))
    arrivals.fail(SourceError("gone"))
    assert next(arrivals).name == "a"
    with pytest.raises(SourceError, match="gone"):
        next(arrivals)


def test_an_object_is_settled_when_it_is_read_and_all_of_it_has_ended():
    """Each exchange that was given out counts until somebody says that it is done."""
    settled: list[str] = []
    account = Account(lambda: settled.append("a"))
    merge = Merge(
        iter([source("a", 1000, account)]),
        lambda _one: ListFeed([batch(line(1, 1000), line(1, 1000), line(2, 1001))]),
    )
    given = [event for event in drain(merge) if isinstance(event, Captured)]
    assert len(given) == 2
    account.done()
    assert settled == []
    account.done()
    assert settled == ["a"]
