"""Following a log file through its rotations, from wherever it was left.

Owns the choice of which file is read next and from where. A file is known by its
first bytes, not by its name or number: so its rest is found again after it was
renamed, copied and cut (copytruncate) or compressed, while it was followed or
while nobody did. Memory is bounded whatever the lines. Never waits, never
writes; decodes nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from mirrorproxy.members import MAX_LINE_BYTES

_log = logging.getLogger(__name__)

HEAD_BYTES = 1024
"""So much of its beginning tells one file from another: lines begin with address and port."""

_CHUNK_BYTES = 256 * 1024
_GZIP = b"\x1f\x8b"
_TOO_LONG = b"\0"


class Position(msgspec.Struct, frozen=True):
    """How far a log was read.

    head: a hash of the file's first head_bytes bytes. offset: of the first byte
    that was not read, in bytes. changed_ns: when the file had last changed,
    nanoseconds since 1970; what was rotated before that was read before.
    """

    head_bytes: int
    head: str
    offset: int
    changed_ns: int


def nothing_read(now_ns: int) -> Position:
    """Return the position of a log that nobody has read yet, not even its beginning."""
    return Position(0, "", 0, now_ns)


class Line(NamedTuple):
    """One line without its newline, and where it ends in its file. A too long one is a NUL."""

    data: bytes
    end: int


class LogFollower:
    """The lines of a log that need not exist yet. Not for several threads at once.

    position: where to go on; None to begin at the beginning of the file that is there.
    Reading raises OSError.
    """

    def __init__(self, path: Path, position: Position | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._head = b""
        self._offset = 0
        self._settled = 0
        self._rest = bytearray()
        self._skips = False
        self._is_live = False
        self._next: tuple[Path, int] | None = None
        self._resume_at = position
        self._kept = position

    def read(self) -> list[Line]:
        """Return the next lines, none if there are none just now.

        To ask for more says that all lines given out before are dealt with.
        """
        self._settled = self._offset - len(self._rest)
        while True:
            if self._file is None and not self._open_next():
                return []
            file = self._file
            assert file is not None  # noqa: S101 - it was opened just now
            if self._is_live and self._was_cut(file):
                self._find_copy()
                continue
            data = _read(file)
            if data:
                if lines := self._split(data):
                    return lines
                continue
            successor = self._successor(file)
            if successor is None or not self._is_read(file):
                return []
            lines = self._last_line()
            self._leave()
            self._next = (successor, 0)
            if lines:
                return lines

    def settle(self, end: int) -> None:
        """Say that of the lines last given out those up to one's end are dealt with."""
        self._settled = end

    @property
    def position(self) -> Position | None:
        """Where to go on: behind what is dealt with. None before anything was read."""
        if self._file is None:
            return self._kept
        changed_ns = os.fstat(self._file.fileno()).st_mtime_ns
        return Position(len(self._head), _digest(self._head), self._settled, changed_ns)

    def close(self) -> None:
        """Read no further."""
        self._leave()

    # -- one file -----------------------------------------------------------------

    def _split(self, data: bytes) -> list[Line]:
        begin = self._offset
        if len(self._head) < HEAD_BYTES and begin == len(self._head):
            self._head += data[: HEAD_BYTES - begin]
        self._offset += len(data)
        lines: list[Line] = []
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = bytes(self._rest) + data[start:end]
            self._rest.clear()
            if self._skips or len(line) > MAX_LINE_BYTES:
                line = _TOO_LONG
            self._skips = False
            start = end + 1
            if line:
                lines.append(Line(line, begin + start))
        if not self._skips:
            self._rest += data[start:]
            if len(self._rest) > MAX_LINE_BYTES:
                self._skips = True
        if self._skips:
            self._rest.clear()
        return lines

    def _last_line(self) -> list[Line]:
        """Return what a finished file ends with in place of a whole line."""
        rest = bytes(self._rest)
        self._rest.clear()
        if self._skips:
            self._skips = False
            rest = _TOO_LONG
        return [Line(rest, self._offset)] if rest else []

    def _is_read(self, file: BinaryIO) -> bool:
        """Tell whether nothing came between the last look and the successor's first line."""
        if isinstance(file, gzip.GzipFile):
            return True
        return os.fstat(file.fileno()).st_size <= self._offset

    def _was_cut(self, file: BinaryIO) -> bool:
        if os.fstat(file.fileno()).st_size < self._offset:
            return True
        return os.pread(file.fileno(), len(self._head), 0) != self._head

    # -- one file after the other ---------------------------------------------------

    def _successor(self, file: BinaryIO) -> Path | None:
        """Return the file that the writer went over to, None while it may still write to ours.

        A file that was renamed is written to until the writer opens its name anew.
        """
        ours = os.fstat(file.fileno())
        there = _status(self._path)
        if self._is_live and (there is None or _is_same(there, ours)):
            return None
        for path in self._rotated(ours.st_mtime_ns):
            status = _status(path)
            is_other = status is not None and status.st_size and not _is_same(status, ours)
            if is_other and not self._is_copy(path):
                return path
        if there is None or not there.st_size or _is_same(there, ours):
            return None
        return self._path

    def _is_copy(self, path: Path) -> bool:
        """Tell whether a file begins as the current one does, such as its compressed copy."""
        head = self._head
        return bool(head) and _begins_with(path, Position(len(head), _digest(head), 0, 0))

    def _leave(self) -> None:
        if self._file is not None:
            self._kept = self.position
            self._file.close()
            self._file = None

    def _open_next(self) -> bool:
        if self._resume_at is not None:
            self._next = self._place_of(self._resume_at)
            self._resume_at = None
        path, offset = self._next or (self._path, 0)
        self._next = None
        try:
            self._open(path, offset)
        except FileNotFoundError:
            # A log that is not there yet; a rotated one was deleted just now.
            return path != self._path and self._open_next()
        return True

    def _open(self, path: Path, offset: int) -> None:
        file = _opened(path)
        try:
            self._head = b""
            self._offset = 0
            while self._offset < offset and (data := _read(file, offset - self._offset)):
                self._head += data[: HEAD_BYTES - len(self._head)]
                self._offset += len(data)
        except BaseException:
            file.close()
            raise
        self._file = file
        self._settled = self._offset
        self._rest.clear()
        self._skips = False
        self._is_live = path == self._path

    def _place_of(self, position: Position) -> tuple[Path, int]:
        """Return the file that a position is in, by whatever name, and where to go on in it."""
        if position.head_bytes:
            if _begins_with(self._path, position):
                return self._path, position.offset
            if copy := self._rotated_with(position):
                return copy, position.offset
        newer = self._rotated(position.changed_ns)
        if position.head_bytes and (newer or _status(self._path)):
            _log.warning(
                "%s: what was read last is gone; %d rotated files are read whole",
                self._path,
                len(newer),
            )
        return (newer[0] if newer else self._path), 0

    def _find_copy(self) -> None:
        """The log was cut: go on in the copy of it, if there is one, then at its beginning."""
        self._leave()
        left = self._kept
        if left is None or not left.head_bytes:
            return
        copy = self._rotated_with(left)
        if copy is not None:
            self._next = (copy, left.offset)
        else:
            _log.warning("%s was cut, and there is no copy: its last lines may be lost", self._path)

    def _rotated_with(self, position: Position) -> Path | None:
        """Return the rotated file that a position is in."""
        rotated = self._rotated(-1)[::-1]
        # One that is being compressed just now is there twice, and not yet whole as a gzip file.
        rotated.sort(key=lambda path: path.suffix == ".gz")
        return next((path for path in rotated if _begins_with(path, position)), None)

    def _rotated(self, after_ns: int) -> list[Path]:
        """Return the rotated files that changed after a moment, oldest first."""
        found: list[tuple[int, Path]] = []
        try:
            with os.scandir(self._path.parent) as entries:
                for entry in entries:
                    name, own = entry.name, self._path.name
                    if name.startswith((f"{own}.", f"{own}-")) and entry.is_file():
                        changed_ns = entry.stat().st_mtime_ns
                        if changed_ns > after_ns:
                            found.append((changed_ns, Path(entry.path)))
        except FileNotFoundError:
            return []
        return [path for _, path in sorted(found)]


def _opened(path: Path) -> BinaryIO:
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by who asked for it
    if file.read(2) == _GZIP:
        # Closing the outer one closes the inner one only if it made it itself.
        file.close()
        return gzip.open(path, "rb")  # type: ignore[return-value]
    file.seek(0)
    return file


def _read(file: BinaryIO, limit: int = _CHUNK_BYTES) -> bytes:
    try:
        return file.read(min(limit, _CHUNK_BYTES))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        _log.warning("%s is damaged: its rest is not read", getattr(file, "name", "a file"))
        return b""


def _begins_with(path: Path, position: Position) -> bool:
    """Tell whether a file is the one of a position, and long enough."""
    try:
        with _opened(path) as file:
            head = b""
            while len(head) < position.head_bytes and (
                data := _read(file, position.head_bytes - len(head))
            ):
                head += data
            if isinstance(file, gzip.GzipFile):
                is_long_enough = True
            else:
                is_long_enough = os.fstat(file.fileno()).st_size >= position.offset
    except OSError:
        return False
    return is_long_enough and _digest(head) == position.head


def _digest(head: bytes) -> str:
    return hashlib.blake2b(head, digest_size=16).hexdigest()


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
