"""The comparer and its probes, between flights and the pure comparison."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest
from flights import SOURCE, T0, shot

from mirrorproxy.http1.client import Failure
from mirrorproxy.http1.heads import parse_response
from mirrorproxy.record import Response
from mirrorproxy.replay.comparer import MAX_ASTRAY, MAX_TOLD, Comparer
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.lane import Lane
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.probes import MAX_AT_ONCE, Prober
from mirrorproxy.report.compare import Leaves
from mirrorproxy.report.groups import Group, Groups

JSON = [("Content-Type", "application/json")]
GZIP = [*JSON, ("Content-Encoding", "gzip")]


class Landing:
    """Hears nothing."""

    def landed(self, flight: Flight, failure: Failure | None) -> None:
        """Take the end of a flight."""


def recorded(body: str | None = None, **fields: Any) -> Response:
    """Production's answer."""
    values = {"body": body, "body_encoding": None if body is None else "utf8", "headers": JSON}
    return Response(fields.pop("status", 200), **(values | fields))


def answered(
    comparer: Comparer, body: bytes, status: int = 200, headers: Any = JSON, **fields: Any
) -> Flight:
    """Let the target answer a shot; return its flight."""
    flight = Flight(shot(**fields), SOURCE, Landing())
    flight.answer = comparer.wants(flight.shot)
    if flight.answer is not None:
        raw = "".join(f"{name}: {value}\r\n" for name, value in headers)
        flight.answer.head = parse_response(f"HTTP/1.1 {status} X\r\n{raw}\r\n".encode())
        flight.answer.add(body)
    flight.status = status
    comparer.answered(flight, 1500)
    return flight


def comparer(leaves: Leaves | None = None, **options: Any) -> Comparer:
    """A comparer on its own."""
    by_rule = {} if leaves is None else {None: leaves}
    return Comparer(Groups(), Ledger(), by_rule, wall_s=lambda: T0 / 1e6, **options)


def only(comparer: Comparer) -> Group:
    """Return the one group that was seen."""
    ((_, group),) = comparer.groups.items()
    return group


def test_what_production_did_not_answer_is_unknown():
    """Nothing to compare with."""
    one = comparer()
    answered(one, b"", status=200, recorded=None)
    flight = Flight(shot(status=None), SOURCE, Landing())
    one.answered(flight, 1)
    assert one.groups.unknown == 1
    assert only(one).answers.total == 1


def test_nothing_is_kept_of_an_answer_that_nothing_is_recorded_of():
    """An access log knows a status, and no more."""
    one = comparer()
    assert one.wants(shot(recorded=None)) is None
    assert one.wants(shot(recorded=Response(200))) is None
    head_only = one.wants(shot(recorded=Response(200, JSON)))
    whole = one.wants(shot(recorded=Response(200, [], "a", "utf8")))
    empty = one.wants(shot(recorded=Response(200, JSON, body_bytes=0)))
    assert head_only is not None
    assert whole is not None
    assert empty is not None
    assert (head_only.keeps_body, whole.keeps_body, empty.keeps_body) == (False, True, True)


def test_only_answers_of_the_same_status_are_compared_further():
    """An error page is another page."""
    one = comparer()
    flight = answered(one, b'{"a":2}', status=500, recorded=recorded('{"a":1}'))
    assert flight.differs == ("status",)
    assert (only(one).alike.total, only(one).places) == (0, {})


@pytest.mark.parametrize(
    ("ours", "theirs", "headers"),
    [
        pytest.param(recorded('{"a":1}'), gzip.compress(b'{"a": 1}'), GZIP, id="the target's"),
        pytest.param(
            recorded(
                base64.b64encode(gzip.compress(b'{"a":1}')).decode(),
                body_encoding="base64", headers=GZIP,
            ),
            b'{"a": 1}', JSON, id="production's",
        ),
    ],
)  # fmt: skip
def test_a_content_coding_is_taken_off(ours, theirs, headers):
    """Who compresses is nobody's concern."""
    one = comparer()
    assert answered(one, theirs, headers=headers, recorded=ours).differs == ()
    assert only(one).bodies.total == 1


@pytest.mark.parametrize(
    ("ours", "theirs", "headers"),
    [
        pytest.param(recorded(None, body_bytes=9), b"{}", JSON, id="not recorded"),
        pytest.param(recorded(None, body_bytes=0, omitted="unsealable"), b"{}", JSON, id="omitted"),
        pytest.param(recorded('{"a":1}', truncated=True), b"{}", JSON, id="cut in production"),
        pytest.param(recorded("!", body_encoding="base64"), b"{}", JSON, id="damaged"),
        pytest.param(recorded('{"a":1}'), b"x" * 200_000, JSON, id="too long at the target"),
        pytest.param(recorded('{"a":1}'), b"no gzip", GZIP, id="no gzip at the target"),
        pytest.param(
            recorded('{"a":1}'), gzip.compress(b"x" * 5_000_000), GZIP, id="a bomb at the target"
        ),
    ],
)  # fmt: skip
def test_bodies_that_are_not_known_are_not_compared(ours, theirs, headers):
    """Heads are."""
    one = comparer()
    assert answered(one, theirs, headers=headers, recorded=ours).differs == ()
    assert (only(one).alike.total, only(one).bodies.total) == (1, 0)


def test_an_empty_body_is_known():
    """Where production gave none the target should not."""
    one = comparer()
    flight = answered(one, b'{"a":1}', recorded=recorded(None, body_bytes=0))
    assert flight.differs == ("body length changed",)


def test_after_another_status_a_session_has_lost_its_way():
    """From the next answer on, and no other session has."""
    one = comparer()
    ok = recorded("{}")
    answered(one, b"{}", session="ann", status=404, recorded=ok)
    answered(one, b"{}", session="ann", recorded=ok)
    answered(one, b"{}", session="ben", recorded=ok)
    group = only(one)
    assert (group.answers.clean, group.answers.astray) == (2, 1)
    assert (group.alike.clean, group.alike.astray) == (1, 1)


def test_a_shot_without_an_answer_leads_its_session_astray_too():
    """It failed, or was shed: what follows lacks it."""
    one = comparer()
    one.lost(Flight(shot(session="ann"), SOURCE, Landing()))
    answered(one, b"", session="ann")
    assert only(one).answers.astray == 1


def test_sessions_that_lost_their_way_are_bounded():
    """The oldest is forgotten."""
    one = comparer()
    for number in range(MAX_ASTRAY + 5):
        answered(one, b"", status=404, session=str(number))
    assert len(one._astray) == MAX_ASTRAY
    assert "4" not in one._astray


def test_an_outcome_names_a_few_places():
    """A line stays a line."""
    ours = "{" + ",".join(f'"k{chr(97 + n)}":1' for n in range(20)) + "}"
    flight = answered(comparer(), b"{}", recorded=recorded(ours))
    assert len(flight.differs) == MAX_TOLD
    assert flight.differs[0] == "$.ka missing"


def test_what_was_learned_is_asked_of_the_flight():
    """Its session knows what production's value became."""
    asked = []

    def same(flight: Flight, production: str, target: str) -> bool:
        asked.append((flight.shot.session, production, target))
        return True

    one = comparer(same=same)
    flight = answered(one, b'{"n":77}', session="ann", recorded=recorded('{"n":42}'))
    assert flight.differs == ()
    assert asked == [("ann", "42", "77")]
    assert only(one).noise == {"$.n": "learned"}


# -- probes ------------------------------------------------------------------------------


class Range:
    """A prober with one lane, and what it sent."""

    def __init__(self, most: int = 10, **limits: Any) -> None:
        self.sent: list[Flight] = []
        self.is_open = True
        self.ledger = Ledger()
        self.group = Group()
        self.lane = Lane(
            Limits(**limits), lambda *_: None, lambda *_: None, is_paced=True, now_s=0.0
        )
        self.prober = Prober(most, lambda *_: {"$.a": "changed"}, self.ledger, clock_s=lambda: 1.0)
        self.prober.attach(
            {"staging": self.lane},
            lambda flight, _timeout_s: self.sent.append(flight),
            lambda: None,
            lambda: self.is_open,
        )

    def offer(self) -> Flight:
        """Offer a flight that was answered with 200."""
        flight = Flight(shot(), SOURCE, Landing())
        flight.head = b"GET / HTTP/1.1\r\n\r\n"
        flight.status = 200
        self.prober.offer(flight, self.group)
        return flight

    def land(self, number: int, status: int = 200, failure: Failure | None = None) -> None:
        """Let a probe end."""
        self.sent[number].status = status
        self.prober.landed(self.sent[number], failure)


def test_a_probe_is_the_same_request():
    """Head and shot are those of the first, the answer is its own."""
    one = Range()
    first = one.offer()
    (probe,) = one.sent
    assert probe is not first
    assert (probe.head, probe.shot) == (first.head, first.shot)
    assert probe.answer is not None
    one.land(0)
    assert (one.group.probes, one.group.volatile) == (1, {"$.a": 1})
    assert (one.ledger.probes, one.lane.in_flight) == ({"answered": 1}, 0)


def test_probes_are_bounded():
    """So many of a group, so many at once."""
    one = Range(most=6)
    for _ in range(20):
        one.offer()
    assert len(one.sent) == MAX_AT_ONCE
    for number in range(MAX_AT_ONCE):
        one.land(number)
    for _ in range(20):
        one.offer()
    assert len(one.sent) == 6
    assert one.prober.in_flight == 2


def test_probes_keep_the_limits():
    """Concurrency, rate, and the budget of shots are the target's, whoever asks."""
    busy = Range(concurrency=2)
    for _ in range(5):
        busy.offer()
    assert len(busy.sent) == 2
    waited_for = Range()
    waited_for.lane.admit(Flight(shot(), SOURCE, Landing()))
    waited_for.offer()
    assert waited_for.sent == []
    spent = Range(max_shots=1)
    spent.offer()
    spent.offer()
    assert len(spent.sent) == 1
    throttled = Range()
    throttled.lane.throttle(0.5, 1.0)
    throttled.offer()
    assert throttled.sent == []


def test_nothing_is_probed_while_paused_or_closed():
    """Neither before the end nor after it."""
    one = Range()
    one.is_open = False
    one.offer()
    assert one.sent == []
    one.is_open = True
    one.offer()
    one.prober.close()
    assert one.prober.in_flight == 0
    one.offer()
    one.land(0)
    assert (len(one.sent), one.group.probes) == (1, 0)


def test_a_probe_that_fails_or_is_refused_says_nothing():
    """It is counted, and its room is given back."""
    one = Range()
    for _ in range(2):
        one.offer()
    one.land(0, failure=Failure("reset", "..."))
    one.land(1, status=503)
    assert one.ledger.probes == {"failed": 1, "answered": 1}
    assert (one.group.probes, one.lane.in_flight) == (0, 0)
