"""Segments: append-only files of lines, one writer each.

Owns the segments' names and the writer's side of the boundary between the data
plane and shipping. A worker makes and locks its segment and never reopens an
old one; a free lock means that the segment is final. Only the shipper deletes.
The writer never waits for the shipper and never reads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mirrorproxy.clock import wall_us
from mirrorproxy.spool.body import BodyFile
from mirrorproxy.spool.files import newlines
from mirrorproxy.spool.room import Room, SpoolFull

__all__ = ["SegmentName", "SegmentWriter", "SpoolFull", "count_lines", "parse_name"]

SEGMENTS = "segments"

_NAME = re.compile(r"([0-9]{16})-([0-9]{1,9})-([0-9]{1,19})\.ndjson")
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
_CHECK_INTERVAL_S = 1.0
_CHUNK_BYTES = 1024 * 1024


class SegmentName(NamedTuple):
    """What a segment's name says; sorts by time. created_us: microseconds since 1970."""

    created_us: int
    slot: int
    seq: int

    def __str__(self) -> str:
        return f"{self.created_us:016d}-{self.slot}-{self.seq}.ndjson"

    def path(self, spool: Path) -> Path:
        """Return where the segment lies in a spool."""
        return spool / SEGMENTS / str(self)


def parse_name(name: str) -> SegmentName | None:
    """Return what a file's name says, None if it is no segment's."""
    match = _NAME.fullmatch(name)
    return SegmentName(*map(int, match.groups())) if match else None


def count_lines(path: Path, from_offset: int) -> int:
    """Return how many complete lines stand behind an offset in bytes.

    Raises FileNotFoundError if the segment is gone, OSError if it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        file.seek(from_offset)
        count = 0
        while chunk := file.read(_CHUNK_BYTES):
            count += newlines(chunk)
        return count


class SegmentWriter:
    """Appends lines to segments of one slot. Used by one thread of one process.

    directory: the spool. slot: the worker's number. max_segment_bytes,
    max_age_s: a segment ends at the first append past one of them.
    limit_bytes: the bound of the whole spool. The first segment is made by the
    first append.
    """

    def __init__(
        self,
        directory: Path,
        slot: int,
        *,
        max_segment_bytes: int = 64 << 20,
        max_age_s: float = 10.0,
        limit_bytes: int = 4 << 30,
        now_us: Callable[[], int] = wall_us,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = directory
        self._slot = slot
        self._max_bytes = max_segment_bytes
        self._max_age_s = max_age_s
        self._now_us = now_us
        self._monotonic = monotonic
        self._room = Room(directory, limit_bytes, monotonic=monotonic)
        self._fd = -1
        self._end_at = 0.0
        self._check_at = 0.0
        self.created_us = 0
        self.seq = 0
        self.size = 0
        """created_us and seq name the segment being written; size: its bytes so far."""

    def append(self, line: bytes) -> None:
        """Append one line, its newline included, by a single write.

        Raises SpoolFull or OSError; the segment then holds nothing of the line.
        """
        self._room.take(len(line))
        now = self._monotonic()
        if self._fd < 0 or now >= self._check_at:
            self._check(now)
        if self._size_after(line) > self._max_bytes or now >= self._end_at:
            self._next(now)
        try:
            written = os.write(self._fd, line)
        except OSError:
            self._take_back()
            raise
        if written != len(line):
            self._take_back()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def open_body(self, ref: str) -> BodyFile:
        """Begin a body object; its record is appended after the body's commit.

        ref: of `keys.body_ref`. Raises OSError if the file cannot be made.
        """
        return BodyFile(self._spool, ref, self._room)

    def sync(self) -> None:
        """Make what was appended to the segment survive a power failure. Raises OSError."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """End the segment; the next append begins another one."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _size_after(self, line: bytes) -> int:
        # A line longer than a segment still gets one of its own.
        return self.size + len(line) if self.size else 0

    def _check(self, now: float) -> None:
        self._check_at = now + _CHECK_INTERVAL_S
        # A segment that was deleted under its writer would take every further line with it.
        if self._fd < 0 or os.fstat(self._fd).st_nlink == 0:
            self._next(now)

    def _next(self, now: float) -> None:
        self.close()
        while True:
            name = SegmentName(self._now_us(), self._slot, self.seq + 1)
            self.seq = name.seq
            try:
                fd = self._create(name)
            except FileExistsError:  # of a killed worker, by a clock that was set back
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # The shipper tested the lock before we had it: it owns this empty file now.
                os.close(fd)
                continue
            if os.fstat(fd).st_nlink:
                break
            os.close(fd)
        self._fd = fd
        self.created_us = name.created_us
        self.size = 0
        self._end_at = now + self._max_age_s
        self._check_at = now + _CHECK_INTERVAL_S

    def _create(self, name: SegmentName) -> int:
        path = name.path(self._spool)
        try:
            return os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(path, _FLAGS, 0o600)

    def _take_back(self) -> None:
        """Cut off what a failed write may have left, or else end the segment there."""
        try:
            os.ftruncate(self._fd, self.size)
        except OSError:
            self.close()
