"""Feeds: the lines of one object, read ahead of need.

Owns opening, reading and closing of objects. Lines are handed over in batches;
files are read and unpacked in a thread, so that a slow disk never holds up what
is being sent meanwhile. Lines are not decoded here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Protocol

from mirrorproxy.members import Batch, Damage
from mirrorproxy.sources.events import CaptureObject, Signal, Unreadable
from mirrorproxy.sources.imports import read_lines

READ_AHEAD_BATCHES = 2


class Feed(Protocol):
    """The batches of one object."""

    def poll(self) -> Batch | Unreadable | Signal:
        """Return what comes next; PENDING while it is being read, END from the last on."""

    def close(self) -> None:
        """Read no further. May be called at any time."""


def read_object(source: CaptureObject) -> Iterator[Batch | Unreadable]:
    """Yield the batches of an object; what cannot be read is yielded too, not raised."""
    try:
        stream = source.open()
    except OSError as error:
        yield Unreadable(source.name, None, f"cannot be opened: {error.strerror}", None)
        return
    with stream:
        try:
            for part in read_lines(stream, source.name):
                if isinstance(part, Damage):
                    yield Unreadable(source.name, part.offset, part.reason, part.lines)
                else:
                    yield part
        except OSError as error:
            yield Unreadable(source.name, None, f"cannot be read on: {error.strerror}", None)


class InlineFeed:
    """A feed that reads when asked, in the caller's own thread. Never PENDING."""

    def __init__(self, source: CaptureObject) -> None:
        self._parts = read_object(source)

    def poll(self) -> Batch | Unreadable | Signal:
        """Return what comes next, or END."""
        return next(self._parts, Signal.END)

    def close(self) -> None:
        """Close the object."""
        # A generator that is suspended inside `with` closes its file so.
        self._parts.close()  # type: ignore[attr-defined]


class Reader:
    """A thread that reads objects for any number of feeds, a batch at a time."""

    def __init__(self, name: str = "reader") -> None:
        self._wanted: queue.SimpleQueue[ThreadedFeed | None] = queue.SimpleQueue()
        self._others: list[Reader] = []
        # A daemon: standard input may never end, and must not keep the process alive.
        self._worker = threading.Thread(target=self._work, name=name, daemon=True)
        self._worker.start()

    def feed(self, source: CaptureObject) -> ThreadedFeed:
        """Return the feed of an object; reading begins at once.

        A stream is read by a thread of its own: it may wait for ever.
        """
        if source.is_stream:
            stream_reader = Reader(source.name)
            self._others.append(stream_reader)
            return ThreadedFeed(source, stream_reader._wanted)
        return ThreadedFeed(source, self._wanted)

    def close(self) -> None:
        """Let the threads end after what they are reading just now."""
        for reader in (self, *self._others):
            reader._wanted.put(None)

    def _work(self) -> None:
        while (feed := self._wanted.get()) is not None:
            feed.advance()


class ThreadedFeed:
    """A feed whose batches are read by a `Reader`, READ_AHEAD_BATCHES ahead of need."""

    def __init__(
        self, source: CaptureObject, wanted: queue.SimpleQueue[ThreadedFeed | None]
    ) -> None:
        self._parts = read_object(source)
        self._wanted = wanted
        self._ready: queue.SimpleQueue[Batch | Unreadable | Signal | BaseException] = (
            queue.SimpleQueue()
        )
        self._ended = False
        self._closed = False
        for _ in range(READ_AHEAD_BATCHES):
            wanted.put(self)

    def poll(self) -> Batch | Unreadable | Signal:
        """Return what comes next, without waiting for it."""
        if self._ended:
            return Signal.END
        try:
            part = self._ready.get_nowait()
        except queue.Empty:
            return Signal.PENDING
        if isinstance(part, BaseException):
            self._ended = True
            raise part
        if part is Signal.END:
            self._ended = True
        else:
            self._wanted.put(self)
        return part

    def close(self) -> None:
        """Close the object, in the reader's thread."""
        self._closed = True
        self._wanted.put(self)

    def advance(self) -> None:
        """Read one batch. For the reader's thread alone."""
        if self._closed:
            self._parts.close()  # type: ignore[attr-defined]
            return
        try:
            self._ready.put(next(self._parts, Signal.END))
        except Exception as error:  # noqa: BLE001 - raised again where it is taken
            self._ready.put(error)
