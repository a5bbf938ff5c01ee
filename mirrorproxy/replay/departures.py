"""Departures: the way of a shot from its turn to the wire.

Owns the steps that may hold a shot back once its turn has come, in this order:
its session (`take`), the answers that give it its values (`follow`), its body and its
credential (`ready`), its target (`board`). What a step holds back goes on with the next
step when it is let go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mirrorproxy.replay.ahead import Ahead
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.held import Held
from mirrorproxy.replay.lane import MAX_LAG, Lane
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import SKIP, WAIT, Order

SESSION_BROKEN = "session broken"
"""Why the ledger says that a shot was shed whose session got no answer before."""


class Departures:
    """Sends what is due when nothing holds it back; see the module.

    limits: by target. ahead: where what leaves is no longer counted. order: of
    sessions, None to keep none. correlator: None where nothing is learned. clock_s:
    monotonic. send: puts a flight on its way, with a time-out in seconds. shed: takes
    one that will not be sent, with the reason, and tells `gone` of it.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits],
        ahead: Ahead,
        ledger: Ledger,
        *,
        is_paced: bool,
        order: Order | None,
        correlator: Correlation | None = None,
        clock_s: Callable[[], float],
        send: Callable[[Flight, float | None], None],
        shed: Callable[[Flight, str], None],
    ) -> None:
        self._ahead = ahead
        self._ledger = ledger
        self._is_paced = is_paced
        self._order = order
        self._correlator = correlator
        self._is_freeing = False
        self._clock_s = clock_s
        self._send_now = send
        self._shed = shed
        self.lanes = {
            name: Lane(
                limit,
                self._send,
                shed,
                is_paced=is_paced,
                now_s=clock_s(),
                prepare=None if correlator is None else correlator.departing,
            )
            for name, limit in limits.items()
        }
        # By target, as lanes are: how long one may wait is a limit of its target.
        self._held = {name: Held() for name in limits}
        self._max_lag_s = {name: limit.max_lag_s for name, limit in limits.items()}
        self.in_flight: set[Flight] = set()

    def take(self, flight: Flight) -> None:
        """Take a flight whose turn has come."""
        order = self._order
        if order is None:
            self.follow(flight)
            return
        verdict = order.enter(flight)
        if verdict == WAIT:
            flight.lag_cause = "order"
            self._held[flight.shot.target].add(flight)
            self._ahead.held += 1
        elif verdict == SKIP:
            self._shed(flight, SESSION_BROKEN)
        else:
            self.follow(flight)
        if order.freed:
            self._free()

    def gone(self, flight: Flight, *, breaks: bool) -> bool:
        """Take the end of a flight, sent or not; return whether others go on for it.

        breaks: whether its session lacks it now, as it got no answer.
        """
        order, correlator = self._order, self._correlator
        goes_on = False
        if order is not None:
            was_held = flight.is_held
            order.ended(flight, breaks=breaks)
            if was_held:
                self._left(flight)
            goes_on = bool(order.freed or order.skipped)
        if correlator is not None:
            if flight.is_following:
                self._caught_up(flight)
            correlator.ended(flight)
            goes_on = goes_on or bool(correlator.awaited.freed)
        if goes_on:
            self._free()
        return goes_on

    def _free(self) -> None:
        """Let go on what waits for nobody any more."""
        # What goes on may end at once, and free others: they come in this loop, not in another.
        if self._is_freeing:
            return
        self._is_freeing = True
        now_s = self._clock_s()
        while self._free_one(now_s):
            pass
        self._is_freeing = False

    def _free_one(self, now_s: float) -> bool:
        order, correlator = self._order, self._correlator
        if order is not None and order.skipped:
            flight = order.skipped.popleft()
            self._left(flight)
            self._shed(flight, SESSION_BROKEN)
        elif order is not None and order.freed:
            flight = order.freed.popleft()
            self._left(flight)
            flight.freed_s = now_s
            self.follow(flight)
        elif correlator is not None and correlator.awaited.freed:
            flight = correlator.awaited.freed.popleft()
            self._caught_up(flight)
            flight.freed_s = now_s
            self.ready(flight)
        else:
            return False
        return True

    def _left(self, flight: Flight) -> None:
        self._ahead.held -= 1
        self._held[flight.shot.target].left()

    def _caught_up(self, flight: Flight) -> None:
        flight.is_following = False
        self._left(flight)

    def follow(self, flight: Flight) -> None:
        """Take a flight whose turn has come and that waits for no other of its session."""
        if self._correlator is not None and self._correlator.waits(flight, self._clock_s()):
            flight.is_following = True
            flight.lag_cause = "order"
            self._held[flight.shot.target].add(flight)
            self._ahead.held += 1
        else:
            self.ready(flight)

    def ready(self, flight: Flight) -> None:
        """Take a flight whose turn has come and that waits for no other."""
        if not flight.is_loaded:
            # Comes here again when its body is there.
            flight.is_overdue = True
            return
        # (b) Credentials: what has to wait for its token is held here, then `board`.
        self.board(flight)

    def board(self, flight: Flight) -> None:
        """Take a flight that only its target can still hold back."""
        # (c) Back-off: the lane holds or sheds, in `Lane.pump`, by its limits and its gate.
        self.lanes[flight.shot.target].admit(flight)

    def pump(self, now_s: float) -> None:
        """Send what the targets take now, and shed what was held back for too long."""
        if self.has_held:
            if self._is_paced:
                self._shed_overdue(now_s)
            if self._correlator is not None:
                self._let_go_overdue(now_s, self._correlator)
        for lane in self.lanes.values():
            if lane.waiting:
                lane.pump(now_s)

    @property
    def has_waiting(self) -> bool:
        """Whether anything waits for its target alone."""
        return any(lane.waiting for lane in self.lanes.values())

    @property
    def has_held(self) -> bool:
        """Whether anything waits for another."""
        return (self._order is not None and self._order.held > 0) or (
            self._correlator is not None and self._correlator.awaited.waiting > 0
        )

    def held(self) -> list[Flight]:
        """Return what waits for others of its session."""
        return [flight for held in self._held.values() for flight in held.all()]

    def waiting(self) -> list[Flight]:
        """Return all that waits here, but for what lacks its body alone."""
        waiting = [flight for lane in self.lanes.values() for flight in lane.waiting]
        return waiting + self.held()

    def clear(self) -> None:
        """Give up all that waits here, for good."""
        for lane in self.lanes.values():
            lane.waiting.clear()
        if self._order is not None:
            self._order.clear()
        if self._correlator is not None:
            self._correlator.awaited.clear()
        for held in self._held.values():
            held.clear()
        self._ahead.held = 0

    def landed(self, flight: Flight) -> Lane | None:
        """Take the end of a flight; return its lane, None if it is not in flight any more."""
        try:
            self.in_flight.remove(flight)
        except KeyError:
            return None
        lane = self.lanes[flight.shot.target]
        lane.in_flight -= 1
        return lane

    def _send(self, lane: Lane, flight: Flight) -> None:
        self.in_flight.add(flight)
        self._ahead.count -= 1
        # A burst takes time: each shot's own moment counts, not that of the turn.
        flight.sent_s = sent_s = self._clock_s()
        if self._is_paced:
            flight.lag_us = max(int((sent_s - flight.due_s) * 1e6), 0)
        else:
            flight.due_s = sent_s
        if flight.freed_s and flight.lag_cause == "limit":
            # It waited for both: the longer wait is the cause.
            waited_s = flight.freed_s - flight.due_s
            flight.lag_cause = "limit" if sent_s - flight.freed_s > waited_s else "order"
        self._ledger.lag_by_cause[flight.lag_cause].add(flight.lag_us)
        if lane.backoff is not None:
            lane.backoff.sent(sent_s, flight.shot.duration_us)
        self._send_now(flight, lane.timeout_s)

    def _shed_overdue(self, now_s: float) -> None:
        for name, held in self._held.items():
            max_lag_s = self._max_lag_s[name]
            if max_lag_s is None:
                continue
            while (flight := held.overdue(now_s - max_lag_s)) is not None:
                self._shed(flight, MAX_LAG)

    def _let_go_overdue(self, now_s: float, correlator: Correlation) -> None:
        """Send what has waited for an answer for too long as it is."""
        while (flight := correlator.overdue(now_s)) is not None:
            self._caught_up(flight)
            flight.freed_s = now_s
            self.ready(flight)
