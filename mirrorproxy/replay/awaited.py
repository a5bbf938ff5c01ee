"""What is about to be learned: shots wait for the answers that give them their values.

Pure. Holds, by value and key, the flights whose recorded answers gave it, from planning
until they end. A shot that refers to such a value waits exactly when production had
ended that answer before the shot began, whatever its session: the rule of `order`,
across sessions. Who is waited for was planned before, so nobody waits in a circle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from mirrorproxy.replay.affinity import Keys
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.learned import token_of
from mirrorproxy.replay.order import SKEW_US

MAX_WAIT_S: Final = 10.0
"""How long a shot waits where no limit of its target ends it before."""

MAX_PRODUCERS: Final = 64
"""So many open answers are known that give one value; a list that all read tells nothing."""

Given = tuple[str, str, str]
"""A view, a key and a value."""


class Awaited:
    """Tells which shots wait for answers; see the module.

    tokens: of what is about to be learned, as in `learned.Store`. freed: those that
    waited and need not any more, to be taken from here. waiting: how many wait.
    """

    def __init__(self) -> None:
        self._givers: dict[Given, list[Flight]] = {}
        self._given: dict[Flight, list[Given]] = {}
        self._places: dict[Flight, int] = {}
        self._waits_for: dict[Flight, set[Flight]] = {}
        self._waited_for: dict[Flight, list[Flight]] = {}
        self._since_s: dict[Flight, float] = {}
        self._planned = 0
        self.tokens: dict[str, int] = {}
        self.freed: deque[Flight] = deque()

    @property
    def waiting(self) -> int:
        """How many shots wait."""
        return len(self._waits_for)

    def expect(self, flight: Flight, view: str, values: Sequence[tuple[Keys, str]]) -> None:
        """Take what the answer to a planned flight will give; flights come in captured order."""
        given: list[Given] = []
        for keys, text in values:
            for key in keys:
                one = (view, key, text)
                givers = self._givers.get(one)
                if givers is None:
                    self._givers[one] = [flight]
                elif len(givers) < MAX_PRODUCERS and givers[-1] is not flight:
                    givers.append(flight)
                else:
                    continue
                given.append(one)
                token = token_of(text)
                self.tokens[token] = self.tokens.get(token, 0) + 1
        self._given[flight] = given

    def number(self, flight: Flight) -> None:
        """Take note of the order in which flights are planned."""
        self._planned += 1
        self._places[flight] = self._planned

    def enter(
        self, flight: Flight, view: str, wanted: Sequence[tuple[Keys, str]], now_s: float
    ) -> bool:
        """Tell whether a shot has to wait for an answer that gives what it refers to."""
        shot = flight.shot
        place = self._places.get(flight, 0)
        givers: set[Flight] = set()
        for keys, text in wanted:
            for key in keys:
                for giver in self._givers.get((view, key, text), ()):
                    if giver is not flight and self._places[giver] < place:
                        other = giver.shot
                        skew_us = 0 if other.machine == shot.machine else SKEW_US
                        if other.started_us + other.duration_us <= shot.started_us + skew_us:
                            givers.add(giver)
        if not givers:
            return False
        self._waits_for[flight] = givers
        self._since_s[flight] = now_s
        for giver in givers:
            self._waited_for.setdefault(giver, []).append(flight)
        return True

    def is_waiting(self, flight: Flight) -> bool:
        """Tell whether a flight waits here."""
        return flight in self._waits_for

    def ended(self, flight: Flight) -> None:
        """Take the end of a flight, sent or not: it gives nothing more, and waits no more."""
        self._places.pop(flight, None)
        for one in self._given.pop(flight, ()):
            givers = self._givers[one]
            givers.remove(flight)
            if not givers:
                del self._givers[one]
            token = token_of(one[2])
            left = self.tokens[token] - 1
            if left:
                self.tokens[token] = left
            else:
                del self.tokens[token]
        self._leave(flight)
        for other in self._waited_for.pop(flight, ()):
            waits_for = self._waits_for.get(other)
            if waits_for is not None:
                waits_for.discard(flight)
                if not waits_for:
                    self._leave(other)
                    self.freed.append(other)

    def overdue(self, now_s: float) -> Flight | None:
        """Return a flight that has waited for too long, and does not any more; None if none."""
        # In the order of their coming: the first has waited longest.
        for flight, since_s in self._since_s.items():
            if now_s - since_s > MAX_WAIT_S:
                self._leave(flight)
                return flight
            return None
        return None

    def all(self) -> list[Flight]:
        """Return what waits, first come first."""
        return list(self._since_s)

    def clear(self) -> None:
        """Forget all that waits: nothing more will be sent."""
        self._waits_for.clear()
        self._waited_for.clear()
        self._since_s.clear()
        self.freed.clear()

    def _leave(self, flight: Flight) -> None:
        for giver in self._waits_for.pop(flight, ()):
            others = self._waited_for.get(giver)
            if others is not None and flight in others:
                others.remove(flight)
        self._since_s.pop(flight, None)
