"""What waits for others, oldest first, so that it does not wait for ever.

Pure. Flights leave from anywhere in the line: they are marked, and taken out
when they come to the front or are more than half of it.
"""

from __future__ import annotations

from collections import deque

from mirrorproxy.replay.flight import Flight

_SPARE = 64


class Held:
    """The flights of one target that their session holds back, or an answer that they need.

    count: how many there are.
    """

    def __init__(self) -> None:
        self._line: deque[Flight] = deque()
        self.count = 0

    def add(self, flight: Flight) -> None:
        """Take a flight; they come in the order of their due times."""
        self._line.append(flight)
        self.count += 1

    def left(self) -> None:
        """Take note that one of the flights is not held any more, as the flight itself says."""
        self.count -= 1
        if len(self._line) > 2 * self.count + _SPARE:
            self._line = deque(self.all())

    def all(self) -> list[Flight]:
        """Return the flights, oldest first."""
        return [flight for flight in self._line if flight.is_held or flight.is_following]

    def overdue(self, due_s: float) -> Flight | None:
        """Return the oldest flight if it was due before this time."""
        line = self._line
        while line and not (line[0].is_held or line[0].is_following):
            line.popleft()
        return line[0] if line and line[0].due_s < due_s else None

    def clear(self) -> None:
        """Forget all."""
        self._line.clear()
        self.count = 0
