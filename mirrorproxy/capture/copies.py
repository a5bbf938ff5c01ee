"""Copies: requests that somebody else answers, sent here to be recorded alone.

The tap's listener: reads each request to its end, records it as a request whose
answer nobody saw, and says 204. Owns that dialogue; how much of a body is kept
is the recorder's business. A copy is never refused because it cannot be recorded.
"""

from __future__ import annotations

import time
from typing import Protocol

from mirrorproxy.capture.tap import Tap
from mirrorproxy.http1.grammar import fields
from mirrorproxy.http1.handler import Handler
from mirrorproxy.http1.heads import RequestHead
from mirrorproxy.http1.server import ServerConnection
from mirrorproxy.metrics import INDEX, Slot

_COPIES = INDEX["copies"]
_REQUEST_BYTES = INDEX["request_bytes"]

_TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"
_TAKEN_LAST = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Plane(Protocol):
    """What copies share with everything else of a worker. active: how many are under way."""

    active: int
    slot: Slot


class Copy(Handler):
    """Takes one copy."""

    __slots__ = ("_client", "_head", "_plane", "_started_s", "_tap")

    def __init__(self, plane: Plane, client: ServerConnection, head: RequestHead, tap: Tap) -> None:
        self._plane = plane
        self._client = client
        self._head = head
        self._tap = tap
        self._started_s = client.started_s

    def start(self, body: bytes | None) -> None:
        """See `Handler`."""
        self._plane.active += 1
        self._plane.slot[_COPIES] += 1
        if body is None:
            if self._head.version == 1 and b"100-continue" in self._head.values("expect"):
                self._client.write(_CONTINUE)
            return
        if body:
            self.request_data(body)
        self.request_end(b"")

    def request_data(self, data: bytes) -> None:
        """See `Handler`."""
        self._tap.request_data(data)
        self._plane.slot[_REQUEST_BYTES] += len(data)

    def request_end(self, trailers: bytes) -> None:
        """See `Handler`."""
        self._plane.active -= 1
        self._tap.request_end(fields(trailers) if trailers else None)
        # Before the answer: whoever saw it finds the record, even if this process is killed now.
        self._tap.finish(round((time.monotonic() - self._started_s) * 1e6))
        client = self._client
        keep = client.may_keep and self._head.keep_alive and self._head.version == 1
        client.write(_TAKEN if keep else _TAKEN_LAST)
        client.finish(keep=keep)

    def client_gone(self, reason: str) -> None:
        """See `Handler`."""
        self._plane.active -= 1
        self._tap.abandon(reason)
