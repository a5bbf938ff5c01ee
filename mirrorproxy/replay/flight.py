"""One shot on its way: from being planned to its outcome.

Owns the state of a single shot, and hears from the connection it goes out on.
"""

from __future__ import annotations

from typing import Protocol

from mirrorproxy.http1.client import Failure, Receiver
from mirrorproxy.http1.heads import ResponseHead
from mirrorproxy.http1.messages import serialize_request
from mirrorproxy.outcome import LagCause
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import CaptureObject

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
    will leave late, if it does; lag_us: how late it left. is_loaded: whether its body is at hand;
    is_overdue: whether it was not when its turn came.
    status: of the answer's head, once it came. retry_after: what a 429 or 503 says of when to
    come again, as received.
    """

    __slots__ = (
        "due_s",
        "head",
        "is_loaded",
        "is_overdue",
        "lag_cause",
        "lag_us",
        "landing",
        "loaded_bytes",
        "retry_after",
        "sent_s",
        "shot",
        "size",
        "source",
        "status",
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
        self.is_loaded = shot.body_ref is None
        self.is_overdue = False
        self.status = 0
        self.retry_after = b""

    def on_head(self, head: ResponseHead) -> None:
        """See `Receiver`."""
        self.status = status = head.status
        if status in _BUSY:
            self.retry_after = _retry_after(head)

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        """See `Receiver`."""
        self.status = status = head.status
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
