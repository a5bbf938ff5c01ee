"""Downloads: objects fetched in parts, ahead of need, within a bound of bytes.

Owns the threads that fetch and the memory that fetched parts take. Knows nothing
of S3: it is given a function that returns a range of bytes of an object.
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import BinaryIO, cast

PART_BYTES = 4 * 1024 * 1024
AHEAD_BYTES = 64 * 1024 * 1024
THREADS = 8

_SMALL_PART_BYTES = 1024 * 1024
"""Of an object that is read now there must be a part, even if the bound is reached."""

Fetch = Callable[[int, int], bytes]
"""Returns the bytes of an object from a begin to before an end, fewer at its end; or OSError."""


class Downloads:
    """Threads that fetch, and room for what they have fetched ahead.

    threads: how many; they are daemons: a hanging connection never keeps the process.
    """

    def __init__(self, threads: int = THREADS, ahead_bytes: int = AHEAD_BYTES) -> None:
        self._room = ahead_bytes
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Future[bytes], Fetch, int, int] | None] = (
            queue.SimpleQueue()
        )
        self._threads = [
            threading.Thread(target=self._work, name=f"download-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def take_room(self, size: int) -> bool:
        """Take room for so many bytes ahead of need, if there is any."""
        with self._lock:
            if size > self._room:
                return False
            self._room -= size
            return True

    def give_room(self, size: int) -> None:
        """Give room back."""
        with self._lock:
            self._room += size

    @property
    def room(self) -> int:
        """How many more bytes may be fetched ahead of need."""
        return self._room

    def fetch(self, fetch: Fetch, begin: int, end: int) -> Future[bytes]:
        """Fetch a range in one of the threads."""
        future: Future[bytes] = Future()
        self._jobs.put((future, fetch, begin, end))
        return future

    def close(self) -> None:
        """Fetch nothing more."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, fetch, begin, end = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(fetch(begin, end))
            except BaseException as error:  # noqa: BLE001 - raised where the part is waited for
                future.set_exception(error)


class Download:
    """One object. size: its bytes, None where it is not known.

    `prefetch` may be called by any thread, `open` by another, once.
    """

    def __init__(self, downloads: Downloads, fetch: Fetch, size: int | None) -> None:
        self._downloads = downloads
        self._fetch = fetch
        self._size = size
        self._lock = threading.Lock()
        self._first: tuple[Future[bytes], int] | None = None
        self._opened = False

    def prefetch(self) -> None:
        """Begin with the first part, if there is room and nobody has yet."""
        wanted = PART_BYTES if self._size is None else min(PART_BYTES, self._size)
        with self._lock:
            if self._first is None and not self._opened and self._downloads.take_room(wanted):
                self._first = self._downloads.fetch(self._fetch, 0, wanted), wanted

    def open(self) -> BinaryIO:
        """Return the object's bytes as a stream."""
        with self._lock:
            self._opened = True
            first, self._first = self._first, None
        return cast(BinaryIO, _Stream(self._downloads, self._fetch, self._size, first))

    def give_up(self) -> None:
        """Give the room of the first part back if it is not going to be opened."""
        with self._lock:
            first, self._first = self._first, None
            self._opened = True
        if first is not None:
            first[0].cancel()
            self._downloads.give_room(first[1])


class _Stream(io.RawIOBase):
    """Reads part after part, the next one fetched while one is read."""

    def __init__(
        self,
        downloads: Downloads,
        fetch: Fetch,
        size: int | None,
        first: tuple[Future[bytes], int] | None,
    ) -> None:
        self._downloads = downloads
        self._fetch = fetch
        self._size = size
        self._next = first
        self._part = b""
        self._taken = 0  # room that the current part takes
        self._at = 0
        self._end = 0  # of what was asked for so far
        if first is not None:
            self._end = first[1]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return what is at hand, at most size bytes; empty at the end. Raises OSError."""
        while self._at >= len(self._part):
            if not self._advance():
                return b""
        end = len(self._part) if size < 0 else self._at + size
        data = self._part[self._at : end]
        self._at += len(data)
        return data

    read1 = read

    def close(self) -> None:
        if not self.closed:
            self._release()
            if self._next is not None:
                self._next[0].cancel()
                self._downloads.give_room(self._next[1])
                self._next = None
        super().close()

    def _release(self) -> None:
        self._downloads.give_room(self._taken)
        self._taken = 0
        self._part = b""
        self._at = 0

    def _advance(self) -> bool:
        self._release()
        upcoming, self._next = self._next, None
        if upcoming is None:
            if self._is_at_end():
                return False
            begin = self._end
            self._end = self._bounded(begin + _SMALL_PART_BYTES)
            wanted = self._end - begin
            self._part = self._downloads.fetch(self._fetch, begin, self._end).result()
        else:
            future, self._taken = upcoming
            wanted = self._taken
            self._part = future.result()
        if len(self._part) < wanted and self._size is None:
            self._size = self._end - wanted + len(self._part)
        if not self._part:
            self._size = min(self._size or 0, self._end)
            return False
        if not self._is_at_end():
            begin = self._end
            end = self._bounded(begin + PART_BYTES)
            if self._downloads.take_room(end - begin):
                self._end = end
                self._next = self._downloads.fetch(self._fetch, begin, end), end - begin
        return True

    def _is_at_end(self) -> bool:
        return self._size is not None and self._end >= self._size

    def _bounded(self, end: int) -> int:
        return end if self._size is None else min(end, self._size)
