"""Large bodies on their way: a file each, beside the segments.

Owns how a body gets into the spool and how one that no record names gets out.
A body has a temporary, locked name until it is complete, and its record is
appended only after that: a crash leaves bodies without a record, never a
record without its body.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mirrorproxy.keys import BODIES
from mirrorproxy.spool.files import is_unlocked
from mirrorproxy.spool.room import Room

_PART = ".part"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class BodyFile:
    """One body being written. Ends with commit or discard; both may be called again."""

    def __init__(self, spool: Path, ref: str, room: Room) -> None:
        """ref: of `keys.body_ref`. Raises OSError if the file cannot be made."""
        self._path = spool / ref
        self._temporary = self._path.with_name(f".{self._path.name}{_PART}")
        self._room = room
        self.size = 0
        try:
            self._fd = self._create()
        except FileNotFoundError:
            # The sweep may remove an empty folder between making it and using it.
            self._fd = self._create()

    def _create(self) -> int:
        self._temporary.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._temporary, _FLAGS, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd

    def write(self, data: bytes) -> None:
        """Append data. Raises SpoolFull or OSError; the caller then discards the body."""
        self._room.take(len(data))
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self.size += len(data)

    def commit(self) -> None:
        """Give the complete body its name. Raises OSError if that fails."""
        if self._fd < 0:
            return
        os.utime(self._fd)  # the sweep reckons from when the body was complete
        self._temporary.rename(self._path)
        self._close()

    def discard(self) -> None:
        """Remove the body, unless it is committed. Never raises: the sweep removes what stays."""
        if self._fd < 0:
            return
        try:
            self._temporary.unlink()
        except OSError:
            return
        finally:
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


def sweep(spool: Path, before_s: float) -> int:
    """Remove bodies that no record can name any more, and empty folders; return how many bodies.

    before_s: seconds since 1970; a complete body goes if it is older, a
    temporary one if it is older and no process has it open. The caller knows
    that every record appended until then has left the spool.
    Raises OSError if the folder cannot be read or changed.
    """
    removed = 0
    for path in _files(os.fspath(spool / BODIES)):
        try:
            if os.stat(path).st_mtime >= before_s:
                continue
            if path.endswith(_PART) and not is_unlocked(path):
                continue
            os.unlink(path)
            removed += 1
        except FileNotFoundError:
            continue
    return removed


def _files(folder: str, depth: int = 0) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except FileNotFoundError:
        return
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, depth + 1)
        else:
            yield entry.path
    if depth and not listed:
        try:
            os.rmdir(folder)
        except OSError:  # a worker has just put a body into it
            return
