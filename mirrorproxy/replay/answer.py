"""The target's answer to one shot, kept for those who look into it.

Owns what is kept while it comes: the head, and a body up to a bound. Most
shots keep none: somebody has to ask for it before the shot is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mirrorproxy.http1.heads import ResponseHead
from mirrorproxy.shot import Shot

if TYPE_CHECKING:
    from mirrorproxy.replay.flight import Flight

MAX_ANSWER_BYTES = 128 * 1024
"""Twice what capture records of production's: what is longer is not the same answer anyway."""


class Answer:
    """What came of an answer. body: whole when it is complete; b"" if it is_cut, being too long.

    keeps_body: whether any of it is kept; b"" otherwise.
    """

    __slots__ = ("body", "head", "is_cut", "keeps_body")

    def __init__(self, *, keeps_body: bool = True) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.is_cut = False
        self.keeps_body = keeps_body

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self.is_cut or not self.keeps_body:
            return
        if len(self.body) + len(data) > MAX_ANSWER_BYTES:
            self.is_cut = True
            self.body = b""
        else:
            self.body = self.body + data if self.body else bytes(data)

    def clear(self) -> None:
        """Forget what came: the shot is sent once more."""
        self.head = None
        self.body = b""
        self.is_cut = False


class Listener(Protocol):
    """Hears the answers: what compares them. What learns from them is the engine's correlator."""

    def wants(self, shot: Shot) -> Answer | None:
        """Return what keeps the answer to a shot until `answered` was told of it, None for none."""

    def answered(self, flight: Flight, latency_us: int) -> None:
        """Take a flight that was answered, before any other of its session is let go."""

    def lost(self, flight: Flight) -> None:
        """Take a flight that got no answer: it failed, or was not sent after all."""
