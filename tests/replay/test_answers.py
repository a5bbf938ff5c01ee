"""What is kept of an answer, for those who look into it."""

from __future__ import annotations

from flights import SOURCE, Range, shot

from mirrorproxy.http1.client import Failure
from mirrorproxy.http1.heads import parse_response
from mirrorproxy.replay.answer import MAX_ANSWER_BYTES, Answer
from mirrorproxy.replay.flight import Flight
from mirrorproxy.shot import Shot

HEAD = parse_response(b'HTTP/1.1 201 Created\r\nETag: "v1"\r\nContent-Length: 9\r\n\r\n')
assert HEAD is not None


class _Landing:
    def __init__(self) -> None:
        self.ends: list[Failure | None] = []

    def landed(self, flight: Flight, failure: Failure | None) -> None:
        self.ends.append(failure)


def _flight(answer: Answer | None) -> Flight:
    flight = Flight(shot(), SOURCE, _Landing())
    flight.answer = answer
    return flight


def test_an_answer_in_one_piece_is_kept_with_its_head() -> None:
    answer = Answer()
    _flight(answer).on_whole(HEAD, b'{"id":77}')
    assert (answer.head, answer.body, answer.is_cut) == (HEAD, b'{"id":77}', False)


def test_pieces_are_joined() -> None:
    answer = Answer()
    flight = _flight(answer)
    flight.on_head(HEAD)
    flight.on_data(b'{"id"')
    flight.on_data(b":77}")
    flight.on_complete(b"")
    assert (answer.head, answer.body) == (HEAD, b'{"id":77}')


def test_a_flight_that_nobody_asked_for_keeps_nothing() -> None:
    flight = _flight(None)
    flight.on_whole(HEAD, b'{"id":77}')
    assert flight.answer is None
    assert flight.status == 201


def test_of_a_body_that_is_too_long_nothing_is_kept() -> None:
    answer = Answer()
    answer.add(b"x" * MAX_ANSWER_BYTES)
    assert len(answer.body) == MAX_ANSWER_BYTES
    answer.add(b"x")
    answer.add(b"y")
    assert (answer.body, answer.is_cut) == (b"", True)


def test_a_head_can_be_kept_without_a_body() -> None:
    answer = Answer(keeps_body=False)
    _flight(answer).on_whole(HEAD, b"{}")
    assert (answer.head, answer.body, answer.is_cut) == (HEAD, b"", False)


def test_what_is_sent_once_more_starts_anew() -> None:
    answer = Answer()
    answer.head = HEAD
    answer.add(b"x" * (MAX_ANSWER_BYTES + 1))
    answer.clear()
    answer.add(b"new")
    assert (answer.head, answer.body, answer.is_cut) == (None, b"new", False)


class _Ear:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def wants(self, shot: Shot) -> Answer | None:
        return Answer() if shot.path == "/wanted" else None

    def answered(self, flight: Flight, latency_us: int) -> None:
        self.heard.append(f"{flight.shot.path} answered after {latency_us} us")

    def lost(self, flight: Flight) -> None:
        self.heard.append(f"{flight.shot.path} lost")


def test_a_listener_hears_of_every_flight() -> None:
    """Answered, failed or shed, before its outcome is told."""
    ear = _Ear()
    events = [
        shot(0.0, path="/wanted"),
        shot(0.1, path="/fails"),
        shot(0.2, path="/shed", shed="x"),
    ]
    range_ = Range(events, listener=ear)
    range_.pass_time(1)
    first, second = range_.sent
    assert first.answer is not None
    assert second.answer is None
    range_.now_s = first.sent_s + 0.5
    range_.answer(first)
    range_.fail(second)
    assert ear.heard == ["/shed lost", "/wanted answered after 500000 us", "/fails lost"]
