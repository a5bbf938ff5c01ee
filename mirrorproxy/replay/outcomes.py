"""Outcomes: what is said of a flight when it has ended, and where it is written.

Owns the outcome of a flight and the file of outcome lines. The file is written
by a thread, so that a slow disk never holds up what is being sent. Outcomes
hold no header, target or body: nothing secret can get into them.
"""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import msgspec

from mirrorproxy.http1.client import Failure
from mirrorproxy.outcome import Outcome, Production
from mirrorproxy.replay.flight import Flight

_CHUNK_BYTES = 64 * 1024
_MAX_CHUNKS = 256


def outcome_of(
    flight: Flight,
    wall_us: int,
    *,
    latency_us: int | None = None,
    failure: Failure | None = None,
    shed: str | None = None,
    is_unsent: bool = False,
) -> Outcome:
    """Return the outcome of a flight that has ended.

    wall_us: the wall clock in microseconds when the flight's clock was 0.
    latency_us: for what was sent; an answer's status is the flight's own.
    """
    shot = flight.shot
    was_sent = latency_us is not None
    return Outcome(
        id=shot.exchange_id,
        copy=shot.copy,
        target=shot.target,
        due_us=wall_us + int(flight.due_s * 1e6),
        production=Production(shot.duration_us, shot.status, shot.failure),
        rule=shot.rule,
        lag_us=max(int((flight.sent_s - flight.due_s) * 1e6), 0) if was_sent else None,
        lag_cause=flight.lag_cause if was_sent else None,
        latency_us=latency_us,
        status=flight.status if was_sent and failure is None else None,
        failure=failure.kind if failure is not None else None,
        shed=shed,
        unsent=is_unsent,
    )


class OutcomeFile:
    """A file of outcomes, one JSON object a line, replaced if it is there.

    Raises OSError if it cannot be made. A write that fails later is kept in
    `error` and ends the writing, never the replay.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._file = path.open("wb")
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()
        # Bounded: a disk that hangs for good must not take the memory too.
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_MAX_CHUNKS)
        self._thread = threading.Thread(target=self._write, name="outcomes", daemon=True)
        self._thread.start()

    def add(self, outcome: Outcome) -> None:
        """Take one outcome; it is written soon."""
        buffer = self._buffer
        self._encoder.encode_into(outcome, buffer, -1)
        buffer += b"\n"
        if len(buffer) >= _CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand on what has gathered."""
        if self._buffer:
            self._chunks.put(bytes(self._buffer))
            self._buffer.clear()

    def close(self) -> None:
        """Write everything and close the file."""
        self.flush()
        self._chunks.put(None)
        self._thread.join()
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error

    def _write(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            if self.error is None:
                try:
                    self._file.write(chunk)
                    self._file.flush()
                except OSError as error:
                    self.error = error
