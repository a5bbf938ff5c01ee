"""The engine: one loop that plans ahead of need and sends what is due.

Owns the turn: send everything that is due, load bodies that soon will be, plan
ahead for at most half a millisecond, come back in a millisecond; and the end
of every flight. No task, future or timer per shot. Nothing here knows the
source, the rules or the network: it is given an intake and a function that
sends. `ahead` plans, `apart` waits for bodies, `departures` holds back and sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mirrorproxy.http1.client import Failure
from mirrorproxy.outcome import Outcome
from mirrorproxy.replay.ahead import Ahead
from mirrorproxy.replay.answer import Listener
from mirrorproxy.replay.apart import Apart
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.replay.departures import SESSION_BROKEN, Departures
from mirrorproxy.replay.flight import Flight, write_head
from mirrorproxy.replay.intake import IntakeLike
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.replay.outcomes import outcome_of
from mirrorproxy.replay.schedule import MAX_SPEED, Due, DueTimes
from mirrorproxy.replay.signs import ended_as, seconds_of
from mirrorproxy.replay.valve import BACKOFF, RAMP, RATE, Valve
from mirrorproxy.rules.rate import RULE_RATE
from mirrorproxy.shot import Shot

TICK_S = 0.001
"""uvloop keeps timers in milliseconds: shorter ones would spin a core."""

IDLE_S = 0.05
"""How long the engine rests at most when nothing is due."""

_FLIGHT_BYTES = 2048
"""What the objects of one flight take beside its head and body."""

UNSENDABLE = "unsendable"
NO_BODY = "body unreadable"
KEEPS_SESSION = frozenset((RATE, BACKOFF, RAMP, RULE_RATE, SESSION_BROKEN))
"""Reasons to shed that leave out sessions as a whole, so that none is broken by them."""

INTERRUPTED = Failure("interrupted", "the replay was stopped before the answer came")


class Engine:
    """Sends the shots of an intake when they are due; see the module.

    limits: by target. speed: a pace, or MAX_SPEED. order: of sessions, None to
    keep none. clock_s: monotonic. send: puts a flight on its way, with a
    time-out in seconds; the flight hears how it went. load: fetches the body of
    a flight and then calls `loaded` or `not_loaded`. report: takes every
    outcome, None if nobody wants them; wall_us: wall clock at clock_s 0. wake:
    asks for a turn soon, after answers made room. listener: hears answers, None if
    nobody looks into them. correlator: puts what answers gave into later shots. due: gives due
    times that are neither at a pace nor after a delay.
    """

    def __init__(
        self,
        intake: IntakeLike,
        limits: Mapping[str, Limits],
        ledger: Ledger,
        *,
        speed: float,
        order: Order | None = None,
        clock_s: Callable[[], float],
        wall_us: int,
        send: Callable[[Flight, float | None], None],
        load: Callable[[Flight], None],
        report: Callable[[Outcome], None] | None,
        wake: Callable[[], None],
        delay_s: float | None = None,
        due: Due | None = None,
        listener: Listener | None = None,
        correlator: Correlation | None = None,
    ) -> None:
        self._ledger = ledger
        self.is_paced = speed != MAX_SPEED
        self._clock_s = clock_s
        self._wall_us = wall_us
        self._report = report
        self._wake = wake
        self._listener = listener
        self._correlator = correlator
        due = due or DueTimes(speed, delay_s, clock_s, wall_us)
        self._ahead = Ahead(
            intake, due, speed=speed, clock_s=clock_s, landing=self, offer=self._planned
        )
        self._apart = Apart(load)
        self._departures = Departures(
            limits,
            self._ahead,
            ledger,
            is_paced=self.is_paced,
            order=order,
            correlator=correlator,
            clock_s=clock_s,
            send=send,
            shed=self._shed,
        )
        # What the knob sees and sets, see there.
        self.lanes = self._departures.lanes
        self.valve: Valve | None = None
        self.is_paused = False
        # What backs off by itself, see `governor`; None when nothing does.
        self.look: Callable[[float], None] | None = None
        self._stopping = False
        self._closed = False

    # -- the turn ---------------------------------------------------------------

    def turn(self) -> float:
        """Do what is to be done now; return in how many seconds to come back, 0 for at once.

        Raises what the intake raises; the engine is then to be stopped.
        """
        now_s = self._clock_s()
        if self.is_paused:
            return IDLE_S
        if self.look is not None:
            self.look(now_s)
        self._send_due(now_s)
        self._apart.load_soon(now_s)
        has_ended = self._ahead.has_ended
        has_more = self._ahead.plan(now_s)
        if has_more or (self._ahead.has_ended and not has_ended and self.is_over):
            return 0.0
        return self._until_needed(self._clock_s())

    @property
    def is_over(self) -> bool:
        """Whether every planned shot has its outcome and nothing more will be planned."""
        return (
            self._ahead.has_ended
            and not self._ahead.upcoming
            and not self._apart.unloaded
            and not self._departures.in_flight
            and not self._departures.has_waiting
            and not self._departures.has_held
        )

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more will be planned or sent."""
        return self._stopping

    @property
    def in_flight(self) -> int:
        """How many shots wait for their answer."""
        return len(self._departures.in_flight)

    def pump(self) -> None:
        """Send what waited for room. For the moment after answers came."""
        if not self.is_paused:
            self._departures.pump(self._clock_s())

    def stop(self) -> None:
        """Plan and send nothing more; what is in flight may still be answered."""
        if self._stopping:
            return
        self._stopping = True
        self._ahead.end()
        left = self._not_sent()
        self._departures.clear()
        self._ahead.upcoming.clear()
        self._apart.clear()
        for flight in left:
            self._ahead.count -= 1
            self._release(flight)
            self._ledger.unsent += 1
            if self._report is not None:
                self._report(outcome_of(flight, self._wall_us, is_unsent=True))

    def close(self) -> None:
        """Give up what is still in flight."""
        self.stop()
        self._closed = True
        for flight in tuple(self._departures.in_flight):
            self.landed(flight, INTERRUPTED)

    def _not_sent(self) -> dict[Flight, None]:
        # A flight that is due but not loaded yet stands in unloaded alone.
        return dict.fromkeys(
            (*self._ahead.upcoming, *self._apart.unloaded, *self._departures.waiting())
        )

    def shift(self, seconds: float) -> None:
        """Make all that is still to be sent, and planned, due so much later."""
        self._ahead.shift(seconds)
        for flight in self._not_sent():
            flight.due_s += seconds

    def leave_out(self, flight: Flight, reason: str) -> None:
        """Shed a flight whose turn has come, by the valve."""
        self._shed(flight, reason)

    def due_unloaded(self) -> list[Flight]:
        """Return the flights that are due, but whose body is still being read."""
        return self._apart.due()

    @property
    def held_count(self) -> int:
        """How many shots are due, but wait for others of their session."""
        return self._ahead.held

    def held(self) -> list[Flight]:
        """Return the flights that are due, but wait for others of their session."""
        return self._departures.held()

    # -- from planned to sent -------------------------------------------------------

    def _planned(self, flight: Flight) -> None:
        shot = flight.shot
        if shot.shed is not None or not write_head(flight):
            self._shed(flight, shot.shed or UNSENDABLE)
            return
        flight.size = size = (
            len(flight.head) + len(shot.body) + _recorded_bytes(shot) + _FLIGHT_BYTES
        )
        if self._correlator is not None:
            flight.size = size = size + self._correlator.planned(flight)
        self._ahead.held_bytes += size
        if self._listener is not None and flight.answer is None:
            flight.answer = self._listener.wants(shot)
        if not flight.is_loaded:
            self._apart.add(flight)
        if self.is_paced:
            self._ahead.upcoming.append(flight)
        else:
            self._departures.take(flight)

    def _send_due(self, now_s: float) -> None:
        upcoming, valve, departures = self._ahead.upcoming, self.valve, self._departures
        while upcoming and upcoming[0].due_s <= now_s:
            flight = upcoming.popleft()
            reason = None if valve is None else valve.refuses(flight.shot)
            if reason is None:
                departures.take(flight)
            else:
                self.leave_out(flight, reason)
        departures.pump(now_s)

    def _until_needed(self, now_s: float) -> float:
        departures, ahead = self._departures, self._ahead
        if departures.has_waiting or (departures.has_held and not ahead.has_ended):
            return TICK_S
        if not ahead.has_ended and ahead.has_room(now_s):
            return TICK_S
        if not ahead.upcoming:
            return IDLE_S
        return min(max(ahead.upcoming[0].due_s - now_s, TICK_S), IDLE_S)

    # -- bodies that lie apart ------------------------------------------------------

    def loaded(self, flight: Flight, shot: Shot) -> None:
        """Take a flight's shot with its body put in."""
        if flight not in self._apart.unloaded:
            return
        self._apart.unloaded.discard(flight)
        shot.due_s = flight.due_s
        is_same, flight.shot = shot is flight.shot, shot
        if not (is_same or write_head(flight)):
            self._drop(flight, UNSENDABLE)
            return
        flight.is_loaded = True
        # One whose turn has not come yet still stands in upcoming, even if it is due by now.
        if flight.is_overdue:
            self._departures.ready(flight)
            self._wake()

    def not_loaded(self, flight: Flight) -> None:
        """Take a flight whose body cannot be had: it is shed, and its input is lost."""
        if flight in self._apart.unloaded:
            self._ledger.unreadable += 1
            self.refused(flight, NO_BODY)

    def refused(self, flight: Flight, reason: str) -> None:
        """Take a flight that cannot be sent with the body that it turned out to have."""
        if flight in self._apart.unloaded:
            self._apart.unloaded.discard(flight)
            self._drop(flight, reason)

    def _drop(self, flight: Flight, reason: str) -> None:
        if flight in self._ahead.upcoming:
            self._ahead.upcoming.remove(flight)
        self._shed(flight, reason)
        self._wake()

    # -- the end of a flight ----------------------------------------------------------

    def landed(self, flight: Flight, failure: Failure | None) -> None:
        """Take the end of a flight; see `flight.Landing`."""
        lane = self._departures.landed(flight)
        if lane is None:
            return
        latency_us = int((self._clock_s() - flight.sent_s) * 1e6)
        self._release(flight)
        ledger = self._ledger
        if failure is None:
            status, recorded = flight.status, flight.shot.status
            ledger.answered += 1
            ledger.status[status] += 1
            if recorded != status and recorded is not None:
                ledger.differing += 1
            ledger.latency.add(latency_us)
            if self._correlator is not None:
                self._correlator.answered(flight)
            if self._listener is not None:
                self._listener.answered(flight, latency_us)
        else:
            ledger.failed[failure.kind] += 1
            if self._listener is not None:
                self._listener.lost(flight)
        if lane.backoff is not None:
            kind = None if failure is None else failure.kind
            end = ended_as(flight.status, kind, flight.shot.status)
            lane.backoff.landed(flight.sent_s, latency_us, end, seconds_of(flight.retry_after))
        if self._report is not None:
            self._report(outcome_of(flight, self._wall_us, latency_us=latency_us, failure=failure))
        # One that was given up before its answer came is to be sent again.
        if flight.source.account is not None and failure is not INTERRUPTED:
            flight.source.account.done()
        others_go_on = self._departures.gone(flight, breaks=failure is not None)
        if self._closed:
            return
        if others_go_on or lane.waiting or (self._ahead.has_ended and self.is_over):
            self._wake()

    def _shed(self, flight: Flight, reason: str) -> None:
        self._ahead.count -= 1
        if not flight.is_loaded:
            self._apart.forget(flight)
        self._release(flight)
        self._ledger.shed[reason] += 1
        if self._listener is not None:
            self._listener.lost(flight)
        if self._report is not None:
            self._report(outcome_of(flight, self._wall_us, shed=reason))
        if flight.source.account is not None:
            flight.source.account.done()
        self._departures.gone(flight, breaks=reason not in KEEPS_SESSION)

    def _release(self, flight: Flight) -> None:
        self._ahead.held_bytes -= flight.size
        self._apart.loaded_bytes -= flight.loaded_bytes


def _recorded_bytes(shot: Shot) -> int:
    recorded = shot.recorded
    return 0 if recorded is None or recorded.body is None else len(recorded.body)
