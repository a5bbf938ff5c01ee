"""The whole data plane between clients and upstreams that a test plays.

The real proxy, pool and connections, on a loop that turns when told. Every
check that holds at any time is made here: as a request is written, and as an
answer is read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any
from unittest import mock

from dialogue import IDEMPOTENT, Ask, Reading
from strict_reader import read_request
from wires import HIGH_BYTES, TurnLoop, Wire

from mirrorproxy.capture import flow
from mirrorproxy.capture.apps import Table, make_table
from mirrorproxy.capture.proxy import Proxy
from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.capture.tap import Tap
from mirrorproxy.http1.heads import RequestHead, ResponseHead
from mirrorproxy.http1.limits import ClientLimits, ServerLimits
from mirrorproxy.http1.origin import Origin
from mirrorproxy.http1.pool import Pool
from mirrorproxy.metrics import volatile_slot
from mirrorproxy.record import HeaderList
from mirrorproxy.topology import App, Instance

PIECE_BYTES = 4096
"""The most that one read of the loop brings."""

_PIPELINED_BYTES = 2048
_HELD_BYTES = 2048
MAX_WAITING_BYTES = HIGH_BYTES + _PIPELINED_BYTES + 2 * PIECE_BYTES
"""What may wait in one direction of a connection, whatever the size and number of bodies."""


class OrderedTap(Tap):
    """Demands that it is told what happens in order, and of one end."""

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.number = int(head.target[1:]) if head.target[1:].isdigit() else -1
        self.body = bytearray()
        self.is_complete = False
        self.response: ResponseHead | None = None
        self.response_body = bytearray()
        self.end: str | None = None

    def request_data(self, data: bytes) -> None:
        assert data
        assert not self.is_complete
        assert self.end is None
        self.body += data

    def request_end(self, trailers: HeaderList | None = None) -> None:
        assert not self.is_complete
        assert self.end is None
        self.is_complete = True

    def response_head(self, head: ResponseHead) -> None:
        assert self.response is None
        assert self.end is None
        assert head.status >= 200 or head.status == 101
        self.response = head

    def response_data(self, data: bytes) -> None:
        assert data
        assert self.response is not None
        assert self.end is None
        self.response_body += data

    def response_end(self, trailers: HeaderList) -> None:
        assert self.response is not None
        assert self.end is None

    def finish(self, duration_us: int) -> None:
        assert self.is_complete
        assert self.response is not None
        self._ended("finished")

    def fail(self, kind: str, duration_us: int) -> None:
        assert self.is_complete
        self._ended(f"failed: {kind}")

    def abandon(self, reason: str) -> None:
        self._ended(f"abandoned: {reason}")

    def _ended(self, how: str) -> None:
        assert self.end is None, "a second end"
        assert how
        self.end = how


class Client:
    """One client: sends what it asks, reads what comes."""

    def __init__(self, world: World, asks: list[Ask]) -> None:
        self.asks = asks
        self.connection = world.proxy.protocol_factory()
        self.wire = Wire(world.loop, self.connection)
        self.connection.connection_made(self.wire)
        self.reading = Reading(asks)
        self.outgoing = bytearray().join(ask.raw() for ask in asks)
        self.has_left = False

    def send(self, size: int) -> bool:
        """Let the proxy read so many bytes, if it would; return whether it did."""
        if not self.outgoing or not self.wire.is_readable:
            return False
        data = bytes(self.outgoing[:size])
        del self.outgoing[:size]
        self.wire.deliver(data)
        return True

    def read(self, size: int) -> bool:
        """Take so many bytes, and judge all that came; return whether there were any."""
        before = len(self.wire.arrived)
        self.wire.take(size)
        is_closed = self.wire.ended == "closed" and self.wire.shows_end
        self.reading.read(bytes(self.wire.arrived), is_closed=is_closed)
        return len(self.wire.arrived) > before


class Upstream:
    """One connection to the upstream: judges what is sent on it, and answers as planned."""

    def __init__(self, world: World, wire: Wire) -> None:
        self.wire = wire
        self.outgoing = bytearray()
        self._world = world
        self._asks: list[Ask] = []  # begun on this connection
        self._is_begun = False  # the request that stands at _written_at
        self._written_at = 0  # what was written is whole requests up to here
        self._read_at = 0  # likewise what has arrived
        self._answered = 0
        self._eof_due = False
        self._ends_with_answer = False
        self.is_dirty = False  # the proxy has been told that no other request may follow
        wire.on_write = self._written

    def _written(self) -> None:
        """Judge the proxy at the very moment that it writes."""
        data = bytes(self.wire.written)
        while self._written_at < len(data):
            if not self._is_begun:
                self._begin(data)
            seen = read_request(data, self._written_at)
            if seen is None:
                return
            self._written_at = seen.end
            self._is_begun = False

    def _begin(self, data: bytes) -> None:
        assert data.find(b"\r\n\r\n", self._written_at) >= 0, "half a head was sent"
        assert not self.is_dirty, "a connection in doubt was used again"
        assert self._answered == len(self._asks), "sent ahead of the answer before it"
        assert not self.outgoing, "sent before the answer before it was read"
        self._is_begun = True
        self._asks.append(self._ask_at(self._written_at, data))
        self._world.begins(self._asks[-1])

    def read(self, size: int) -> bool:
        """Take so many bytes; answer the requests that are there."""
        before = len(self.wire.arrived)
        self.wire.take(size)
        data = bytes(self.wire.arrived)
        while self._read_at < len(data):
            seen = read_request(data, self._read_at)
            if seen is None:
                head_end = data.find(b"\r\n\r\n", self._read_at)
                if head_end >= 0 and self._asks[-1].answer.is_early:
                    self._answer()
                break
            self._ask_at(self._read_at, data).check_forwarded(seen)
            self._answer()
            self._read_at = seen.end
        return len(data) > before

    def _ask_at(self, at: int, data: bytes) -> Ask:
        return self._world.asks[int(data[at:].split(b" ", 2)[1][1:])]

    def _answer(self) -> None:
        if self._answered == len(self._asks):
            return
        ask = self._asks[-1]
        self._answered += 1
        answer = ask.answer
        self.outgoing += answer.raw(ask.number, to_head=ask.to_head)
        is_bodiless = ask.to_head or answer.is_bodiless
        if answer.leaves == "junk":
            self.outgoing += b"junk"
        ends = answer.closes or (answer.framing == "close" and not is_bodiless)
        self._eof_due = self._eof_due or ends or answer.leaves == "eof"
        self._ends_with_answer = ends

    def send(self, size: int) -> bool:
        """Let the proxy read so many bytes, or the end; return whether it did."""
        if not self.wire.is_readable or not (self.outgoing or self._eof_due):
            return False
        data = bytes(self.outgoing[:size])
        del self.outgoing[:size]
        if data:
            self._world.told.add(self._asks[-1].number)
        if not self.outgoing and (self._ends_with_answer or b"junk" in data[-4:]):
            self.is_dirty = True
        if data:
            self.wire.deliver(data)
        else:
            self.is_dirty = True
            self.wire.deliver_eof()
        return True

    def end(self) -> None:
        """Say no more, whatever was asked."""
        self.outgoing.clear()
        self._eof_due = True


class World:
    """Clients, the proxy, and the upstream: one that is configured, or an app's instances.

    trouble: whether anything happened that lets the proxy answer for itself.
    """

    def __init__(self, plan: list[list[Ask]], instances: int = 0) -> None:
        self.loop = TurnLoop()
        self.asks = {ask.number: ask for asks in plan for ask in asks}
        self.taps: list[OrderedTap] = []
        self.upstreams: list[Upstream] = []
        self.sent: Counter[int] = Counter()
        self.order: list[int] = []
        self.told: set[int] = set()
        self.trouble = False
        self._patches = contextlib.ExitStack()
        self._patches.enter_context(mock.patch.object(asyncio, "timeout", _no_timeout))
        self._patches.enter_context(mock.patch.object(flow, "_MAX_HELD_BYTES", _HELD_BYTES))
        with mock.patch.object(asyncio, "get_running_loop", return_value=self.loop):
            self.pool = Pool(ClientLimits())
            static = [] if instances else [Route("s", Origin("http", "up", 80))]
            self.proxy = Proxy(
                Routes(static),
                self,
                lambda _: self.pool,
                ServerLimits(max_pipelined_bytes=_PIPELINED_BYTES),
                volatile_slot(),
            )
        app = App(
            name="s",
            paths=("/**",),
            instances=tuple(Instance("http", f"up-{n}", 80) for n in range(instances)),
        )
        self.table = make_table(static, [app] if instances else [], Table(Routes(static)))
        self.proxy.use(self.table)
        self.clients = [Client(self, asks) for asks in plan]

    def begin(self, head: RequestHead, **_: Any) -> OrderedTap:
        """See `capture.proxy.Recorder`."""
        self.taps.append(OrderedTap(head))
        return self.taps[-1]

    def begins(self, ask: Ask) -> None:
        """A request begins on a connection to the upstream."""
        self.sent[ask.number] += 1
        if self.sent[ask.number] > 1:
            assert ask.method in IDEMPOTENT, "sent twice, and must not be"
            assert self.sent[ask.number] == 2, "sent more than twice"
            assert ask.number not in self.told, "sent again although an answer had begun"
        for number in self.order:
            is_before = number // 100 == ask.number // 100 and number < ask.number
            assert not (is_before and self.asks[number].ends_connection), "sent behind the last"
        self.order.append(ask.number)
        of_client = [number for number in self.order if number // 100 == ask.number // 100]
        assert of_client == sorted(of_client), "out of order"

    def connect(self, index: int, *, succeeds: bool) -> bool:
        """Let one attempt to connect end; return whether there was one."""
        if not self.loop.attempts:
            return False
        attempt = self.loop.attempts[index % len(self.loop.attempts)]
        if succeeds:
            self.upstreams.append(Upstream(self, attempt.establish()))
        else:
            self.trouble = True
            attempt.refuse()
        return True

    def flow(self, size: int, without: str = "") -> bool:
        """Let all but one kind of event happen once, by so many bytes; return whether any did."""
        moved = self.loop.turn()
        while without != "connects" and self.loop.attempts:
            moved = self.connect(0, succeeds=True)
        steps = {
            "client sends": [client.send for client in self.clients],
            "upstream reads": [upstream.read for upstream in self.upstreams],
            "upstream sends": [upstream.send for upstream in self.upstreams],
            "client reads": [client.read for client in self.clients],
        }
        for name in [name for name in steps if name != without]:
            moved = sum(step(size) for step in steps[name]) > 0 or moved
        return moved

    def check_memory(self) -> None:
        """Demand that what waits in the proxy is bounded."""
        for wire in [one.wire for one in (*self.clients, *self.upstreams)]:
            if wire.ended != "aborted":
                assert wire.waiting <= MAX_WAITING_BYTES
        for client in self.clients:
            assert len(client.connection._buffer) <= _PIPELINED_BYTES + PIECE_BYTES

    def close(self) -> None:
        """Take back what was patched."""
        self._patches.close()


@contextlib.asynccontextmanager
async def _no_timeout(_: float) -> Any:
    yield
