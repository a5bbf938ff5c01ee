"""What the tests of the spool share: a clock that is told, a sink that remembers."""

from __future__ import annotations

from pathlib import Path

from mirrorproxy.clock import new_id
from mirrorproxy.codec import encode_line
from mirrorproxy.errors import SinkRejected, SinkUnavailable
from mirrorproxy.keys import body_ref
from mirrorproxy.packs import Pack, Receipt, Shape, SinkState
from mirrorproxy.record import Exchange, Request
from mirrorproxy.spool.segment import SegmentWriter
from mirrorproxy.spool.shipper import Shipper

AT_US = 1_700_000_000_000_000


class Clock:
    """Both clocks; they move only when told."""

    def __init__(self) -> None:
        self.s = 0.0
        self.skew_us = 0

    def monotonic(self) -> float:
        return self.s

    def now_us(self) -> int:
        return AT_US + self.skew_us + round(self.s * 1e6)

    def sleep(self, seconds: float) -> None:
        self.s += seconds


class ListSink:
    """Keeps what it takes. hold: packs stay unsettled until flush; down: why it takes nothing."""

    def __init__(self, *, hold: bool = False) -> None:
        self.packs: list[Pack] = []
        self.bodies: dict[str, bytes] = {}
        self.order: list[str] = []
        self.hold = hold
        self.down: str | None = None
        self.reject_lines: set[bytes] = set()
        self.reject_bodies = False
        self.reject_later: str | None = None
        self.closed = False
        self.shape = Shape()
        self.room = True
        self.bodies_down: str | None = None
        self.now = SinkState()
        self._held: list[Pack] = []
        self._settled: list[Receipt] = []

    @property
    def lines(self) -> list[bytes]:
        return [line for pack in self.packs for line in pack.lines.splitlines()]

    def put_body(self, ref: str, path: Path) -> None:
        self._check()
        if self.bodies_down:
            raise SinkUnavailable(self.bodies_down)
        if self.reject_bodies:
            raise SinkRejected("a body too large")
        self.bodies[ref] = path.read_bytes()
        self.order.append(ref)

    def put(self, pack: Pack) -> None:
        self._check()
        assert pack.lines.count(b"\n") == pack.count
        if self.reject_lines & set(pack.lines.splitlines()):
            raise SinkRejected("a line it does not like")
        self._held.append(pack)
        self.order.append(f"pack {pack.number}")
        if not self.hold:
            self.flush()

    def poll(self) -> None:
        self._check()

    def flush(self) -> None:
        self._check()
        for pack in self._held:
            if self.reject_later is None:
                self.packs.append(pack)
            self._settled.append(Receipt(pack.number, self.reject_later))
        self._held.clear()

    def has_room(self) -> bool:
        return self.room

    def held(self) -> list[int]:
        return [pack.number for pack in self._held]

    def state(self) -> SinkState:
        return self.now

    def settled(self) -> list[Receipt]:
        settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.down:
            self._held.clear()
            raise SinkUnavailable(self.down)


def writer(spool: Path, clock: Clock, slot: int = 0, **options: float) -> SegmentWriter:
    return SegmentWriter(
        spool,
        slot,
        now_us=clock.now_us,
        monotonic=clock.monotonic,
        **options,  # type: ignore[arg-type]
    )


def shipper(spool: Path, sink: ListSink, clock: Clock, **options: int) -> Shipper:
    return Shipper(
        spool,
        sink,
        monotonic=clock.monotonic,
        now_us=clock.now_us,
        jitter=lambda: 1.0,
        **options,
    )


def settle(shipping: Shipper, steps: int = 50) -> None:
    """Step until there is nothing to do; a shipper that never rests fails the test."""
    for _ in range(steps):
        if not shipping.step():
            return
    raise AssertionError("the shipper never comes to rest")


def record_with_body(
    spool_writer: SegmentWriter, body: bytes, number: int = 0
) -> tuple[str, bytes]:
    """Write a body object; return its reference and the line that names it."""
    record_id = new_id(AT_US + number)
    ref = body_ref(AT_US, record_id)
    file = spool_writer.open_body(ref)
    file.write(body)
    file.commit()
    request = Request("POST", "/", "1.1", [], body_bytes=len(body), body_ref=ref)
    exchange = Exchange(1, record_id, "s", "inline", "n/0", AT_US, 7, "c", "http", "u", request)
    return ref, encode_line(exchange)
