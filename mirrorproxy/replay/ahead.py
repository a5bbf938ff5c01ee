"""Planning ahead: what is planned and has not left yet, and how much of it there may be.

Owns when each shot is due, the queue of those whose turn has not come, and the
bounds on how far planning runs ahead. Sends nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mirrorproxy.replay.flight import Flight, Landing
from mirrorproxy.replay.intake import IntakeLike, Planned
from mirrorproxy.replay.schedule import MAX_SPEED, Due
from mirrorproxy.sources.events import Signal

PLAN_SLICE_S = 0.0005
UNPACED_SLICE_S = 0.002
"""How long planning may keep the loop from what is due meanwhile, or from answers alone."""

AHEAD_S = 2.0
AHEAD_BYTES = 32 * 1024 * 1024
AHEAD_SHOTS = 20_000
AHEAD_UNPACED = 2_000
"""How far planning runs ahead: of due times, in memory, and in number."""


class Ahead:
    """Plans the shots of an intake ahead of need; see the module.

    due: gives them their times. speed: a pace, or MAX_SPEED. clock_s: monotonic. landing:
    what flights will tell of their end. offer: takes every planned flight, its due time set.
    upcoming: those whose turn has not come, first due first. count: how many are planned and
    have neither left nor been given up; held: how many of them wait for others of their
    session; held_bytes: what all of those and the ones in flight take of memory.
    """

    def __init__(
        self,
        intake: IntakeLike,
        due: Due,
        *,
        speed: float,
        clock_s: Callable[[], float],
        landing: Landing,
        offer: Callable[[Flight], None],
    ) -> None:
        self._intake = intake
        self._due = due
        self._is_paced = speed != MAX_SPEED
        self._slice_s = PLAN_SLICE_S if self._is_paced else UNPACED_SLICE_S
        self._clock_s = clock_s
        self._landing = landing
        self._offer = offer
        self.upcoming: deque[Flight] = deque()
        self.count = 0
        self.held = 0
        self.held_bytes = 0
        self.has_ended = False

    def plan(self, now_s: float) -> bool:
        """Plan until the slice is over; return whether there is more to plan at once.

        Raises what the intake raises.
        """
        if self.has_ended:
            return False
        clock_s = self._clock_s
        until_s = clock_s() + self._slice_s
        take = self._intake.take
        # READING may come many times in a row while the window fills: room stays as it is then.
        has_room = self.has_room(now_s)
        while has_room:
            planned = take()
            if isinstance(planned, Planned):
                shots, source = planned
                for shot in shots:
                    self.count += 1
                    flight = Flight(shot, source, self._landing)
                    due_s = self._due.due_s(shot.started_us) if self._is_paced else clock_s()
                    flight.due_s = shot.due_s = due_s
                    self._offer(flight)
                has_room = self.has_room(now_s)
            elif planned is Signal.PENDING:
                return False
            elif planned is Signal.END:
                self.has_ended = True
                return False
            if clock_s() >= until_s:
                return True
        return False

    def has_room(self, now_s: float) -> bool:
        """Return whether one more may be planned now."""
        if self.held_bytes > AHEAD_BYTES or self.count >= AHEAD_SHOTS:
            return False
        # One session whose shots wait for each other must not keep all others from being sent.
        if not self._is_paced and self.count - self.held >= AHEAD_UNPACED:
            return False
        upcoming = self.upcoming
        return not upcoming or upcoming[-1].due_s <= now_s + AHEAD_S

    def shift(self, seconds: float) -> None:
        """Make all that is still to be planned due so much later."""
        self._due.shift(seconds)

    def end(self) -> None:
        """Plan nothing more."""
        self.has_ended = True
        self._intake.close()
