"""The runner: an engine in an event loop, with real connections and real files.

Owns the loop's side of a replay: when the next turn comes, the connection
pool, the threads that read body objects, and how a replay is stopped. Decides
nothing about shots.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from mirrorproxy.clock import wall_us
from mirrorproxy.http1.limits import ClientLimits
from mirrorproxy.http1.origin import Origin
from mirrorproxy.http1.pool import Pool
from mirrorproxy.outcome import Outcome
from mirrorproxy.remembered import Remembered
from mirrorproxy.replay.answer import Listener
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.replay.credentials import Credentials
from mirrorproxy.replay.engine import Engine
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.governor import Governor
from mirrorproxy.replay.intake import IntakeLike
from mirrorproxy.replay.knob import Knob
from mirrorproxy.replay.late_send import LateSender
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.replay.probes import Prober
from mirrorproxy.replay.schedule import Due
from mirrorproxy.replay.tokens import NO_TOKEN
from mirrorproxy.shot import Shot
from mirrorproxy.sources.bodies import BodyError, read_body
from mirrorproxy.sources.events import Unreadable

_BODY_READERS = 8
"""Threads, made when they are needed: a bucket answers each in tens of milliseconds."""


def _say_nothing(_line: str) -> None:
    """Take a line for nobody."""


class Runner:
    """One replay; `run` it once, inside an event loop.

    limits: by target. order: of sessions, None to keep none. with_body: puts a
    body that lies apart into its shot, or says why the shot cannot be sent.
    on_unreadable: hears of body objects that cannot be read. drain_s: how long
    answers are waited for after `stop`. credentials: fetches what shots want
    that is only known when they are sent. say: takes a line about each change
    that back-off makes. listener, correlator, due: see `Engine`. prober: asks for some again.
    """

    def __init__(
        self,
        intake: IntakeLike,
        limits: Mapping[str, Limits],
        ledger: Ledger,
        *,
        speed: float,
        order: Order | None = None,
        with_body: Callable[[Shot, bytes], Shot | str],
        report: Callable[[Outcome], None] | None,
        on_unreadable: Callable[[Unreadable], None],
        drain_s: float,
        tls: ssl.SSLContext | None = None,
        delay_s: float | None = None,
        credentials: Credentials | None = None,
        say: Callable[[str], None] = _say_nothing,
        due: Due | None = None,
        listener: Listener | None = None,
        prober: Prober | None = None,
        correlator: Correlation | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._with_body = with_body
        self._on_unreadable = on_unreadable
        self._drain_s = drain_s
        self._origins: dict[tuple[str, str, int], Origin] = {}
        self._methods = Remembered[str, bytes](lambda method: method.encode("latin-1"))
        # Every connection that the limits allow is worth keeping.
        most = max((limit.concurrency for limit in limits.values()), default=1)
        self._pool = Pool(ClientLimits(max_idle=most), tls)
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._next_turn: asyncio.Handle | None = None
        self._woken = False
        self._stops = 0
        self._error: Exception | None = None
        self._readers = ThreadPoolExecutor(_BODY_READERS, thread_name_prefix="bodies")
        now_us = wall_us() - time.monotonic_ns() // 1000
        self.engine = Engine(
            intake,
            limits,
            ledger,
            speed=speed,
            order=order,
            clock_s=time.monotonic,
            wall_us=now_us,
            send=self._send,
            load=self._load,
            report=report,
            wake=self._wake,
            delay_s=delay_s,
            due=due,
            listener=listener,
            correlator=correlator,
        )
        self._late = LateSender(
            credentials, self.engine, ledger, self._request, clock_s=time.monotonic
        )
        self._prober = prober
        if prober is not None:
            prober.attach(self.engine.lanes, self._send, self._wake, self._may_probe)
        self.knob = Knob(self.engine, time.monotonic, self._turn_soon, self.stop)
        self.governor: Governor | None = None
        if Governor.is_needed(limits):
            self.governor = Governor(
                limits, self.engine.lanes, self.knob, ledger, wall_us=now_us, say=say
            )
            self.engine.look = self.governor.look

    async def run(self) -> None:
        """Replay until everything has its outcome.

        Raises ConfigError or SourceError if the replay had to end before;
        what was in flight has its outcome then, too.
        """
        self._next_turn = self._loop.call_soon(self._turn)
        try:
            await self._over
        finally:
            self.engine.close()
            self._late.close()
            if self._next_turn is not None:
                self._next_turn.cancel()
            await self._pool.close()
            self._readers.shutdown(wait=False, cancel_futures=True)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Plan and send nothing more, and wait a while for answers; again: do not wait."""
        self._stops += 1
        if self._stops > 1:
            self.engine.close()
            if self._prober is not None:
                self._prober.close()
        else:
            self.engine.stop()
            self._loop.call_later(self._drain_s, self.stop)
        self._check()

    def _may_probe(self) -> bool:
        return not (self.engine.is_paused or self.engine.is_stopping)

    def _turn_soon(self) -> None:
        """Turn the engine now, not when it would have been: something has changed."""
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._next_turn = None
        try:
            delay_s = self.engine.turn()
        except Exception as error:  # noqa: BLE001 - raised again when all is in order
            self._error = error
            self.stop()
            return
        if not self._check():
            self._next_turn = (
                self._loop.call_later(delay_s, self._turn)
                if delay_s
                else self._loop.call_soon(self._turn)
            )

    def _wake(self) -> None:
        if not self._woken:
            # Not at once: the connection that brought the answer is free only after it.
            self._woken = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._woken = False
        self.engine.pump()
        self._check()

    def _check(self) -> bool:
        if self.engine.is_over and not self._over.done():
            if self._prober is not None and self._prober.in_flight:
                return False
            self._over.set_result(None)
        return self._over.done()

    def _send(self, flight: Flight, timeout_s: float | None) -> None:
        shot = flight.shot
        if shot.wants:
            self._late.send(flight, timeout_s)
        else:
            self._request(flight, flight.head, shot.body, timeout_s)

    def _request(self, flight: Flight, head: bytes, body: bytes, timeout_s: float | None) -> None:
        shot = flight.shot
        origin = self._origins.get(shot.origin)
        if origin is None:
            origin = self._origins[shot.origin] = Origin(*shot.origin)
        self._pool.request(
            origin, self._methods[shot.method], head, body, flight, timeout_s=timeout_s
        )

    def _load(self, flight: Flight) -> None:
        if flight.shot.wants:
            self._late.prepare(flight, self._prepared)
        else:
            self._load_body(flight)

    def _prepared(self, flight: Flight, is_had: bool) -> None:
        if not is_had:
            self.engine.refused(flight, NO_TOKEN)
        elif flight.shot.body_ref is not None:
            self._load_body(flight)
            return
        else:
            self.engine.loaded(flight, flight.shot)
        self._check()

    def _load_body(self, flight: Flight) -> None:
        shot = flight.shot
        reading = self._readers.submit(read_body, flight.source, shot.body_ref or "")

        def in_thread(done: Future[bytes]) -> None:
            # The loop is closed when a replay ended while its disk hung.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._read, flight, done)

        reading.add_done_callback(in_thread)

    def _read(self, flight: Flight, done: Future[bytes]) -> None:
        if done.cancelled():
            return
        try:
            body = done.result()
        except BodyError as error:
            self._on_unreadable(Unreadable(flight.source.name, None, str(error), None))
            self.engine.not_loaded(flight)
        else:
            shot = self._with_body(flight.shot, body)
            if isinstance(shot, str):
                self.engine.refused(flight, shot)
            else:
                self.engine.loaded(flight, shot)
        self._check()
