"""A stream's queue: what goes into a batch, what is sent again, and when."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mirrorproxy.errors import SinkRejected, SinkUnavailable
from mirrorproxy.retry import RetrySchedule
from mirrorproxy.sinks.stream import Ended, Packed, StreamQueue


class Stream:
    """Takes batches as it is told, and a clock that moves when told."""

    def __init__(self) -> None:
        self.s = 0.0
        self.batches: list[list[bytes]] = []
        self.answers: list[object] = []
        self.poison: bytes | None = None
        self.queue = StreamQueue(self.put, RetrySchedule(lambda: 1.0), lambda: self.s)

    def put(self, records: Sequence[bytes]) -> list[str | None]:
        self.batches.append(list(records))
        if self.poison in records:
            raise SinkRejected("never")
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        rejected: set[bytes] = answer if isinstance(answer, set) else set()
        return ["Throttled" if record in rejected else None for record in records]

    def add(self, *records: bytes) -> None:
        for record in records:
            self.queue.add(Packed(int(record), record))

    def step_at(self, s: float, *, hurry: bool = False) -> None:
        self.s = s
        self.queue.step(hurry=hurry)


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_a_batch_waits_for_company(stream):
    """Half a second from its first record."""
    stream.add(b"1")
    stream.step_at(0.49)
    stream.add(b"2")
    assert stream.batches == []
    stream.step_at(0.5)
    assert stream.batches == [[b"1", b"2"]]
    assert stream.queue.ended() == [Ended(1), Ended(2)]


def test_a_full_batch_goes_at_once(stream):
    """100 records; the rest is another batch."""
    stream.add(*(b"%d" % number for number in range(130)))
    stream.step_at(0.0)
    assert [len(batch) for batch in stream.batches] == [100]
    stream.step_at(0.5)
    assert [len(batch) for batch in stream.batches] == [100, 30]


def test_a_batch_holds_3_mib(stream):
    """And what would pass that waits for the next."""
    for number in range(4):
        stream.queue.add(Packed(number, bytes(1 << 20)))
    stream.step_at(0.0)
    assert [len(batch) for batch in stream.batches] == [3]


def test_only_rejected_records_are_resent(stream):
    """Before those that came later, in their order."""
    stream.add(b"1", b"2", b"3")
    stream.answers = [{b"1", b"3"}]
    stream.step_at(1.0)
    assert stream.queue.ended() == [Ended(2)]
    assert stream.queue.state().error == "2 of 3 records were rejected: Throttled"
    assert stream.queue.state().rejected == 2
    stream.add(b"4")
    stream.step_at(1.49)
    stream.step_at(1.5)
    assert stream.batches == [[b"1", b"2", b"3"], [b"1", b"3", b"4"]]
    assert stream.queue.ended() == [Ended(1), Ended(3), Ended(4)]
    assert stream.queue.state().error is None


def test_a_batch_without_an_answer_is_resent_whole(stream):
    """Waiting longer each time, and saying why."""
    stream.answers = [SinkUnavailable("no answer"), SinkUnavailable("no answer")]
    stream.add(b"1", b"2")
    stream.step_at(1.0)
    assert stream.queue.state().error == "no answer"
    assert stream.queue.state().retrying_in_s == 0.5
    stream.step_at(1.5)
    assert stream.queue.state().retrying_in_s == 1.0
    stream.step_at(2.5)
    assert stream.batches == [[b"1", b"2"]] * 3
    assert stream.queue.state().retries == 2


def test_what_is_refused_for_good_is_found_and_alone(stream):
    """The others of its batch are taken one by one."""
    stream.poison = b"2"
    stream.add(b"1", b"2", b"3")
    for _ in range(4):
        stream.step_at(1.0)
    stream.add(b"4", b"5")
    stream.step_at(2.0)
    assert stream.batches == [[b"1", b"2", b"3"], [b"1"], [b"2"], [b"3"], [b"4", b"5"]]
    assert stream.queue.ended() == [Ended(1), Ended(2, "never"), Ended(3), Ended(4), Ended(5)]


def test_two_batches_are_held_at_most(stream):
    """The spool holds the rest."""
    stream.answers = [SinkUnavailable("down")]
    stream.add(*(b"%d" % number for number in range(199)))
    stream.step_at(0.0)
    assert stream.queue.has_room()
    stream.add(b"199")
    assert not stream.queue.has_room()


def test_a_hurry_waits_a_second_at_most(stream):
    """The end of a capture does not stand still for half a minute."""
    stream.answers = [SinkUnavailable("down")] * 9
    stream.add(b"1")
    for _ in range(9):
        stream.step_at(stream.s + 30)
    stream.step_at(stream.s, hurry=True)
    assert len(stream.batches) == 9
    stream.step_at(stream.s + 1, hurry=True)
    assert len(stream.batches) == 10
