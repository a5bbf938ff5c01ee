"""Merging: order, duplicates, lateness and bounds, over feeds made of lists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.codec import encode_line
from mirrorproxy.errors import SourceError
from mirrorproxy.record import Exchange, Request
from mirrorproxy.sources import merge as merging
from mirrorproxy.sources.events import Captured, CaptureObject, Duplicate, Signal, Unreadable
from mirrorproxy.sources.merge import Merge

SECOND_US = 1_000_000


def exchange(number: int, started_us: int, body: str | None = None) -> Exchange:
    return Exchange(
        v=1, id=f"{number:032x}", service="orders", via="inline", node="mirror-1/0",
        started_us=started_us, duration_us=10, client="203.0.113.7", scheme="http",
        upstream="http://10.0.3.7:8080",
        request=Request(
            "POST", "/orders", "1.1", [], body, "utf8" if body is not None else None
        ),
    )  # fmt: skip


def line(number: int, started_s: float, body: str | None = None) -> bytes:
    return encode_line(exchange(number, int(started_s * SECOND_US), body)).rstrip(b"\n")


class ListFeed:
    """Gives out what it was made of."""

    def __init__(self, parts: list) -> None:
        self._parts = iter(parts)
        self.is_closed = False

    def poll(self):
        return next(self._parts, Signal.END)

    def close(self) -> None:
        self.is_closed = True


class Shelf:
    """Objects with their parts, and a note of which were opened when."""

    def __init__(self, objects: dict[str, tuple[float | None, list]]) -> None:
        self._objects = objects
        self.opened: list[str] = []
        self.feeds: list[ListFeed] = []

    def objects(self) -> Iterator[CaptureObject]:
        for name, (time_s, _) in self._objects.items():
            time_us = None if time_s is None else int(time_s * SECOND_US)
            yield CaptureObject(name=name, open=NotImplemented, time_us=time_us)

    def open(self, source: CaptureObject) -> ListFeed:
        self.opened.append(source.name)
        feed = ListFeed(self._objects[source.name][1])
        self.feeds.append(feed)
        return feed


def batch(*lines: bytes) -> list[tuple[int, bytes]]:
    return [(index * 100, one) for index, one in enumerate(lines)]


def drain(merge: Merge, limit: int = 100_000) -> list:
    events = []
    for _ in range(limit):
        event = merge.take()
        if event is Signal.END:
            return events
        if not isinstance(event, Signal):
            events.append(event)
    raise AssertionError("the merge does not end")


def numbers(events: list) -> list[int]:
    return [int(event.exchange.id, 16) for event in events if isinstance(event, Captured)]


def test_two_workers_come_out_in_the_order_of_capture():
    """Objects that overlap are merged by the time of each exchange."""
    shelf = Shelf(
        {
            "a": (1000, [batch(line(1, 1000), line(3, 1002), line(5, 1004))]),
            "b": (1000, [batch(line(2, 1001), line(4, 1003))]),
        }
    )
    assert numbers(drain(Merge(shelf.objects(), shelf.open))) == [1, 2, 3, 4, 5]


def test_records_within_an_object_are_sorted_within_the_window():
    """An object holds records as they ended; they come out as they began."""
    shelf = Shelf({"a": (1000, [batch(line(2, 1001), line(1, 1000.5), line(0, 980))])})
    events = drain(Merge(shelf.objects(), shelf.open))
    assert numbers(events) == [0, 1, 2]
    assert not any(event.is_late for event in events)


def test_what_comes_behind_the_window_is_late():
    """A record more than 30 s behind is given out at once, and said to be late."""
    shelf = Shelf({"a": (1000, [batch(line(1, 1000), line(2, 1031), line(3, 999), line(4, 1032))])})
    events = drain(Merge(shelf.objects(), shelf.open))
    assert [(int(event.exchange.id, 16), event.is_late) for event in events] == [
        (1, False), (3, True), (2, False), (4, False),
    ]  # fmt: skip


def test_the_window_is_bounded_in_bytes():
    """When more than the window's bytes are held, the oldest goes out early."""
    big = "x" * 1000
    shelf = Shelf({"a": (1000, [batch(*(line(n, 1000 + n / 100, big) for n in range(10)))])})
    merge = Merge(shelf.objects(), shelf.open, window_bytes=6000)
    reads_before_first = 0
    while not isinstance(merge.take(), Captured):
        reads_before_first += 1
    assert reads_before_first == 3  # the batch, and two lines of 2 x 1.3 kB: the third is too much


def test_a_record_is_given_out_once():
    """The same id in two objects is a duplicate the second time."""
    shelf = Shelf({"a": (1000, [batch(line(1, 1000))]), "b": (1001, [batch(line(1, 1000))])})
    events = drain(Merge(shelf.objects(), shelf.open))
    assert numbers(events) == [1]
    assert [event.record_id for event in events if isinstance(event, Duplicate)] == [f"{1:032x}"]


def test_objects_are_opened_when_their_time_comes():
    """An object of an hour later is not opened while the first is being read."""
    shelf = Shelf(
        {
            "a": (1000, [batch(line(1, 1000), line(2, 1031))]),
            "b": (1031, [batch(line(3, 1032))]),
            "c": (4600, [batch(line(4, 4600))]),
        }
    )
    merge = Merge(shelf.objects(), shelf.open)
    while not isinstance(merge.take(), Captured):
        pass
    assert shelf.opened == ["a", "b"]
    assert numbers(drain(merge)) == [2, 3, 4]
    assert shelf.opened == ["a", "b", "c"]


def test_objects_without_a_time_are_opened_at_once():
    """Nothing is known of them, so they could hold the oldest record."""
    shelf = Shelf({"x": (None, [batch(line(2, 2000))]), "y": (None, [batch(line(1, 1000))])})
    assert numbers(drain(Merge(shelf.objects(), shelf.open))) == [1, 2]


def test_many_overlapping_objects_do_not_exhaust_the_open_files(monkeypatch):
    """Past MAX_OPEN, objects wait until another is finished; everything is still read."""
    monkeypatch.setattr(merging, "MAX_OPEN", 3)
    shelf = Shelf({f"o{n}": (1000, [batch(line(n, 1000 + n))]) for n in range(10)})
    merge = Merge(shelf.objects(), shelf.open)
    merge.take()
    assert len(shelf.opened) == 3
    assert sorted(numbers(drain(merge))) == list(range(10))


def test_a_line_that_is_no_record_is_reported_and_the_rest_is_read():
    """It is named by object and offset, with nothing of its content."""
    shelf = Shelf({"a": (1000, [batch(line(1, 1000), b'{"secret":', line(2, 1001))])})
    events = drain(Merge(shelf.objects(), shelf.open))
    assert numbers(events) == [1, 2]
    (bad,) = [event for event in events if isinstance(event, Unreadable)]
    assert (bad.name, bad.offset, bad.lines) == ("a", 100, 1)
    assert "secret" not in str(bad)


def test_damage_is_handed_on():
    """What a feed could not read comes out as it is."""
    damage = Unreadable("a", 17, "a damaged member", 100)
    shelf = Shelf({"a": (1000, [batch(line(1, 1000)), damage, batch(line(2, 1001))])})
    events = drain(Merge(shelf.objects(), shelf.open))
    assert damage in events
    assert numbers(events) == [1, 2]


def test_a_newer_version_is_refused_with_the_object_named():
    """A reader that does not know a version must not guess."""
    newer = line(1, 1000).replace(b'"v":1', b'"v":2')
    shelf = Shelf({"a": (1000, [batch(newer)])})
    with pytest.raises(SourceError, match=r"^a: .*version 2"):
        drain(Merge(shelf.objects(), shelf.open))


def test_waiting_for_bytes_is_said():
    """PENDING comes through, and reading goes on after it."""
    shelf = Shelf({"a": (1000, [Signal.PENDING, batch(line(1, 1000))])})
    merge = Merge(shelf.objects(), shelf.open)
    assert merge.take() is Signal.PENDING
    assert numbers(drain(merge)) == [1]


def test_each_exchange_is_looked_at_before_any_is_given_out():
    """Whoever guards the replay sees the whole window first."""
    seen: list[str] = []
    shelf = Shelf({"a": (1000, [batch(line(1, 1000), line(2, 1001))])})
    merge = Merge(shelf.objects(), shelf.open, look_ahead=lambda one: seen.append(one.id))
    while not isinstance(merge.take(), Captured):
        pass
    assert seen == [f"{1:032x}", f"{2:032x}"]


def test_close_closes_every_feed():
    """Files do not stay open when a replay is stopped."""
    shelf = Shelf({name: (1000, [batch(line(1, 1000))]) for name in "abc"})
    merge = Merge(shelf.objects(), shelf.open)
    merge.take()
    merge.close()
    assert [feed.is_closed for feed in shelf.feeds] == [True, True, True]
    assert merge.take() is Signal.END


@given(
    starts=st.lists(
        st.lists(st.floats(0, 200, allow_nan=False), min_size=1, max_size=12),
        min_size=1,
        max_size=6,
    ),
    delays=st.lists(st.floats(0, 25), min_size=1, max_size=7),
)
def test_everything_comes_out_once_and_in_order(starts, delays):
    """Whatever the objects and however long exchanges took, within the window nothing is late."""
    objects: dict[str, tuple[float | None, list]] = {}
    number = 0
    for index, begun in enumerate(starts):
        ended = []
        for position, start in enumerate(begun):
            ended.append((start + delays[position % len(delays)], start, number))
            number += 1
        ended.sort()
        parts = [batch(line(n, 1000 + start)) for _, start, n in ended]
        objects[f"o{index}"] = (1000 + ended[0][0], parts)
    shelf = Shelf(dict(sorted(objects.items(), key=lambda item: item[1][0])))
    events = drain(Merge(shelf.objects(), shelf.open))
    times = [event.exchange.started_us for event in events]
    assert sorted(numbers(events)) == list(range(number))
    assert times == sorted(times)
    assert not any(event.is_late for event in events)
