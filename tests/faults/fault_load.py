"""Production's side: clients with keep-alive connections, and the application behind the mirror.

Every request carries a marker that no other has, and a body that follows from
it; every answer repeats it. So it can be said of each request who saw it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

ANSWER_TIMEOUT_S = 30.0
MARKER = re.compile(rb"/m/([a-z0-9-]+)")
LARGE = "large"
"""In markers whose bodies are too large for a record: they get an object of their own."""

Writer = asyncio.StreamWriter
Ending = Callable[[bytes, asyncio.StreamReader, Writer], Awaitable[None]]
"""Ends an exchange in its own way: given the request's target and the connection."""


def body_of(marker: str) -> bytes:
    """Return the body that belongs to a marker: 60 bytes to 4 KiB of JSON, or 700 KB."""
    digest = hashlib.sha256(marker.encode()).hexdigest()
    times = 11_000 if LARGE in marker else 1 + int(digest[:2], 16) % 62
    return b'{"marker":"%b","text":"%b"}' % (marker.encode(), (digest * times).encode())


def request_for(marker: str, *, query: str = "", method: str = "POST") -> bytes:
    """Return a whole request with a marker."""
    body = body_of(marker)
    return (
        f"{method} /m/{marker}{query} HTTP/1.1\r\nHost: app.test\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def reset(writer: Writer) -> None:
    """Close a connection with a TCP reset."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class MarkedOrigin:
    """An application that answers each marker with itself.

    delay_s: how long an answer takes. served: how often each marker was acted
    on. foreign: requests whose body is not their marker's. ending: for requests
    with a query, how they end instead; those with ``?early`` before their body
    is read. reset_next: connections to reset as soon as they are accepted.
    """

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.served: Counter[str] = Counter()
        self.foreign: list[str] = []
        self.ending: Ending | None = None
        self.reset_next = 0
        self.url = ""
        self._writers: set[Writer] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        """Serve one connection."""
        if self.reset_next:
            self.reset_next -= 1
            reset(writer)
            return
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._exchange(reader, writer):
                continue
        self._writers.discard(writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: Writer) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split(b" ", 2)[1]
        if b"early=" in target and self.ending:
            await self.ending(target, reader, writer)
            return False
        body = await reader.readexactly(_length(head))
        found = MARKER.match(target)
        marker = found[1].decode() if found else ""
        self.served[marker] += 1
        if body != body_of(marker):
            self.foreign.append(marker)
        if b"?" in target and self.ending:
            await self.ending(target, reader, writer)
            return not writer.is_closing()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        writer.write(answer_for(marker))
        await writer.drain()
        return True

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in tuple(self._writers):
            writer.close()


def answer_for(marker: str) -> bytes:
    """Return the whole answer to a marker."""
    return b"HTTP/1.1 200 OK\r\nX-Marker: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        marker.encode(),
        len(marker),
        marker.encode(),
    )


@contextlib.asynccontextmanager
async def marked_origin(delay_s: float = 0.0) -> AsyncIterator[MarkedOrigin]:
    """Serve an application on a free port."""
    served = MarkedOrigin(delay_s)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, backlog=1024)
    served.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield served
    finally:
        server.close()
        served.hang_up()


@dataclass(frozen=True)
class Outcome:
    """What a client got. kind: answered, refused, cut, silent, wrong, or the status.

    opened_s, sent_s, ended_s: of its connection, the request and the end of the
    answer, by the monotonic clock.
    """

    marker: str
    kind: str
    opened_s: float
    sent_s: float
    ended_s: float

    @property
    def is_answered(self) -> bool:
        return self.kind == "answered"


@dataclass
class Load:
    """Clients that send one request after the other, and look at every answer.

    count: requests altogether. clients: connections at a time. pause_s: between
    an answer and the next request. large_every: one in so many has a body that
    gets an object of its own, 0 for none. stop: set to end sooner.
    """

    address: tuple[str, int]
    name: str
    count: int
    clients: int = 12
    pause_s: float = 0.01
    large_every: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Load:
        """Send everything; return itself."""
        self._left = iter(range(self.count))
        await asyncio.gather(*(self._client() for _ in range(self.clients)))
        return self

    async def _client(self) -> None:
        streams: tuple[asyncio.StreamReader, Writer] | None = None
        opened = 0.0
        for number in self._left:
            if self.stop.is_set():
                break
            is_large = self.large_every and number % self.large_every == 0
            marker = f"{self.name}-{LARGE if is_large else 'small'}-{number}"
            sent = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    if streams is None or streams[0].at_eof():
                        _close(streams)
                        streams, opened = await asyncio.open_connection(*self.address), sent
                    kind, keep = await exchange(*streams, marker)
            except ConnectionRefusedError:
                kind, keep = "refused", False
            except TimeoutError:
                kind, keep = "silent", False
            except (OSError, asyncio.IncompleteReadError):
                kind, keep = "cut", False
            self.outcomes.append(Outcome(marker, kind, opened, sent, time.monotonic()))
            if not keep:
                _close(streams)
                streams = None
            await asyncio.sleep(self.pause_s if kind != "refused" else 0.1)
        _close(streams)

    @property
    def answered(self) -> set[str]:
        """Return the markers that came back."""
        return {one.marker for one in self.outcomes if one.is_answered}

    @property
    def failures(self) -> list[Outcome]:
        """Return what was not answered."""
        return [one for one in self.outcomes if not one.is_answered]

    def in_flight_at(self, moments: Sequence[float]) -> list[Outcome]:
        """Return the failures of connections that were open at one of these moments."""
        return [
            one
            for one in self.failures
            if one.kind == "cut"
            and any(one.opened_s <= moment <= one.ended_s for moment in moments)
        ]

    async def reached(self, count: int) -> None:
        """Return when so many requests have ended."""
        async with asyncio.timeout(60):
            while len(self.outcomes) < count:
                await asyncio.sleep(0.01)


async def exchange(
    reader: asyncio.StreamReader, writer: Writer, marker: str, query: str = ""
) -> tuple[str, bool]:
    """Send a marker; return what came of it, and whether the connection may be used again."""
    writer.write(request_for(marker, query=query))
    head = await reader.readuntil(b"\r\n\r\n")
    body = await _body(reader, head)
    keep = b"\r\nconnection: close" not in head.lower()
    status = head.split(b" ", 2)[1].decode()
    if status != "200":
        return status, keep
    return ("answered" if body == marker.encode() else "wrong"), keep


async def one_request(address: tuple[str, int], marker: str) -> str:
    """Send one clean request on a connection of its own; return what came of it."""
    streams = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return (await exchange(*streams, marker))[0]
    finally:
        _close(streams)


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"\r\ntransfer-encoding: chunked" not in head.lower():
        return await reader.readexactly(_length(head))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
    return int(found[1]) if found else 0


def _close(streams: tuple[asyncio.StreamReader, Writer] | None) -> None:
    if streams is not None:
        streams[1].close()
