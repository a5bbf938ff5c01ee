"""An engine with everything around it faked: its clock, its source, its network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mirrorproxy.http1.client import Failure
from mirrorproxy.outcome import Outcome
from mirrorproxy.replay.answer import Listener
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.replay.engine import Engine
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.intake import Planned
from mirrorproxy.replay.knob import Knob
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import CaptureObject, Signal

T0 = 1_700_000_000_000_000
Event = Shot | Signal | Planned | Exception
SOURCE = CaptureObject(name="object", open=NotImplemented, base=".")


def shot(at_s: float = 0.0, target: str = "staging", **fields: object) -> Shot:
    """A shot captured at_s seconds after T0."""
    values: dict[str, object] = {
        "exchange_id": f"{int(at_s * 1_000_000):032x}", "copy": 0, "target": target,
        "origin": ("http", "staging", 80), "method": "GET", "path": "/",
        "headers": [("Host", "staging")], "body": b"", "body_length": None, "body_ref": None,
        "body_bytes": 0, "rule": None, "session": "", "started_us": T0 + int(at_s * 1_000_000),
        "duration_us": 1000, "status": 200,
    }  # fmt: skip
    return Shot(**(values | fields))


class ListIntake:
    """Gives out shots and signals, and counts them as the real one does."""

    def __init__(self, events: Iterable[Event], ledger: Ledger) -> None:
        self._events = iter(events)
        self._ledger = ledger
        self.taken = 0
        self.is_closed = False

    def take(self) -> Planned | Signal:
        event = next(self._events, Signal.END)
        if isinstance(event, Exception):
            raise event
        if isinstance(event, (Signal, Planned)):
            return event
        self.taken += 1
        self._ledger.read += 1
        self._ledger.selected += 1
        self._ledger.planned += 1
        return Planned([event], SOURCE)

    def close(self) -> None:
        self.is_closed = True


class Range:
    """An engine on a clock that only moves when it is told to."""

    def __init__(
        self,
        events: Iterable[Event],
        limits: Mapping[str, Limits] | None = None,
        speed: float = 1.0,
        order: Order | None = None,
        listener: Listener | None = None,
        correlator: Correlation | None = None,
    ) -> None:
        self.now_s = 100.0
        self.ledger = Ledger()
        self.intake = ListIntake(events, self.ledger)
        self.sent: list[Flight] = []
        self.sent_at: list[float] = []
        self.loading: list[Flight] = []
        self.outcomes: list[Outcome] = []
        self.wakes = 0
        self.engine = Engine(
            self.intake,
            limits or {"staging": Limits()},
            self.ledger,
            speed=speed,
            order=order,
            correlator=correlator,
            clock_s=lambda: self.now_s,
            wall_us=T0,
            send=self._send,
            load=self.loading.append,
            report=self.outcomes.append,
            wake=self._wake,
            listener=listener,
        )
        self.knob = Knob(self.engine, lambda: self.now_s, self.engine.turn, stop=self.engine.stop)

    def _send(self, flight: Flight, timeout_s: float | None) -> None:
        self.sent.append(flight)
        self.sent_at.append(round(self.now_s - 100.05, 6))

    def _wake(self) -> None:
        self.wakes += 1

    @property
    def held(self) -> tuple[int, int, int]:
        """The shots that are planned ahead, and what is held of memory, in bytes."""
        ahead, apart = self.engine._ahead, self.engine._apart
        return ahead.count, ahead.held_bytes, apart.loaded_bytes

    def pass_time(self, seconds: float, step_s: float = 0.001) -> None:
        """Turn as often as the engine would be turned."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.engine.turn()
            self.now_s += step_s

    def answer(self, flight: Flight, status: int = 200) -> None:
        """Let the target answer."""
        flight.status = status
        flight.on_complete(b"")

    def fail(self, flight: Flight, kind: str = "reset") -> None:
        """Let the connection fail."""
        flight.on_failure(Failure(kind, "..."))

    def answer_all(self) -> None:
        """Let the target answer everything that it was sent."""
        for flight in self.sent:
            self.answer(flight)
