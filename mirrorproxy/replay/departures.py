"""Departures: the way of a shot from its turn to the wire.

Owns the steps that may hold a shot back once its turn has come, in this order:
its session (`take`), its body and its credential (`ready`), its target
(`board`). What a step holds back goes on with the next step when it is let go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mirrorproxy.replay.ahead import Ahead
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.lane import Lane
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits


class Departures:
    """Sends what is due when nothing holds it back; see the module.

    limits: by target. ahead: where what leaves is no longer counted. clock_s:
    monotonic. send: puts a flight on its way, with a time-out in seconds. shed:
    takes one that will not be sent, with the reason.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits],
        ahead: Ahead,
        ledger: Ledger,
        *,
        is_paced: bool,
        clock_s: Callable[[], float],
        send: Callable[[Flight, float | None], None],
        shed: Callable[[Flight, str], None],
    ) -> None:
        self._ahead = ahead
        self._ledger = ledger
        self._is_paced = is_paced
        self._clock_s = clock_s
        self._send_now = send
        self.lanes = {
            name: Lane(limit, self._send, shed, is_paced=is_paced, now_s=clock_s())
            for name, limit in limits.items()
        }
        self.in_flight: set[Flight] = set()

    def take(self, flight: Flight) -> None:
        """Take a flight whose turn has come."""
        # (a) Order: what must wait for another of its session is held here, then `ready`.
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
        """Send what the targets take now."""
        for lane in self.lanes.values():
            if lane.waiting:
                lane.pump(now_s)

    @property
    def has_waiting(self) -> bool:
        """Whether anything whose turn has come waits to be sent."""
        return any(lane.waiting for lane in self.lanes.values())

    def waiting(self) -> list[Flight]:
        """Return all that waits here, but for what lacks its body."""
        return [flight for lane in self.lanes.values() for flight in lane.waiting]

    def clear(self) -> None:
        """Give up all that waits here."""
        for lane in self.lanes.values():
            lane.waiting.clear()

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
        self._ledger.lag_by_cause[flight.lag_cause].add(flight.lag_us)
        if lane.backoff is not None:
            lane.backoff.sent(sent_s, flight.shot.duration_us)
        self._send_now(flight, lane.timeout_s)
