"""One shot on its way: from being planned to its outcome.

Owns the state of a single shot, and hears from the connection it goes out on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mirrorproxy.http1.client import Failure, Receiver
from mirrorproxy.http1.heads import ResponseHead
from mirrorproxy.http1.messages import serialize_request
from mirrorproxy.outcome import LagCause
from mirrorproxy.replay.answer import Answer
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import CaptureObject

if TYPE_CHECKING:
    from mirrorproxy.correlation.answered_body import Value
    from mirrorproxy.correlation.carried import Carried
    from mirrorproxy.replay.order import Stream

_BUSY = (429, 503)


class Landing(Protocol):
    """Hears when a flight has ended."""

    def landed(self, flight: Flight, failure: Failure | None) -> None:
        """Take the flight's end: an answer (failure is None) or a failure."""


class Flight(Receiver):
    """A planned shot.

    due_s, sent_s: on the replay's monotonic clock; sent_s is 0 before. head:
    the request's, as bytes. size: what it takes of memory, in bytes, about,
    without a body that lies apart; loaded_bytes: that body. lag_cause: why it
    will leave late, if it does; lag_us: how late it left. is_loaded: whether its body and
    credential are at hand; is_overdue: whether it was not when its turn came.
    status: of the answer's head, once it came. answer: what is kept of it; None keeps nothing,
    and is changed before sending only. differs: in what the answer differs from
    production's, where somebody compared them. retry_after: what a 429 or 503 says of when to
    come again, as received. Of its session, set by `order`:
    stream: its place is in; place: its number; began_us, ended_us: in
    production; is_held: whether it waits there; is_following: whether it waits for an answer
    that gives it a value; freed_s: when both were over, 0 if they never were. Of what it
    gives and gets, set by `correlate`: number: in the order of planning; gives: the values
    that production's answer gave; opened: what others may wait for; carried: what it
    may have from others, until it leaves.
    """

    __slots__ = (
        "answer",
        "began_us",
        "carried",
        "differs",
        "due_s",
        "ended_us",
        "freed_s",
        "gives",
        "head",
        "is_following",
        "is_held",
        "is_loaded",
        "is_overdue",
        "lag_cause",
        "lag_us",
        "landing",
        "loaded_bytes",
        "number",
        "opened",
        "place",
        "retry_after",
        "sent_s",
        "shot",
        "size",
        "source",
        "status",
        "stream",
    )

    def __init__(self, shot: Shot, source: CaptureObject, landing: Landing) -> None:
        self.shot = shot
        self.source = source
        self.landing = landing
        self.head = b""
        self.size = 0
        self.loaded_bytes = 0
        self.due_s = 0.0
        self.sent_s = 0.0
        self.lag_us = 0
        self.lag_cause: LagCause = "sender"
        self.is_loaded = shot.body_ref is None and not shot.wants
        self.is_overdue = False
        self.status = 0
        self.answer: Answer | None = None
        self.retry_after = b""
        self.differs: tuple[str, ...] = ()
        self.stream: Stream | None = None
        self.place = 0
        self.began_us = 0
        self.ended_us = 0
        self.is_held = False
        self.is_following = False
        self.freed_s = 0.0
        self.number = 0
        self.gives: list[Value] | None = None
        self.opened: list[str] | None = None
        self.carried: Carried | None = None

    def on_head(self, head: ResponseHead) -> None:
        """See `Receiver`."""
        self.status = status = head.status
        if self.answer is not None:
            self.answer.head = head
        if status in _BUSY:
            self.retry_after = _retry_after(head)

    def on_data(self, data: bytes) -> None:
        """See `Receiver`."""
        if self.answer is not None:
            self.answer.add(data)

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        """See `Receiver`."""
        self.status = status = head.status
        if self.answer is not None:
            self.answer.head = head
            self.answer.add(body)
        if status in _BUSY:
            self.retry_after = _retry_after(head)
        self.landing.landed(self, None)

    def on_complete(self, trailers: bytes) -> None:
        """See `Receiver`."""
        self.landing.landed(self, None)

    def on_failure(self, failure: Failure) -> None:
        """See `Receiver`."""
        self.landing.landed(self, failure)


def _retry_after(head: ResponseHead) -> bytes:
    values = head.values("retry-after")
    return values[0] if values else b""


def write_head(flight: Flight) -> bool:
    """Write the request's head as bytes; return whether that can be done."""
    shot = flight.shot
    try:
        flight.head = serialize_request(shot.method, shot.path, shot.headers, shot.body_length)
    except ValueError:
        return False
    return True
