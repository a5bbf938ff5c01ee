"""Arrivals: objects that become known while others are being read.

Owns the hand-over from the threads that find objects to the merge, which never
waits. What is found is bounded: `add` makes the finder wait. Never finds or
reads anything itself.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator

from mirrorproxy.sources.events import CaptureObject, Waiting

MAX_KNOWN = 256
"""So many objects wait at most to be opened."""

_FETCHED_AHEAD = 8

_Entry = tuple[int, int, CaptureObject, Callable[[], None] | None]


class Arrivals(Iterator["CaptureObject | Waiting"]):
    """The objects found so far, by the time in their keys.

    until_us: gives what objects that are not known yet hold nothing before; see `Waiting`.
    """

    def __init__(self, until_us: Callable[[], int]) -> None:
        self._until_us = until_us
        self._changed = threading.Condition()
        self._heap: list[_Entry] = []
        self._count = 0
        self._ended = False
        self._closed = False
        self._error: Exception | None = None

    def __iter__(self) -> Arrivals:
        return self

    def __next__(self) -> CaptureObject | Waiting:
        """Return the next object, or Waiting. Raises what `fail` was given."""
        with self._changed:
            if not self._heap:
                if self._error is not None:
                    raise self._error
                if self._ended:
                    raise StopIteration
                return Waiting(self._until_us())
            source = heapq.heappop(self._heap)[2]
            soon = heapq.nsmallest(_FETCHED_AHEAD, self._heap)
            self._changed.notify_all()
        for entry in soon:
            if entry[3] is not None:
                entry[3]()
        return source

    def add(self, source: CaptureObject, prefetch: Callable[[], None] | None = None) -> bool:
        """Hand over an object; waits while too many are known. Return False when closed.

        prefetch: begins to fetch it, if there is room; called any number of times.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._heap) < MAX_KNOWN or self._closed)
            if self._closed:
                return False
            at_us = -1 if source.time_us is None else source.time_us
            self._count += 1
            heapq.heappush(self._heap, (at_us, self._count, source, prefetch))
            is_soon = len(self._heap) <= _FETCHED_AHEAD
        if is_soon and prefetch is not None:
            prefetch()
        return True

    def known_before(self, at_us: int) -> int:
        """Return how many of the objects that wait begin before a moment."""
        with self._changed:
            return sum(entry[0] < at_us for entry in self._heap)

    @property
    def known(self) -> int:
        """How many objects wait to be opened."""
        return len(self._heap)

    def end(self) -> None:
        """Say that those known are all."""
        self._ended = True

    def fail(self, error: Exception) -> None:
        """Say why no more can be found; raised when those known are taken."""
        self._error = error

    def close(self) -> None:
        """Take nothing more; whoever waits in `add` goes on."""
        with self._changed:
            self._closed = self._ended = True
            self._heap.clear()
            self._changed.notify_all()
