"""Merging: the exchanges of many objects, each once, in the order they were captured.

Pure but for the feeds it is given. Owns the window within which records are
put in order, the removal of duplicates, and the choice of which object is
opened and read next. Memory depends on the window, never on the capture.

Within an object records stand in the order in which they ended, and objects of
several workers overlap in time. So an object is opened 30 s before the time in
its key is reached, the object that lags furthest behind is read next, and an
exchange is given out when everything that is being read has passed it by the
window. What comes later still is given out at once and marked late. Where the
next object is not known yet, what it may hold counts as being read, too.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from mirrorproxy.codec import MalformedRecord, UnsupportedVersion
from mirrorproxy.errors import SourceError
from mirrorproxy.record import Exchange
from mirrorproxy.sources.access_log import decode as decode_any
from mirrorproxy.sources.events import (
    Captured,
    CaptureObject,
    Duplicate,
    Event,
    Signal,
    Unreadable,
    Waiting,
)
from mirrorproxy.sources.feed import Feed
from mirrorproxy.sources.recent import RecentIds

WINDOW_US = 30_000_000
WINDOW_BYTES = 32 * 1024 * 1024
SLACK_US = 30_000_000
MAX_OPEN = 256
"""More objects that overlap than this (open files are few) are read one after the other."""

_STRIDE_US = 1_000_000
"""How far one object may run ahead of the others before another is read: saves re-sorting."""

_RECORD_OVERHEAD = 2
"""A decoded record takes about twice the memory of its line."""


class _Reading:
    """One open object. progress_us: no later record is expected before it (bar the window)."""

    __slots__ = ("feed", "lines", "progress_us", "source")

    def __init__(self, source: CaptureObject, feed: Feed, progress_us: int) -> None:
        self.source = source
        self.feed = feed
        self.lines: Iterator[tuple[int, bytes]] = iter(())
        self.progress_us = progress_us

    def __lt__(self, other: _Reading) -> bool:
        return self.progress_us < other.progress_us


class Merge:
    """Gives out the exchanges of some objects; see the module.

    objects: by the time in their keys; never waits, but gives Waiting while the next
    is not known. open_feed: opens one. window_us,
    window_bytes: how much is held back to be put in order, whichever is less.
    look_ahead: sees every exchange when it is read, so a window before it is
    given out; what it raises, `take` raises. decode: makes the exchange of a line;
    raises MalformedRecord and UnsupportedVersion.
    """

    def __init__(
        self,
        objects: Iterator[CaptureObject | Waiting],
        open_feed: Callable[[CaptureObject], Feed],
        *,
        window_us: int = WINDOW_US,
        window_bytes: int = WINDOW_BYTES,
        recent: RecentIds | None = None,
        look_ahead: Callable[[Exchange], None] | None = None,
        decode: Callable[[bytes], Exchange] = decode_any,
    ) -> None:
        self._objects = objects
        self._open_feed = open_feed
        self._window_us = window_us
        self._window_bytes = window_bytes
        self._recent = recent or RecentIds()
        self._look_ahead = look_ahead
        self._decode = decode
        self._next_object = next(objects, None)
        self._current: _Reading | None = None
        self._others: list[_Reading] = []
        self._turn_ends_us = -1
        self._held: list[tuple[int, int, int, Captured]] = []
        self._held_bytes = 0
        self._sequence = 0
        self._given_us = -1

    def take(self) -> Event:
        """Return the next event. Decodes at most one line: call again after READING.

        Raises UnsupportedVersion for a capture of a newer version.
        """
        current = self._current
        if current is None or current.progress_us > self._turn_ends_us:
            current = self._choose()
            if current is None:
                return self._rest()
        if self._is_ready(current):
            return self._give()
        for offset, line in current.lines:
            return self._hold(current, offset, line)
        return self._go_on(current)

    def _rest(self) -> Event:
        """Give out what is held, when nothing is to be read now."""
        held, upcoming = self._held, self._next_object
        if isinstance(upcoming, Waiting):
            if held and held[0][0] <= upcoming.until_us - self._window_us:
                return self._give()
            return Signal.PENDING
        return self._give() if held else Signal.END

    def _is_ready(self, current: _Reading) -> bool:
        """Tell whether the oldest exchange held has been passed by the window."""
        held = self._held
        return bool(held) and (
            held[0][0] <= current.progress_us - self._window_us
            or self._held_bytes > self._window_bytes
        )

    def _give(self) -> Captured:
        _, _, size, captured = heapq.heappop(self._held)
        self._held_bytes -= size
        self._given_us = captured.exchange.started_us
        return captured

    def close(self) -> None:
        """Close every open object."""
        for reading in (*self._others, *([self._current] if self._current else [])):
            reading.feed.close()
        self._others.clear()
        self._current = None
        self._next_object = None

    def _choose(self) -> _Reading | None:
        """Make the object that lags furthest behind the current one, opening those that are due."""
        if self._current is not None:
            heapq.heappush(self._others, self._current)
            self._current = None
        others = self._others
        if isinstance(self._next_object, Waiting):
            self._next_object = next(self._objects, None)
        while (upcoming := self._next_object) is not None and not isinstance(upcoming, Waiting):
            at_us = _expected_us(upcoming)
            if others and (len(others) >= MAX_OPEN or at_us > others[0].progress_us):
                break
            if upcoming.account is not None:
                upcoming.account.add()
            heapq.heappush(others, _Reading(upcoming, self._open_feed(upcoming), at_us))
            self._next_object = next(self._objects, None)
        if not others:
            return None
        if isinstance(upcoming, Waiting) and others[0].progress_us > upcoming.until_us:
            return None
        self._current = current = heapq.heappop(others)
        self._turn_ends_us = current.progress_us + _STRIDE_US
        return current

    def _go_on(self, reading: _Reading) -> Event:
        part = reading.feed.poll()
        if part is Signal.END:
            self._current = None
            if reading.source.account is not None:
                reading.source.account.done()
            return Signal.READING
        if isinstance(part, list):
            reading.lines = iter(part)
            return Signal.READING
        return part

    def _hold(self, reading: _Reading, offset: int, line: bytes) -> Event:
        try:
            exchange = self._decode(line)
        except MalformedRecord as error:
            return Unreadable(reading.source.name, offset, str(error), 1)
        except UnsupportedVersion as newer:
            raise SourceError(f"{reading.source.name}: {newer}") from newer
        if self._look_ahead is not None:
            self._look_ahead(exchange)
        started_us = exchange.started_us
        reading.progress_us = max(reading.progress_us, started_us)
        if not self._recent.add(exchange.id):
            return Duplicate(exchange.id)
        if reading.source.account is not None:
            reading.source.account.add()
        if started_us < self._given_us:
            return Captured(exchange, reading.source, True)
        size = len(line) * _RECORD_OVERHEAD
        self._sequence += 1
        held = self._held
        captured = Captured(exchange, reading.source, False)
        heapq.heappush(held, (started_us, self._sequence, size, captured))
        self._held_bytes += size
        # Whether another object lags behind by now is looked at in the next turn.
        if reading.progress_us <= self._turn_ends_us and self._is_ready(reading):
            return self._give()
        return Signal.READING


def _expected_us(source: CaptureObject) -> int:
    """Return the earliest time that an object's records are expected at."""
    return -1 if source.time_us is None else source.time_us - SLACK_US
