"""Bodies that lie apart: when each is read, and how much of them is held.

Owns which planned flights still lack their body. Reads nothing itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mirrorproxy.replay.flight import Flight

LOAD_AHEAD_S = 1.0
LOADED_BYTES = 128 * 1024 * 1024
"""When body objects are read before they are due, and how many bytes of them are held."""


class Apart:
    """The flights whose body is not at hand; see the module.

    load: starts to fetch the body of a flight. unloaded: the flights that lack
    theirs, whether it is being fetched or not. loaded_bytes: of the bodies
    fetched, or being fetched, for flights that have not ended.
    """

    def __init__(self, load: Callable[[Flight], None]) -> None:
        self._load = load
        self._to_load: deque[Flight] = deque()
        self.unloaded: set[Flight] = set()
        self.loaded_bytes = 0

    def add(self, flight: Flight) -> None:
        """Take a flight whose body lies apart; they come in the order of their due times."""
        self._to_load.append(flight)
        self.unloaded.add(flight)

    def load_soon(self, now_s: float) -> None:
        """Fetch what is due within a second, as far as there is room for it."""
        to_load = self._to_load
        while to_load and to_load[0].due_s <= now_s + LOAD_AHEAD_S:
            size = to_load[0].shot.body_bytes
            # One alone may pass the bound: it could never be loaded otherwise.
            if self.loaded_bytes and self.loaded_bytes + size > LOADED_BYTES:
                return
            flight = to_load.popleft()
            flight.loaded_bytes = size
            self.loaded_bytes += size
            self._load(flight)

    def forget(self, flight: Flight) -> None:
        """Give up a flight that lacks its body."""
        self.unloaded.discard(flight)
        if flight in self._to_load:
            self._to_load.remove(flight)

    def clear(self) -> None:
        """Give up all that lack theirs."""
        self._to_load.clear()
        self.unloaded.clear()

    def due(self) -> list[Flight]:
        """Return the flights whose turn has come while they lack their body."""
        return [flight for flight in self.unloaded if flight.is_overdue]
