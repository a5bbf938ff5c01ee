"""Time-outs without a timer each: one coarse tick looks at every connection's deadline.

Setting a deadline is one attribute; ten thousand idle connections cost about a
millisecond a second.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

NEVER = float("inf")


class HasDeadline(Protocol):
    """Something that is told when its `deadline` (the loop's clock, seconds) has passed."""

    deadline: float

    def on_deadline(self, now: float) -> None:
        """Act on it, and set `deadline` anew (NEVER for none)."""
        ...


class Deadlines:
    """Watches the deadlines of the connections that are added to it.

    tick_s: how late a deadline may be noticed, in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tick_s: float = 0.25) -> None:
        self._loop = loop
        self._tick_s = tick_s
        self._watched: set[HasDeadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: HasDeadline) -> None:
        """Watch it from now on."""
        self._watched.add(watched)
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def discard(self, watched: HasDeadline) -> None:
        """Watch it no more."""
        self._watched.discard(watched)

    def close(self) -> None:
        """Stop ticking."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        for watched in [w for w in self._watched if w.deadline <= now]:
            watched.on_deadline(now)
        if self._watched:
            self._timer = self._loop.call_later(self._tick_s, self._tick)
