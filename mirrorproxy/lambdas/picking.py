"""Picking: which exchanges of an object are to be sent, part after part.

Owns the joining of the source that a worker reads by with the planner that it plans by. What
is planned here is thrown away but for its number: `send` plans it again, with the credentials
that this function does not have. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mirrorproxy.clock import wall_us
from mirrorproxy.codec import encode_line
from mirrorproxy.commands.decoding import Decoder, body_reader
from mirrorproxy.errors import SourceError
from mirrorproxy.lambdas.cutting import Picked, is_whole
from mirrorproxy.record import Exchange
from mirrorproxy.replay.guard import ProductionGuard
from mirrorproxy.replay.intake import Intake, Planned
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.rules.plan import Plan
from mirrorproxy.rules.planner import Planner
from mirrorproxy.rules.rate import RULE_RATE
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.sources.events import Captured, CaptureObject, Event, Signal, Unreadable
from mirrorproxy.sources.feed import InlineFeed
from mirrorproxy.sources.merge import Merge


class Part(NamedTuple):
    """A part of an object.

    picked: what is to be sent, in the order of its capture. ledger: of all that was read for
    it. taken: how many exchanges were read by its end, those before it included. is_last:
    whether the object ends here.
    """

    picked: list[Picked]
    ledger: Ledger
    taken: int
    is_last: bool


class _Skipping:
    """The events of an object, without those up to the exchange that was the last one taken."""

    def __init__(self, merge: Merge, skip: int) -> None:
        self._merge = merge
        self._skip = skip
        self.taken = 0

    def take(self) -> Event:
        event = self._merge.take()
        if isinstance(event, Captured):
            self.taken += 1
            return event if self.taken > self._skip else Signal.READING
        if self.taken < self._skip and event is not Signal.END:
            return Signal.READING
        return event

    def close(self) -> None:
        self._merge.close()


class Picker:
    """Picks by rules; see the module.

    seed, run: see `rules.plan`. max_chunk_shots, max_senders: see `cutting`. on_unreadable:
    hears of what cannot be read.
    """

    def __init__(
        self,
        rules: RuleSet,
        seed: str,
        run: str,
        *,
        max_chunk_shots: int,
        max_senders: int,
        on_unreadable: Callable[[Unreadable], None],
    ) -> None:
        self._rules = rules
        self._seed = seed
        self._run = run
        self._max_chunk_shots = max_chunk_shots
        self._max_senders = max_senders
        self._on_unreadable = on_unreadable

    def parts(self, source: CaptureObject, skip: int = 0) -> Iterator[Part]:
        """Yield the parts of an object, one at least. skip: exchanges that were taken before.

        Raises ConfigError if a target is where it was captured, and SourceError.
        """
        guard = ProductionGuard(self._rules.guarded())
        decode = Decoder(keeps_secrets=self._rules.sends_logged_credentials)
        merge = Merge(iter([source]), InlineFeed, look_ahead=guard.check, decode=decode)
        events = _Skipping(merge, skip)
        last: list[Exchange] = []

        try:
            is_last = False
            while not is_last:
                ledger = Ledger()
                plan = self._plan(last)
                intake = Intake(events, plan, ledger, self._on_unreadable)
                picked: list[Picked] = []
                shots = size = 0
                while not is_last and not self._is_whole(shots, size):
                    planned = intake.take()
                    if isinstance(planned, Planned):
                        one = _picked(last[0], planned, ledger)
                        if one is not None:
                            picked.append(one)
                            shots += one.shots
                            size += len(one.line)
                    is_last = planned is Signal.END
                yield Part(picked, ledger, events.taken, is_last)
        finally:
            merge.close()

    def _plan(self, last: list[Exchange]) -> Callable[[Exchange, CaptureObject], Plan]:
        """Return what plans one part, and leaves each exchange in last.

        Nothing is known in it of parts before: they may have been another call's.
        """
        planner = Planner(
            self._rules,
            self._seed,
            self._run,
            speed=1.0,
            now_us=wall_us,
            # `send` has nothing but the exchange, and must come to the same session.
            follows_tokens=False,
        )

        def plan(exchange: Exchange, where: CaptureObject) -> Plan:
            last[:] = [exchange]
            return planner.plan(exchange, body_reader(where))

        return plan

    def _is_whole(self, shots: int, size: int) -> bool:
        return is_whole(shots, size, self._max_chunk_shots, self._max_senders)


def _picked(exchange: Exchange, planned: Planned, ledger: Ledger) -> Picked | None:
    """Return what is to be sent of an exchange, None if its rule's rate leaves nothing."""
    shots = planned.shots
    kept = [shot for shot in shots if shot.shed is None]
    if len(kept) < len(shots):
        ledger.shed[RULE_RATE] += len(shots) - len(kept)
        if not kept:
            return None
    only = None
    if len(kept) < len(shots):
        only = [(shot.target, shot.copy) for shot in kept]
    try:
        line = encode_line(exchange)
    except ValueError as error:
        raise SourceError(f"exchange {exchange.id}: {error}") from error
    return Picked(line, exchange.id, kept[0].session, exchange.started_us, len(kept), only)
