"""The shipper's side of the segments: what is new, what is final, what is settled.

Owns the offsets of every segment while the shipper runs. Takes complete lines
only. Knows nothing of sinks, and changes no file but to delete a segment that
is settled to its end.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from mirrorproxy.spool.checkpoint import Totals
from mirrorproxy.spool.files import is_unlocked, newlines
from mirrorproxy.spool.segment import SEGMENTS, SegmentName, parse_name

Fate = Literal["shipped", "quarantined", "discarded", "torn"]

_CHUNK_BYTES = 1024 * 1024
_COARSE_NS = 2_000_000_000  # the coarsest file systems in use count in two seconds


@dataclass
class Span:
    """Bytes of one segment that meet one fate, None as long as it is open.

    bodies: references of the body objects that its lines name.
    """

    segment: Segment
    start: int
    end: int
    count: int
    bodies: tuple[str, ...] = ()
    fate: Fate | None = None

    def read(self) -> bytes:
        """Return the bytes again. Raises OSError."""
        return _read(self.segment.path, self.start, self.end - self.start)


@dataclass
class Segment:
    """One segment. size: bytes when last looked at; settled <= taken <= size.

    final: its writer has let go of it. final_at: when that was first seen, by
    the monotonic clock. counted and lines: complete lines before an offset, of
    those that stand behind the offset settled when it was opened.
    """

    name: SegmentName
    path: Path
    settled: int = 0
    taken: int = 0
    size: int = -1
    final: bool = False
    final_at: float = 0.0
    counted: int = 0
    lines: int = 0
    lines_settled: int = 0
    spans: deque[Span] = field(default_factory=deque)

    @property
    def is_done(self) -> bool:
        """Whether nothing can come any more and all that came is settled."""
        return self.final and self.settled == self.size


class Chunk(NamedTuple):
    """Complete lines of one segment that nobody has taken yet. line_count: how many."""

    segment: Segment
    start: int
    lines: bytes
    line_count: int


class Tail:
    """All segments of one spool. offsets: by segment name, of the checkpoint."""

    def __init__(self, spool: Path, offsets: dict[str, int]) -> None:
        self._folder = spool / SEGMENTS
        self._offsets = offsets
        self._folder_seen = -1
        self.segments: dict[SegmentName, Segment] = {}

    def refresh(self, now: float) -> None:
        """Look for new segments, growth, and writers that let go. Raises OSError."""
        self._list()
        for name, segment in list(self.segments.items()):
            if segment.final:
                continue
            try:
                self._look(segment, now)
            except FileNotFoundError:
                del self.segments[name]

    def chunks(self, limit: int) -> Iterator[Chunk]:
        """Yield complete lines that nobody has taken, oldest segments first.

        limit: how many bytes in all; a longer line comes whole, and alone.
        Raises OSError.
        """
        left = limit
        for segment in list(self.segments.values()):
            if segment.taken == segment.size:
                continue
            lines = _complete_lines(segment, left, whole=left == limit)
            if lines:
                left -= len(lines)
                yield Chunk(segment, segment.taken, lines, newlines(lines))
            elif left < limit:
                return  # the next line may not fit: it begins the next round
            elif segment.final:
                self._tear(segment)
            if left <= 0:
                return

    def take(self, chunk: Chunk, spans: list[Span]) -> None:
        """Note that a chunk is on its way, as spans that cover it in order."""
        segment = chunk.segment
        segment.taken += len(chunk.lines)
        segment.spans.extend(spans)
        if segment.counted <= chunk.start:
            segment.lines += sum(span.count for span in spans)
            segment.counted = segment.taken
        elif segment.counted < segment.taken:
            segment.lines += newlines(chunk.lines, segment.counted - chunk.start)
            segment.counted = segment.taken

    def advance(self, totals: Totals) -> list[Span]:
        """Settle every span that met its fate and has no open one before it.

        Adds the lines to totals by fate; returns the spans.
        """
        done = []
        for segment in self.segments.values():
            spans = segment.spans
            while spans and (fate := spans[0].fate):
                span = spans.popleft()
                segment.settled = span.end
                segment.lines_settled += span.count
                lines = 1 if fate == "torn" else span.count
                setattr(totals, fate, getattr(totals, fate) + lines)
                done.append(span)
        return done

    def offsets(self) -> dict[str, int]:
        """Return the settled offset of every segment that has one, by name."""
        return {
            str(name): segment.settled for name, segment in self.segments.items() if segment.settled
        }

    def count_waiting(self) -> tuple[int, int]:
        """Return how many lines and bytes are not settled. Raises OSError."""
        lines = size = 0
        for segment in self.segments.values():
            if segment.counted < segment.size:
                found, end = _count(segment.path, segment.counted)
                segment.lines += found
                segment.counted = end
            lines += segment.lines - segment.lines_settled
            size += max(0, segment.size - segment.settled)
        return lines, size

    def known_waiting(self) -> int:
        """Return how many lines are not settled, of those that were counted before."""
        return sum(segment.lines - segment.lines_settled for segment in self.segments.values())

    def oldest_us(self) -> int | None:
        """Return when the oldest segment that is not settled was made, None if all are."""
        return next(
            (
                name.created_us
                for name, segment in self.segments.items()
                if segment.settled < segment.size
            ),
            None,
        )

    def delete_done(self, final_before: float) -> int:
        """Delete segments that are done, and were seen final before a moment; return how many.

        Raises OSError.
        """
        deleted = 0
        for name, segment in list(self.segments.items()):
            if segment.is_done and segment.final_at <= final_before and _delete(segment):
                del self.segments[name]
                deleted += 1
        return deleted

    def _list(self) -> None:
        try:
            seen = os.stat(self._folder).st_mtime_ns
            if seen == self._folder_seen:
                return
            # A folder's time is coarse: what is made in the same tick does not change it again.
            settled = time.time_ns() - seen > _COARSE_NS
            listed = os.listdir(self._folder)
        except FileNotFoundError:
            # A folder that is away, such as a mount, may come back: nothing is shipped twice then.
            self._offsets.update(self.offsets())
            self.segments.clear()
            self._folder_seen = -1
            return
        names = {name for text in listed if (name := parse_name(text))}
        for name in self.segments.keys() - names:
            del self.segments[name]
        for name in names - self.segments.keys():
            offset = self._offsets.get(str(name), 0)
            path = self._folder / str(name)
            self.segments[name] = Segment(name, path, offset, offset, counted=offset)
        self.segments = dict(sorted(self.segments.items()))
        self._folder_seen = seen if settled else -1

    def _look(self, segment: Segment, now: float) -> None:
        size = os.stat(segment.path).st_size
        if size == segment.size and is_unlocked(segment.path):
            # Only what is measured after the lock was seen free is the last word.
            size = os.stat(segment.path).st_size
            segment.final = True
            segment.final_at = now
        segment.size = max(size, segment.settled)

    @staticmethod
    def _tear(segment: Segment) -> None:
        span = Span(segment, segment.taken, segment.size, 0, fate="torn")
        segment.spans.append(span)
        segment.taken = segment.counted = segment.size


def _complete_lines(segment: Segment, limit: int, *, whole: bool) -> bytes:
    """Return complete lines up to a limit; whole: the first one however long it is."""
    left = segment.size - segment.taken
    data = _read(segment.path, segment.taken, min(limit, left))
    end = data.rfind(b"\n") + 1
    while whole and not end and len(data) < left:
        more = _read(segment.path, segment.taken + len(data), min(_CHUNK_BYTES, left - len(data)))
        if not more:
            break
        end = more.find(b"\n") + 1
        end = end and len(data) + end
        data += more
    return data[:end]


def _read(path: Path, start: int, size: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        data: bytes = file.read(size)
        return data


def _count(path: Path, start: int) -> tuple[int, int]:
    """Return how many complete lines stand behind an offset, and where the last one ends."""
    lines, end, at = 0, start, start
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        while chunk := file.read(_CHUNK_BYTES):
            if found := newlines(chunk):
                lines += found
                end = at + chunk.rfind(b"\n") + 1
            at += len(chunk)
    return lines, end


def _delete(segment: Segment) -> bool:
    """Delete a segment, unless a writer has locked it after all.

    A writer has made a file a moment before it locks it: an empty segment may look final then.
    """
    try:
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_size > segment.size:
            segment.final = False
            return False
        os.unlink(segment.path)
    except BlockingIOError:
        segment.final = False
        return False
    finally:
        os.close(fd)
    return True
