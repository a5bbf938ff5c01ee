"""Choosing: which exchanges of a source go on to the rules, by their time alone.

Pure but for the clock it is given. Owns what is outside --from and --to, and
what is late. Everything that is passed over says why, so that it is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from mirrorproxy.sources.events import Captured, Event, PassedOver, Unreadable
from mirrorproxy.sources.span import Span

OUTSIDE_TIME = "outside time"
LATE = "late"

LATE_GRACE_US = 1_000_000
"""A shot that is planned later than its due time by less is sent at once, and not called late."""


class Taken(Protocol):
    """Where events come from; see `merge.Merge`."""

    def take(self) -> Event:
        """Return the next event."""

    def close(self) -> None:
        """Read no further."""


class Chosen:
    """The events of a source, the exchanges that are out of their time passed over.

    span: what is asked for. delay_us: an exchange is late when its due time, so
    much after its capture, has passed; None: when it came behind its turn.
    skips_late: whether late ones are passed over. wall_us: the wall clock. aside:
    what could not be read of what names the objects; others append to it.
    on_close: hears of `close`.
    """

    def __init__(
        self,
        source: Taken,
        span: Span,
        *,
        delay_us: int | None,
        skips_late: bool,
        wall_us: Callable[[], int],
        aside: deque[Unreadable],
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._span = span
        self._delay_us = delay_us
        self._skips_late = skips_late
        self._wall_us = wall_us
        self._aside = aside
        self._on_close = on_close

    def take(self) -> Event:
        """Return the next event. Raises what the source raises."""
        if self._aside:
            return self._aside.popleft()
        event = self._source.take()
        if not isinstance(event, Captured):
            return event
        exchange, source, is_late = event
        started_us = exchange.started_us
        if not self._span.holds(started_us):
            return PassedOver(OUTSIDE_TIME, source)
        if self._delay_us is not None:
            is_late = started_us + self._delay_us < self._wall_us() - LATE_GRACE_US
            event = Captured(exchange, source, is_late)
        if is_late and self._skips_late:
            return PassedOver(LATE, source)
        return event

    def close(self) -> None:
        """Read no further."""
        self._source.close()
        self._on_close()
