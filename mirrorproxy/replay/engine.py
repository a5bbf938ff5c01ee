"""The engine: one loop that plans ahead of need and sends what is due.

Owns the turn: send everything that is due, load bodies that soon will be, plan
ahead for at most half a millisecond, come back in a millisecond. No task,
future or timer per shot. Nothing here knows the source, the rules or the
network: it is given an intake and a function that sends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from mirrorproxy.http1.client import Failure
from mirrorproxy.outcome import Outcome
from mirrorproxy.replay.flight import Flight, write_head
from mirrorproxy.replay.intake import IntakeLike, Planned
from mirrorproxy.replay.lane import Lane
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.outcomes import outcome_of
from mirrorproxy.replay.schedule import MAX_SPEED, Schedule
from mirrorproxy.replay.valve import RATE, Valve
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import CaptureObject, Signal

PLAN_SLICE_S = 0.0005
UNPACED_SLICE_S = 0.002
"""How long planning may keep the loop from what is due meanwhile, or from answers alone."""

AHEAD_S = 2.0
AHEAD_BYTES = 32 * 1024 * 1024
AHEAD_SHOTS = 20_000
AHEAD_UNPACED = 2_000
"""How far planning runs ahead: of due times, in memory, and in number."""

LOAD_AHEAD_S = 1.0
LOADED_BYTES = 128 * 1024 * 1024
"""When body objects are read before they are due, and how many bytes of them are held."""

START_DELAY_S = 0.05
"""Time to plan the first shots before the first is due."""

TICK_S = 0.001
"""uvloop keeps timers in milliseconds: shorter ones would spin a core."""

IDLE_S = 0.05
"""How long the engine rests at most when nothing is due."""

_FLIGHT_BYTES = 2048
"""What the objects of one flight take beside its head and body."""

UNSENDABLE = "unsendable"
NO_BODY = "body unreadable"
INTERRUPTED = Failure("interrupted", "the replay was stopped before the answer came")


class Engine:
    """Sends the shots of an intake when they are due; see the module.

    limits: by target. speed: a pace, or MAX_SPEED. clock_s: monotonic. send:
    puts a flight on its way, with a time-out in seconds; the flight hears how it
    went. load: fetches the body of a flight and then calls `loaded` or
    `not_loaded`. report: takes every outcome, None if nobody wants them; wall_us: wall
    clock at clock_s 0. wake: asks for a turn soon, after answers made room.
    """

    def __init__(
        self,
        intake: IntakeLike,
        limits: Mapping[str, Limits],
        ledger: Ledger,
        *,
        speed: float,
        clock_s: Callable[[], float],
        wall_us: int,
        send: Callable[[Flight, float | None], None],
        load: Callable[[Flight], None],
        report: Callable[[Outcome], None] | None,
        wake: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._ledger = ledger
        self._speed = speed
        self._is_paced = speed != MAX_SPEED
        self._slice_s = PLAN_SLICE_S if self._is_paced else UNPACED_SLICE_S
        self._max_ahead = AHEAD_SHOTS if self._is_paced else AHEAD_UNPACED
        self._clock_s = clock_s
        self._wall_us = wall_us
        self._send_now = send
        self._load = load
        self._report = report
        self._wake = wake
        self._lanes = {
            name: Lane(limit, self._send, self._shed, is_paced=self._is_paced, now_s=clock_s())
            for name, limit in limits.items()
        }
        # What the knob sees and sets, see there.
        self.lanes, self.is_paced = self._lanes, self._is_paced
        self.valve: Valve | None = None
        self.is_paused = False
        self._schedule: Schedule | None = None
        self._upcoming: deque[Flight] = deque()
        self._to_load: deque[Flight] = deque()
        self._unloaded: set[Flight] = set()
        self._in_flight: set[Flight] = set()
        self._last_due_s = 0.0
        self._ahead = 0
        self._held_bytes = 0
        self._loaded_bytes = 0
        self._ended = False
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
        self._send_due(now_s)
        self._load_soon(now_s)
        has_more = self._plan(now_s)
        if has_more:
            return 0.0
        return self._until_needed(self._clock_s())

    @property
    def is_over(self) -> bool:
        """Whether every planned shot has its outcome and nothing more will be planned."""
        return (
            self._ended
            and not self._upcoming
            and not self._unloaded
            and not self._in_flight
            and not any(lane.waiting for lane in self._lanes.values())
        )

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more will be planned or sent."""
        return self._stopping

    @property
    def in_flight(self) -> int:
        """How many shots wait for their answer."""
        return len(self._in_flight)

    def pump(self) -> None:
        """Send what waited for room. For the moment after answers came."""
        if self.is_paused:
            return
        now_s = self._clock_s()
        for lane in self._lanes.values():
            if lane.waiting:
                lane.pump(now_s)

    def stop(self) -> None:
        """Plan and send nothing more; what is in flight may still be answered."""
        if self._stopping:
            return
        self._stopping = self._ended = True
        self._intake.close()
        left = self._not_sent()
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._upcoming.clear()
        self._to_load.clear()
        self._unloaded.clear()
        for flight in left:
            self._ahead -= 1
            self._release(flight)
            self._ledger.unsent += 1
            if self._report is not None:
                self._report(outcome_of(flight, self._wall_us, is_unsent=True))

    def close(self) -> None:
        """Give up what is still in flight."""
        self.stop()
        self._closed = True
        for flight in tuple(self._in_flight):
            self.landed(flight, INTERRUPTED)

    def _not_sent(self) -> dict[Flight, None]:
        waiting = (flight for lane in self._lanes.values() for flight in lane.waiting)
        # A flight that is due but not loaded yet stands in _unloaded alone.
        return dict.fromkeys((*self._upcoming, *self._unloaded, *waiting))

    def shift(self, seconds: float) -> None:
        """Make all that is still to be sent, and planned, due so much later."""
        self._last_due_s += seconds
        if self._schedule is not None:
            self._schedule = self._schedule.later(seconds)
        for flight in self._not_sent():
            flight.due_s += seconds

    def leave_out(self, flight: Flight) -> None:
        """Shed a flight whose turn has come, by the knob."""
        if not flight.is_loaded:
            self._unloaded.discard(flight)
            if flight in self._to_load:
                self._to_load.remove(flight)
        self._shed(flight, RATE)

    def due_unloaded(self) -> list[Flight]:
        """Return the flights that are due, but whose body is still being read."""
        return [flight for flight in self._unloaded if flight.is_overdue]

    # -- sending ------------------------------------------------------------------

    def _send_due(self, now_s: float) -> None:
        upcoming, valve = self._upcoming, self.valve
        while upcoming and upcoming[0].due_s <= now_s:
            flight = upcoming.popleft()
            if valve is not None and not valve.admits(flight.shot):
                self.leave_out(flight)
            elif flight.is_loaded:
                self._lanes[flight.shot.target].admit(flight)
            else:
                flight.is_overdue = True
        for lane in self._lanes.values():
            if lane.waiting:
                lane.pump(now_s)

    def _send(self, lane: Lane, flight: Flight) -> None:
        self._in_flight.add(flight)
        self._ahead -= 1
        # A burst takes time: each shot's own moment counts, not that of the turn.
        flight.sent_s = sent_s = self._clock_s()
        if self._is_paced:
            flight.lag_us = max(int((sent_s - flight.due_s) * 1e6), 0)
        else:
            flight.due_s = sent_s
        self._ledger.lag_by_cause[flight.lag_cause].add(flight.lag_us)
        self._send_now(flight, lane.timeout_s)

    def landed(self, flight: Flight, failure: Failure | None) -> None:
        """Take the end of a flight; see `flight.Landing`."""
        try:
            self._in_flight.remove(flight)
        except KeyError:
            return
        latency_us = int((self._clock_s() - flight.sent_s) * 1e6)
        shot = flight.shot
        lane = self._lanes[shot.target]
        lane.in_flight -= 1
        self._held_bytes -= flight.size
        self._loaded_bytes -= flight.loaded_bytes
        ledger = self._ledger
        if failure is None:
            status = flight.status
            ledger.answered += 1
            ledger.status[status] += 1
            if shot.status != status and shot.status is not None:
                ledger.differing += 1
            ledger.latency.add(latency_us)
        else:
            ledger.failed[failure.kind] += 1
        if self._report is not None:
            self._report(outcome_of(flight, self._wall_us, latency_us=latency_us, failure=failure))
        if (lane.waiting or (self._ended and self.is_over)) and not self._closed:
            self._wake()

    def _shed(self, flight: Flight, reason: str) -> None:
        self._ahead -= 1
        self._release(flight)
        self._ledger.shed[reason] += 1
        if self._report is not None:
            self._report(outcome_of(flight, self._wall_us, shed=reason))

    def _release(self, flight: Flight) -> None:
        self._held_bytes -= flight.size
        self._loaded_bytes -= flight.loaded_bytes

    # -- bodies that lie apart ------------------------------------------------------

    def _load_soon(self, now_s: float) -> None:
        to_load = self._to_load
        while to_load and to_load[0].due_s <= now_s + LOAD_AHEAD_S:
            size = to_load[0].shot.body_bytes
            # One alone may pass the bound: it could never be loaded otherwise.
            if self._loaded_bytes and self._loaded_bytes + size > LOADED_BYTES:
                return
            flight = to_load.popleft()
            flight.loaded_bytes = size
            self._loaded_bytes += size
            self._load(flight)

    def loaded(self, flight: Flight, shot: Shot) -> None:
        """Take a flight's shot with its body put in."""
        if flight not in self._unloaded:
            return
        self._unloaded.discard(flight)
        shot.due_s = flight.due_s
        flight.shot = shot
        if not write_head(flight):
            self._drop(flight, UNSENDABLE)
            return
        flight.is_loaded = True
        # One whose turn has not come yet still stands in _upcoming, even if it is due by now.
        if flight.is_overdue:
            self._lanes[shot.target].admit(flight)
            self._wake()

    def not_loaded(self, flight: Flight) -> None:
        """Take a flight whose body cannot be had: it is shed, and its input is lost."""
        if flight in self._unloaded:
            self._ledger.unreadable += 1
            self.refused(flight, NO_BODY)

    def refused(self, flight: Flight, reason: str) -> None:
        """Take a flight that cannot be sent with the body that it turned out to have."""
        if flight in self._unloaded:
            self._unloaded.discard(flight)
            self._drop(flight, reason)

    def _drop(self, flight: Flight, reason: str) -> None:
        if flight in self._upcoming:
            self._upcoming.remove(flight)
        self._shed(flight, reason)
        self._wake()

    # -- planning ------------------------------------------------------------------

    def _plan(self, now_s: float) -> bool:
        """Plan ahead until the slice is over; return whether there is more to do at once."""
        if self._ended:
            return False
        clock_s = self._clock_s
        until_s = clock_s() + self._slice_s
        take = self._intake.take
        # READING may come many times in a row while the window fills: room stays as it is then.
        has_room = self._has_room(now_s)
        while has_room:
            planned = take()
            if isinstance(planned, Planned):
                shots, source = planned
                for shot in shots:
                    self._offer(shot, source)
                has_room = self._has_room(now_s)
            elif planned is Signal.PENDING:
                return False
            elif planned is Signal.END:
                self._ended = True
                return self.is_over
            if clock_s() >= until_s:
                return True
        return False

    def _has_room(self, now_s: float) -> bool:
        if self._held_bytes > AHEAD_BYTES or self._ahead >= self._max_ahead:
            return False
        upcoming = self._upcoming
        return not upcoming or upcoming[-1].due_s <= now_s + AHEAD_S

    def _offer(self, shot: Shot, source: CaptureObject) -> None:
        self._ahead += 1
        flight = Flight(shot, source, self)
        flight.due_s = shot.due_s = self._due_s(shot.started_us)
        if shot.shed is not None or not write_head(flight):
            self._shed(flight, shot.shed or UNSENDABLE)
            return
        flight.size = size = len(flight.head) + len(shot.body) + _FLIGHT_BYTES
        self._held_bytes += size
        if not flight.is_loaded:
            flight.is_overdue = not self._is_paced
            self._to_load.append(flight)
            self._unloaded.add(flight)
        if self._is_paced:
            self._upcoming.append(flight)
        elif flight.is_loaded:
            self._lanes[shot.target].admit(flight)

    def _due_s(self, started_us: int) -> float:
        if not self._is_paced:
            return self._clock_s()
        if self._schedule is None:
            self._schedule = Schedule(self._clock_s() + START_DELAY_S, started_us, self._speed)
            self._last_due_s = self._schedule.origin_s
        # What came behind its turn is due when its turn was noticed, not in the past.
        due_s = self._schedule.due_s(started_us)
        if due_s < self._last_due_s:
            return self._last_due_s
        self._last_due_s = due_s
        return due_s

    def _until_needed(self, now_s: float) -> float:
        if any(lane.waiting for lane in self._lanes.values()):
            return TICK_S
        if not self._ended and self._has_room(now_s):
            return TICK_S
        if not self._upcoming:
            return IDLE_S
        return min(max(self._upcoming[0].due_s - now_s, TICK_S), IDLE_S)
