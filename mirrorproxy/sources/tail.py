"""Following a capture: objects that are written while it is read.

Owns the looking for new objects and the checkpoint. Objects do not come in the
order of their keys, so each look goes back as far as one may still come late.
Looks in a thread; never reads an object.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from mirrorproxy import keys
from mirrorproxy.errors import SourceError
from mirrorproxy.sources.arrivals import Arrivals
from mirrorproxy.sources.events import Account, CaptureObject
from mirrorproxy.sources.progress import Progress, save
from mirrorproxy.sources.span import BUFFER_US, Span

LOOK_S = 1.0
"""How often a directory is looked at."""

LOOK_S3_S = 5.0
"""How often a bucket is: each look is a paid request or two."""


class Seen(NamedTuple):
    """An object that was found; see `s3.Found`."""

    source: CaptureObject
    prefetch: Callable[[], None] | None


Look = Callable[[Span, Callable[[str], Account | None]], Iterable[Seen]]
"""Finds the objects that may hold a span, skipping those without an account. Raises SourceError."""


class Tail:
    """Hands over every object once, as it appears.

    progress: where to go on. lookback_us: how much earlier than now the time in a
    new object's key may be. checkpoint: kept up to date, None for none.
    """

    def __init__(
        self,
        look: Look,
        arrivals: Arrivals,
        progress: Progress,
        *,
        look_s: float,
        lookback_us: int,
        wall_us: Callable[[], int],
        stopping: threading.Event,
        on_problem: Callable[[str | None], None],
        checkpoint: Path | None = None,
        idle_exit_s: float | None = None,
    ) -> None:
        self._look = look
        self._arrivals = arrivals
        self._progress = progress
        # At least one look must have found nothing before it is called idle.
        self._look_s = look_s if idle_exit_s is None else min(look_s, idle_exit_s / 2)
        self._lookback_us = lookback_us
        self._wall_us = wall_us
        self._stopping = stopping
        self._on_problem = on_problem
        self._checkpoint = checkpoint
        self._idle_exit_s = idle_exit_s
        self._lock = threading.Lock()
        # By name, with the time in the key; 0 where it says none.
        self._under_way: dict[str, int] = {}
        self._done = {name: keys.time_us(name) or 0 for name in progress.done}
        self._changed = True
        self._busy_s = time.monotonic()
        self._has_problem = False
        self._thread = threading.Thread(target=self._work, name="tail", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Write the checkpoint a last time; `stopping` must be set."""
        if self._thread.ident is not None:
            self._thread.join(self._look_s + 5)
        self._keep()

    @property
    def in_hand(self) -> int:
        """How many objects are being worked on."""
        return len(self._under_way)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look_once()
            except SourceError as error:
                self._problem(str(error))
            else:
                self._keep()
            if self._is_idle():
                self._arrivals.end()
                return
            self._stopping.wait(self._look_s)

    def _look_once(self) -> None:
        floor_us = self._progress.floor_us
        span = Span(floor_us + BUFFER_US)
        for seen in self._look(span, self._account):
            source = seen.source
            with self._lock:
                self._under_way[source.name] = source.time_us or 0
            self._busy_s = time.monotonic()
            if not self._arrivals.add(*seen):
                return
        if self._has_problem:
            self._problem(None)

    def _account(self, name: str) -> Account | None:
        with self._lock:
            if name in self._under_way or name in self._done:
                return None
        return Account(lambda: self._ended(name))

    def _ended(self, name: str) -> None:
        with self._lock:
            self._done[name] = self._under_way.pop(name, 0)
            self._changed = True
        self._busy_s = time.monotonic()

    def _keep(self) -> None:
        """Raise the floor as far as nothing may come any more, and write it down."""
        with self._lock:
            unfinished = [at_us for at_us in self._under_way.values() if at_us]
            floor_us = min(
                [self._wall_us() - self._lookback_us - BUFFER_US, *unfinished], default=0
            )
            floor_us = max(floor_us, self._progress.floor_us)
            # Those without a time in their keys are found by every look.
            self._done = {n: at for n, at in self._done.items() if at >= floor_us or not at}
            self._progress.floor_us = floor_us
            self._progress.done = sorted(self._done)
            changed, self._changed = self._changed, False
        if self._checkpoint is None or not changed:
            return
        try:
            save(self._checkpoint, self._progress)
        except OSError as error:
            self._changed = True
            self._problem(f"{self._checkpoint}: {error.strerror}")

    def _problem(self, text: str | None) -> None:
        self._has_problem = text is not None
        self._on_problem(text)

    def _is_idle(self) -> bool:
        if self._under_way or self._idle_exit_s is None:
            return False
        return time.monotonic() - self._busy_s >= self._idle_exit_s
