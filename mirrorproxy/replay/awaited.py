"""What is on its way: shots wait for the answers that give them their values.

Pure. Holds, by value and key, the flights whose recorded answers give it and the writes
that carry it, from planning until they end. A shot that refers to such a value waits
exactly when production had ended that answer before the shot began, whatever its session:
the rule of `order`, across sessions. Who is waited for was planned before, so nobody
waits in a circle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from mirrorproxy.correlation.affinity import Keys
from mirrorproxy.correlation.learned import token_of
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.order import SKEW_US

MAX_WAIT_S: Final = 10.0
"""How long a shot waits where no limit of its target ends it before."""

MAX_OPEN: Final = 64
"""So many open flights of one value are known: what more of them have is everybody's."""


CARRIED, WEAK, GIVEN = range(3)
"""What an open flight has to do with a value: its request carries it, its answer gives it in a
list, its answer gives it."""


class _Open:
    """One flight that has to do with a value. kind: CARRIED and so on."""

    __slots__ = ("flight", "keys", "kind")

    def __init__(self, flight: Flight, keys: Keys, kind: int) -> None:
        self.flight = flight
        self.keys = keys
        self.kind = kind


class Coming:
    """What answers on their way will give, for one target or copy.

    open: by production's value. fragments: see `learned.Memory`.
    """

    def __init__(self) -> None:
        self.open: dict[str, list[_Open]] = {}
        self.fragments: dict[str, int] = {}

    def hits(self, tokens: list[str]) -> set[str]:
        """Return those of the tokens that values here begin with."""
        found: set[str] = self.open.keys() & tokens
        if self.fragments:
            found |= self.fragments.keys() & tokens
        return found

    def add(self, flight: Flight, text: str, keys: Keys, kind: int) -> bool:
        """Take that a planned flight gives or carries a value; return whether to `drop` it."""
        known = self.open.get(text)
        if known is None:
            self.open[text] = [_Open(flight, keys, kind)]
            token = token_of(text)
            if token != text:
                self.fragments[token] = self.fragments.get(token, 0) + 1
            return True
        if len(known) >= MAX_OPEN:
            return False
        known.append(_Open(flight, keys, kind))
        return True

    def drop(self, flight: Flight, text: str) -> None:
        """Take that a flight has ended."""
        known = self.open.get(text)
        if known is None:
            return
        if len(known) > 1 or known[0].flight is not flight:
            left = [one for one in known if one.flight is not flight]
            if left:
                self.open[text] = left
                return
        del self.open[text]
        token = token_of(text)
        if token != text:
            self.fragments[token] -= 1
            if not self.fragments[token]:
                del self.fragments[token]

    def is_given(self, flight: Flight, text: str, keys: Keys) -> bool:
        """Tell whether an answer that had ended before a flight began will give a value.

        What a list gives it gives to its own session.
        """
        known = self.open.get(text)
        if known is None:
            return False
        for one in known:
            if one.kind == CARRIED or not _is_any_in(keys, one.keys):
                continue
            if not _had_ended(one.flight, flight):
                continue
            if one.kind == GIVEN or one.flight.shot.session == flight.shot.session:
                return True
        return False

    def before(self, flight: Flight, text: str, keys: Keys) -> list[Flight]:
        """Return the flights that one has to wait for that refers to a value."""
        known = self.open.get(text)
        if known is None:
            return []
        return [
            one.flight
            for one in known
            if _is_any_in(keys, one.keys) and _had_ended(one.flight, flight)
        ]


def _is_any_in(keys: Keys, others: Keys) -> bool:
    if keys is others:
        return True
    for key in keys:  # noqa: SIM110 - a generator costs more than all of this
        if key in others:
            return True
    return False


def _had_ended(giver: Flight, flight: Flight) -> bool:
    if giver.number >= flight.number:
        return False
    late_us = giver.ended_us - flight.began_us
    # Whether they are of one machine is only asked where it tells.
    return late_us <= 0 or (late_us <= SKEW_US and giver.shot.machine != flight.shot.machine)


class Awaited:
    """The flights that wait for others' answers; see the module.

    freed: those that waited and need not any more, to be taken from here.
    """

    def __init__(self) -> None:
        self._waits_for: dict[Flight, set[Flight]] = {}
        self._waited_for: dict[Flight, list[Flight]] = {}
        self._since_s: dict[Flight, float] = {}
        self.freed: deque[Flight] = deque()

    @property
    def waiting(self) -> int:
        """How many shots wait."""
        return len(self._waits_for)

    def enter(self, flight: Flight, givers: Iterable[Flight], now_s: float) -> None:
        """Take a flight that waits for the ends of others."""
        waits_for = self._waits_for[flight] = set(givers)
        self._since_s[flight] = now_s
        for giver in waits_for:
            self._waited_for.setdefault(giver, []).append(flight)

    def ended(self, flight: Flight) -> None:
        """Take the end of a flight, sent or not: nobody waits for it, and it waits no more."""
        if flight in self._waits_for:
            self._leave(flight)
        if not self._waited_for:
            return
        for other in self._waited_for.pop(flight, ()):
            waits_for = self._waits_for[other]
            waits_for.discard(flight)
            if not waits_for:
                self._leave(other)
                self.freed.append(other)

    def overdue(self, now_s: float) -> Flight | None:
        """Return a flight that has waited for too long, and does not any more; None if none."""
        # In the order of their coming: the first has waited longest.
        flight = next(iter(self._since_s), None)
        if flight is None or now_s - self._since_s[flight] <= MAX_WAIT_S:
            return None
        self._leave(flight)
        return flight

    def clear(self) -> None:
        """Forget all that waits: nothing more will be sent."""
        self._waits_for.clear()
        self._waited_for.clear()
        self._since_s.clear()
        self.freed.clear()

    def _leave(self, flight: Flight) -> None:
        for giver in self._waits_for.pop(flight):
            others = self._waited_for.get(giver)
            if others is not None:
                others.remove(flight)
                if not others:
                    del self._waited_for[giver]
        del self._since_s[flight]
