"""The follower's life: reads an access log, records it, remembers how far it came.

Owns the loop, the heartbeat and the file with the position. What is recorded and
what is counted is the recorder's business. At least once: the position is
written after the records, so a kill repeats what came last, under the same ids.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from mirrorproxy.capture.breaker import Complaints
from mirrorproxy.capture.log_recorder import LogRecorder
from mirrorproxy.metrics import INDEX, Slot
from mirrorproxy.sources.follow import Line, LogFollower, Position
from mirrorproxy.spool.files import private
from mirrorproxy.spool.segment import SpoolFull

_log = logging.getLogger(__name__)

_POLL_S = 0.2
_RETRY_S = 0.5
_SAVE_INTERVAL_S = 1.0
_HEARTBEAT = INDEX["heartbeat_ns"]
_UNREADABLE = INDEX["dropped_unreadable"]

_decoder = msgspec.json.Decoder(Position)


class Segments(Protocol):
    """The writer, as far as its life goes."""

    def sync(self) -> None:
        """Make what was appended durable; raises OSError."""


def position_file(spool: Path, log: Path) -> Path:
    """Return where the position in a log is kept, in a spool."""
    name = hashlib.blake2b(os.fsencode(log.absolute()), digest_size=8).hexdigest()
    return spool / f"log-{name}.json"


def load_position(path: Path) -> Position | None:
    """Return a position that was kept, None if there is none. Raises OSError."""
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        _log.warning("%s is damaged: the log is read from its beginning", path)
        return None


def save_position(path: Path, position: Position) -> None:
    """Keep a position. Raises OSError; the former one is in force then."""
    temporary = path.with_name(f".{path.name}.part")
    with open(temporary, "wb", opener=private) as file:
        file.write(msgspec.json.encode(position))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Follower:
    """Follows one log until told to stop, then reads what is left of it.

    kept_in: the file of the position. wait: sleeps some seconds, or until told to
    stop; returns whether that is so. drain_timeout_s: how long the rest may take.
    """

    def __init__(
        self,
        log: LogFollower,
        recorder: LogRecorder,
        segments: Segments,
        slot: Slot,
        kept_in: Path,
        *,
        wait: Callable[[float], bool],
        drain_timeout_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._followed = log
        self._recorder = recorder
        self._segments = segments
        self._slot = slot
        self._kept_in = kept_in
        self._wait = wait
        self._drain_timeout_s = drain_timeout_s
        self._monotonic = monotonic
        self._complaints = Complaints()
        self._saved: Position | None = None
        self._save_at = 0.0
        self._deadline: float | None = None

    def run(self) -> None:
        """Follow; return when the end of the log was reached after being told to stop."""
        self._slot[INDEX["pid"]] = os.getpid()
        self._beat()
        # What is rotated away before anything of it was read is known by when we began.
        self._save()
        self._slot[INDEX["ready"]] = 1
        try:
            while not self._is_over():
                lines = self._read()
                if not self._record(lines):
                    break
                self._save_now_and_then()
                if not lines:
                    if self._deadline is not None:
                        break
                    self._pause(_POLL_S)
        finally:
            self._save()
            self._followed.close()
            self._slot[INDEX["ready"]] = 0

    def _beat(self) -> None:
        self._slot[_HEARTBEAT] = time.monotonic_ns()

    def _pause(self, seconds: float) -> None:
        """Sleep, and note when the end has begun."""
        self._beat()
        if self._wait(seconds) and self._deadline is None:
            self._deadline = self._monotonic() + self._drain_timeout_s

    def _is_over(self) -> bool:
        # A busy log never lets us pause: its end must be heard of in between.
        self._pause(0)
        return self._deadline is not None and self._monotonic() >= self._deadline

    def _read(self) -> list[Line]:
        try:
            return self._followed.read()
        except OSError as error:
            self._complain(f"the log cannot be read: {error.strerror}")
            self._pause(_RETRY_S)
            return []

    def _record(self, lines: list[Line]) -> bool:
        """Record lines, each as often as it takes; False if the time was up before the last."""
        for line in lines:
            before = self._slot[_UNREADABLE]
            while True:
                try:
                    self._recorder.record(line.data)
                    break
                except SpoolFull:
                    self._complain("the spool is full: the log waits")
                except OSError as error:
                    self._complain(f"the spool cannot be written: {error.strerror}")
                if self._deadline is not None:
                    return False
                self._pause(_RETRY_S)
            if self._slot[_UNREADABLE] != before:
                self._complain(f"a line is not recorded: {self._recorder.complaint}")
            self._followed.settle(line.end)
        return True

    def _save_now_and_then(self) -> None:
        if self._monotonic() >= self._save_at:
            self._save()

    def _save(self) -> None:
        self._save_at = self._monotonic() + _SAVE_INTERVAL_S
        position = self._followed.position
        if position is None or position == self._saved:
            return
        try:
            self._segments.sync()
            save_position(self._kept_in, position)
        except OSError as error:
            self._complain(f"the position cannot be kept: {error.strerror}")
            return
        self._saved = position

    def _complain(self, what: str) -> None:
        if count := self._complaints.add(self._monotonic()):
            _log.warning("%s (%d since the last time)", what, count)
