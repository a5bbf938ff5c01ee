"""A transport that keeps what is written, a clock that is told, and handlers that take notes."""

from __future__ import annotations

import asyncio
from typing import Any

from mirrorproxy.http1.client import Failure, Receiver
from mirrorproxy.http1.handler import Handler
from mirrorproxy.http1.heads import RequestHead, ResponseHead
from mirrorproxy.http1.limits import ServerLimits
from mirrorproxy.http1.server import ServerConnection
from mirrorproxy.http1.service import Service


class FakeTransport(asyncio.Transport):
    """Keeps what is written. ended: None, "closed" or "aborted"."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended: str | None = None
        self.eof = False
        self.reading = True

    def write(self, data: bytes) -> None:  # type: ignore[override]
        assert self.ended is None, "written after the end"
        self.written += data

    def is_closing(self) -> bool:
        return self.ended is not None

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("203.0.113.7", 4711) if name == "peername" else default

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        written, self.written = self.written, b""
        return written


class FakeLoop:
    """Only a clock; timers are kept, never run."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Any, *args: Any) -> Any:
        return None


class Notes(Handler):
    """Takes notes of one request; answers when told to."""

    def __init__(self, connection: ServerConnection, head: RequestHead) -> None:
        self.connection = connection
        self.head = head
        self.body = b""
        self.ended = False
        self.trailers = b""
        self.events: list[str] = []

    def start(self, body: bytes | None) -> None:
        if body is not None:
            self.body = body
            self.ended = True

    def request_data(self, data: bytes) -> None:
        self.body += data

    def request_end(self, trailers: bytes) -> None:
        assert not self.ended
        self.ended = True
        self.trailers = trailers

    def client_half_closed(self) -> None:
        self.events.append("half closed")

    def client_gone(self, reason: str) -> None:
        self.events.append(reason)

    def client_blocked(self) -> None:
        self.events.append("blocked")

    def client_unblocked(self) -> None:
        self.events.append("unblocked")

    def answer(self, *, keep: bool = True) -> None:
        self.connection.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.connection.finish(keep=keep)


class Server:
    """One server connection on a fake transport, and what its handlers noted."""

    def __init__(self, limits: ServerLimits | None = None, *, strict: bool = False) -> None:
        self.loop = FakeLoop()
        self.requests: list[Notes] = []
        self.refused: list[int] = []
        self.service = Service(
            self.loop,  # type: ignore[arg-type]
            limits or ServerLimits(),
            self._handler,
            self.refused.append,
            strict=strict,
        )
        self.connection = self.service.connect()
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)

    def _handler(self, connection: ServerConnection, head: RequestHead, started_us: int) -> Notes:
        notes = Notes(connection, head)
        self.requests.append(notes)
        return notes

    def receive(self, data: bytes, size: int | None = None) -> None:
        """Hand bytes over as the loop would, in pieces of a size."""
        size = size or len(data) or 1
        for start in range(0, len(data), size):
            if self.transport.ended is None:
                self.connection.data_received(data[start : start + size])

    def wait(self, seconds: float) -> None:
        """Let time pass; look at the deadline as the tick would."""
        self.loop.now += seconds
        if self.connection.deadline <= self.loop.now:
            self.connection.on_deadline(self.loop.now)


class Answers(Receiver):
    """Takes notes of one answer."""

    def __init__(self) -> None:
        self.heads: list[ResponseHead] = []
        self.body = b""
        self.trailers: bytes | None = None
        self.failure: Failure | None = None
        self.complete = False
        self.informational: list[int] = []

    def on_informational(self, head: ResponseHead) -> None:
        self.informational.append(head.status)

    def on_head(self, head: ResponseHead) -> None:
        self.heads.append(head)

    def on_data(self, data: bytes) -> None:
        assert data
        self.body += data

    def on_complete(self, trailers: bytes) -> None:
        assert not self.complete
        assert self.failure is None
        self.complete = True
        self.trailers = trailers

    def on_failure(self, failure: Failure) -> None:
        assert not self.complete
        assert self.failure is None
        self.failure = failure
