"""Outcomes: what is said of a flight when it has ended, and where it is written.

Owns the outcome of a flight and the file of outcome lines. The file is written
by a thread, so that a slow disk never holds up what is being sent. Outcomes
hold no header, target or body: nothing secret can get into them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

import msgspec

from mirrorproxy.http1.client import Failure
from mirrorproxy.outcome import Outcome, Production
from mirrorproxy.replay.flight import Flight

_CHUNK_LINES = 256
_MAX_WAITING = 65_536
_PAUSE_S = 0.02


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
    production = Production(shot.duration_us, shot.status, shot.failure)
    due_us = wall_us + int(flight.due_s * 1e6)
    if latency_us is None:
        return Outcome(
            id=shot.exchange_id,
            copy=shot.copy,
            target=shot.target,
            due_us=due_us,
            production=production,
            rule=shot.rule,
            shed=shed,
            unsent=is_unsent,
        )
    return Outcome(
        id=shot.exchange_id,
        copy=shot.copy,
        target=shot.target,
        due_us=due_us,
        production=production,
        rule=shot.rule,
        lag_us=flight.lag_us,
        lag_cause=flight.lag_cause,
        latency_us=latency_us,
        status=flight.status if failure is None else None,
        failure=None if failure is None else failure.kind,
        differs=flight.differs,
    )


class OutcomeFile:
    """A file of outcomes, one JSON object a line, replaced if it is there.

    Raises OSError if it cannot be made. A write that fails later is kept in
    `error` and ends the writing, never the replay. What was taken is with the
    system some hundredths of a second later: of a replay that is killed little
    is missing, and a report can count what others sent again.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._file = path.open("wb")
        self._encoder = msgspec.json.Encoder()
        self._waiting: deque[Outcome] = deque()
        self._closing = threading.Event()
        self._worker = threading.Thread(target=self._write, name="outcomes", daemon=True)
        self._worker.start()

    def add(self, outcome: Outcome) -> None:
        """Take one outcome; it is written soon."""
        self._waiting.append(outcome)
        # Bounded: a disk that hangs for good must not take the memory too.
        while len(self._waiting) > _MAX_WAITING:
            time.sleep(_PAUSE_S)

    def close(self) -> None:
        """Write everything and close the file."""
        self._closing.set()
        self._worker.join()
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error

    def _write(self) -> None:
        while True:
            is_last = self._closing.wait(_PAUSE_S)
            while count := min(len(self._waiting), _CHUNK_LINES):
                chunk = [self._waiting.popleft() for _ in range(count)]
                if self.error is None:
                    try:
                        # Many lines at once cost half of what each alone would.
                        self._file.write(self._encoder.encode_lines(chunk))
                        self._file.flush()
                    except OSError as error:
                        self.error = error
            if is_last:
                return
