"""The directory sink: the very object layout that Firehose leaves in S3, in a folder.

Owns what it writes there and nothing else. An object is written under a
temporary, locked name in ``.incoming/`` and appears under its key, complete and
on the disk, by a rename; only then its packs are settled. So neither a killed
process nor a folder that goes away loses a line. A line stands twice only where
the shipper is killed between the rename and its checkpoint.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mirrorproxy.errors import SinkRejected, SinkUnavailable
from mirrorproxy.keys import object_key
from mirrorproxy.members import pack as pack_member
from mirrorproxy.packs import Pack, Receipt, Shape, SinkState

ROLL_BYTES = 64 * 1024 * 1024
ROLL_AGE_S = 10.0

_INCOMING = ".incoming"
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES}


class DirectorySink:
    """Writes gzip objects of lines and body objects below a folder.

    directory: made if it is missing. stream: the first part of object names,
    see `keys.object_key`. roll_bytes, roll_age_s: an object ends when it has so
    many bytes, is so old, or holds so long a stretch of captured time.
    Raises ValueError for a stream that can't be a name, SinkUnavailable if the
    folder cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        stream: str,
        *,
        roll_bytes: int = ROLL_BYTES,
        roll_age_s: float = ROLL_AGE_S,
        monotonic: Callable[[], float] = time.monotonic,
        unique: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        object_key("", stream, 0, "x")
        self.shape = Shape()
        self._directory = directory
        self._incoming = directory / _INCOMING
        self._stream = stream
        self._roll_bytes = roll_bytes
        self._roll_age_s = roll_age_s
        self._monotonic = monotonic
        self._unique = unique
        self._object: _Object | None = None
        self._settled: list[Receipt] = []
        with self._translated():
            directory.mkdir(parents=True, exist_ok=True)
            self._remove_stale()

    def put_body(self, ref: str, path: Path) -> None:
        """Store a body object; by a link where the file system allows it."""
        target = self._directory / ref
        with self._translated():
            size = path.stat().st_size
            if target.exists() and target.stat().st_size == size:
                return
            self._make_incoming()
            temporary = self._incoming / f"{self._unique()}.part"
            try:
                _link_or_copy(path, temporary)
                self._publish(temporary, target)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    def put(self, pack: Pack) -> None:
        """Append the pack as one gzip member to the object being written."""
        try:
            member = pack_member(pack.lines, pack.count)
        except ValueError as error:
            raise SinkRejected(str(error)) from error
        with self._translated():
            if self._object and self._is_far(self._object, pack):
                self._end()
            if self._object is None:
                self._make_incoming()
                self._object = _Object(self._incoming, self._unique(), pack, self._monotonic())
            self._object.add(pack.number, member)
            if self._object.size >= self._roll_bytes:
                self._end()

    def has_room(self) -> bool:
        """Always: what is put lies in the folder."""
        return True

    def poll(self) -> None:
        """End the object if it is old enough."""
        if self._object and self._monotonic() - self._object.began_s >= self._roll_age_s:
            self.flush()

    def flush(self) -> None:
        """End the object being written, if there is one."""
        with self._translated():
            self._end()

    def held(self) -> Collection[int]:
        """Return the packs in the object being written."""
        return self._object.numbers if self._object else ()

    def state(self) -> SinkState:
        """Nothing is tried again here: the shipper does it."""
        return SinkState()

    def settled(self) -> list[Receipt]:
        """Return the packs whose object is in place."""
        settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Give up the object being written."""
        if self._object:
            self._object.drop()
            self._object = None

    def _is_far(self, current: _Object, pack: Pack) -> bool:
        # After an outage minutes of traffic arrive in a second: readers merge objects by the time
        # in their key, so each still holds a short stretch of captured time.
        return abs(pack.at_us - current.at_us) >= self._roll_age_s * 1e6

    def _end(self) -> None:
        current = self._object
        if current is None:
            return
        current.sync()
        key = object_key("", self._stream, current.at_us, current.unique)
        self._publish(current.path, self._directory / key)
        self._settled += [Receipt(number) for number in current.numbers]
        current.close()
        self._object = None

    def _publish(self, temporary: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(target)
        _sync_folder(target.parent)

    def _make_incoming(self) -> None:
        # Without parents: where the folder's own parent is gone, a mount has gone away.
        self._directory.mkdir(exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)

    def _remove_stale(self) -> None:
        """Remove what killed processes left; other mirrors that write here hold their locks."""
        if not self._incoming.exists():
            return
        for path in self._incoming.glob("*.part"):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            except BlockingIOError:
                continue
            finally:
                os.close(fd)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            reason = error.strerror or type(error).__name__
            raise SinkUnavailable(f"cannot write to {self._directory}: {reason}") from error


class _Object:
    """An object being written, under its temporary name."""

    def __init__(self, folder: Path, unique: str, first: Pack, now_s: float) -> None:
        self.unique = unique
        self.path = folder / f"{unique}.part"
        self.at_us = first.at_us
        self.began_s = now_s
        self.size = 0
        self.numbers: list[int] = []
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def add(self, number: int, member: bytes) -> None:
        view = memoryview(member)
        self.size += len(view)
        while view:
            view = view[os.write(self._fd, view) :]
        self.numbers.append(number)

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def drop(self) -> None:
        """Remove the file. Never raises: the next start removes what stays."""
        with suppress(OSError):
            self.path.unlink()
        with suppress(OSError):
            self.close()


def _link_or_copy(path: Path, temporary: Path) -> None:
    with open(path, "rb") as source:
        os.fsync(source.fileno())
        try:
            os.link(path, temporary)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            with open(temporary, "xb", opener=_private) as copy:
                shutil.copyfileobj(source, copy, 1024 * 1024)
                copy.flush()
                os.fsync(copy.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
