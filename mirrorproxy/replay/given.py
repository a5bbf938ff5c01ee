"""What a target gave and is about to give, and what its answers need not teach any more.

Pure. One view for each target, and for each copy that it is sent. Production's answers are
read when their shots are planned; most hold nothing that is new, and those that came before
for the same path of the same session are not read again.
"""

from __future__ import annotations

from typing import Final

from mirrorproxy.correlation.affinity import Keys, is_value
from mirrorproxy.correlation.answered_values import Known
from mirrorproxy.correlation.learned import Limits, Memory
from mirrorproxy.replay.awaited import Coming
from mirrorproxy.replay.flight import Flight

_MAX_TOLD: Final = 65_536
"""So many bodies of which all was known are known again."""


class View:
    """What one target, or copy, has given and is about to give.

    gives: whether it may ever have given anything: without that nobody waits. told: by session
    and path, the hash of the last body of which all was known.
    """

    def __init__(self, limits: Limits) -> None:
        self.memory = Memory(limits)
        self.coming = Coming()
        self.gives = False
        self.told: dict[tuple[str, str], int] = {}
        self._limits = limits
        self._expired = 0

    def tell(self, place: tuple[str, str], mark: int) -> None:
        """Take the hash of a body of which all is known."""
        if len(self.told) >= _MAX_TOLD:
            self.told.clear()
        self.told[place] = mark

    def is_told(self, place: tuple[str, str], mark: int) -> bool:
        """Tell whether all of a body was known when the last was read, and is still."""
        if self._expired != self._limits.expired:
            # What made room is not known any more.
            self._expired = self._limits.expired
            self.told.clear()
        return self.told.get(place) == mark

    def is_id(self, text: str) -> bool:
        """Tell whether a segment of a path is a value, not the name of a collection."""
        return is_value(text) or text in self.memory.pairs or text in self.coming.open


class KnownTo(Known):
    """What a flight's answer need not teach: it is known, or others give it before."""

    def __init__(self, view: View, flight: Flight) -> None:
        self._memory = view.memory
        self._coming = view.coming
        self._view = view
        self._flight = flight
        shot = flight.shot
        self._session = shot.session
        self._place = (shot.session, shot.path.partition("?")[0])

    def knows(self, text: str, keys: Keys, is_weak: bool) -> bool:
        """Tell whether a value is known, or will be by the time that it matters."""
        session = self._session if is_weak else None
        return self._memory.knows(text, keys, session) or self._coming.is_given(
            self._flight, text, keys
        )

    def is_told(self, body: str, is_list: bool) -> bool:
        """See `Known`."""
        return self._view.is_told(self._place, hash(body) ^ is_list)

    def tell(self, body: str, is_list: bool) -> None:
        """See `Known`."""
        self._view.tell(self._place, hash(body) ^ is_list)
