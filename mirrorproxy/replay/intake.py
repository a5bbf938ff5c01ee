"""The intake: from what a source yields to the shots that are to be sent.

Owns the counting of exchanges: each one read ends as a duplicate, skipped for
a reason, or selected. Does one event at a time, so that its caller can stop at
any moment. Never sends, never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from mirrorproxy.codec import MalformedRecord
from mirrorproxy.record import Exchange
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.rules.plan import Plan
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import (
    Captured,
    CaptureObject,
    Duplicate,
    Event,
    PassedOver,
    Signal,
    Unreadable,
)


class Source(Protocol):
    """Where exchanges come from; see `sources.merge.Merge`."""

    def take(self) -> Event:
        """Return the next event."""

    def close(self) -> None:
        """Read no further."""


class Planned(NamedTuple):
    """The shots of one exchange, and the object that its body would lie beside."""

    shots: Sequence[Shot]
    source: CaptureObject


class IntakeLike(Protocol):
    """What an engine plans from: an `Intake`."""

    def take(self) -> Planned | Signal:
        """Do one step."""

    def close(self) -> None:
        """Read no further."""


Planner = Callable[[Exchange, CaptureObject], Plan]
"""Makes the shots of an exchange, or says why there are none; see `rules.plan`.

The object is where a body that lies apart is read from, if a rule looks at it.
"""


class Intake:
    """Turns a source's events into planned shots; see the module.

    plan: the rules. on_unreadable: hears of every part that could not be read.
    """

    def __init__(
        self,
        source: Source,
        plan: Planner,
        ledger: Ledger,
        on_unreadable: Callable[[Unreadable], None],
    ) -> None:
        self._source = source
        self._plan = plan
        self._ledger = ledger
        self._on_unreadable = on_unreadable

    def take(self) -> Planned | Signal:
        """Do one step: return shots, or READING after one that gave none.

        Raises what the source raises.
        """
        event = self._source.take()
        if isinstance(event, Captured):
            return self._captured(event)
        if isinstance(event, Signal):
            return event
        if isinstance(event, Duplicate):
            self._ledger.read += 1
            self._ledger.duplicates += 1
        elif isinstance(event, PassedOver):
            self._ledger.read += 1
            self._ledger.skipped[event.reason] += 1
            _done(event.source)
        else:
            self._lost(event)
        return Signal.READING

    def close(self) -> None:
        """Read no further."""
        self._source.close()

    def _captured(self, captured: Captured) -> Planned | Signal:
        ledger = self._ledger
        try:
            plan = self._plan(captured.exchange, captured.source)
        except MalformedRecord as error:
            self._lost(Unreadable(captured.source.name, None, str(error), 1))
            _done(captured.source)
            return Signal.READING
        ledger.read += 1
        if captured.is_late:
            ledger.late += 1
        if plan.skipped is not None:
            ledger.skipped[plan.skipped] += 1
            _done(captured.source)
            return Signal.READING
        shots = plan.shots
        if captured.source.account is not None:
            # From here on its shots stand for the exchange.
            captured.source.account.add(len(shots))
            captured.source.account.done()
        ledger.selected += 1
        ledger.planned += len(shots)
        for target, _ in plan.left_out:
            ledger.left_out[target] += 1
        for shot in shots:
            if shot.cookies_removed:
                ledger.cookies_removed += shot.cookies_removed
        return Planned(shots, captured.source)

    def _lost(self, event: Unreadable) -> None:
        self._ledger.unreadable += 1 if event.lines is None else event.lines
        self._on_unreadable(event)


def _done(source: CaptureObject) -> None:
    if source.account is not None:
        source.account.done()
