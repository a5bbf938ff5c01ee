"""Sending one chunk: the worker's own engine over the exchanges of a chunk, up to a moment.

Owns when each shot is due, the end at the time that is set, and what is left then. Everything
else is what a worker does: the same plan, runner, credentials, order and limits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from mirrorproxy.clock import wall_us
from mirrorproxy.codec import MalformedRecord, UnsupportedVersion
from mirrorproxy.commands.decoding import Decoder, body_reader
from mirrorproxy.commands.replay_credentials import fetched_credentials
from mirrorproxy.lambdas.chunk import ChunkError, ChunkEvent, Item
from mirrorproxy.lambdas.spread import caught_up
from mirrorproxy.loops import loop_factory
from mirrorproxy.outcome import Outcome
from mirrorproxy.record import Exchange
from mirrorproxy.replay.guard import ProductionGuard
from mirrorproxy.replay.intake import Intake
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import order_of
from mirrorproxy.replay.runner import Runner
from mirrorproxy.rules.plan import SKIP_SAMPLED, Plan, plan, with_body
from mirrorproxy.rules.ruleset import CompiledTarget, RuleSet
from mirrorproxy.sources.events import Captured, CaptureObject, Event, Signal, Unreadable

START_S = 0.05
"""Time to plan the first shots before the first is due."""


class Sent(NamedTuple):
    """What became of a chunk. late_us: how much later it began than its first shot was due."""

    ledger: Ledger
    left: list[Item]
    late_us: int


class _Chunk:
    """The exchanges of a chunk, as an engine plans from them."""

    def __init__(
        self,
        items: Sequence[Item],
        exchanges: Sequence[Exchange],
        source: CaptureObject,
    ) -> None:
        self._items = items
        self._exchanges = exchanges
        self._source = source
        self._origin_s = time.monotonic() - wall_us() / 1e6
        self._closed = False
        self.taken = 0
        self.unsent: dict[str, list[tuple[str, int]]] = {}

    # -- a source, see `intake.Source` ------------------------------------------------

    def take(self) -> Event:
        """Return the next event."""
        if self._closed or self.taken == len(self._items):
            return Signal.END
        self.taken += 1
        return Captured(self._exchanges[self.taken - 1], self._source, False)

    def close(self) -> None:
        """Read no further."""
        self._closed = True

    # -- due times, see `schedule.Due` -------------------------------------------------

    def due_s(self, _started_us: int) -> float:
        """Return when the shots of the exchange are due that was taken last."""
        return self._origin_s + self._items[self.taken - 1].due_us / 1e6

    def shift(self, seconds: float) -> None:
        """Make everything due so much later."""
        self._origin_s += seconds

    # -- what is left ---------------------------------------------------------------

    @property
    def item(self) -> Item:
        """The item that was taken last."""
        return self._items[self.taken - 1]

    def hear(self, outcome: Outcome) -> None:
        """Remember a shot that was planned and not sent."""
        if outcome.unsent:
            self.unsent.setdefault(outcome.id, []).append((outcome.target, outcome.copy))

    def left(self) -> list[Item]:
        """Return what has not been sent, each shot of it once."""
        left: list[Item] = []
        for item in self._items[: self.taken]:
            only = self.unsent.get(item.record_id)
            if only is not None:
                left.append(item._replace(only=only, shots=len(only)))
        return left + list(self._items[self.taken :])


class Sender:
    """Sends chunks by rules; see the module. say: takes lines for people."""

    def __init__(self, rules: RuleSet, say: Callable[[str], None]) -> None:
        self._rules = rules
        self._say = say

    @property
    def longest_timeout_s(self) -> float:
        """How long an answer may take, in seconds."""
        return max(target.limits.timeout_s for target in self._rules.targets.values())

    def exchanges(self, items: Sequence[Item]) -> list[Exchange]:
        """Return the exchanges of a chunk.

        Raises ChunkError, and ConfigError if a target is where they were captured.
        """
        decode = Decoder(keeps_secrets=self._rules.sends_logged_credentials)
        guard = ProductionGuard(self._rules.guarded(), self._rules.logins(), self._say)
        exchanges: list[Exchange] = []
        for item in items:
            try:
                exchange = decode(item.line)
            except (MalformedRecord, UnsupportedVersion) as error:
                raise ChunkError(f"an exchange of the chunk: {error}") from None
            guard.check(exchange)
            exchanges.append(exchange)
        return exchanges

    def send(
        self,
        event: ChunkEvent,
        items: Sequence[Item],
        exchanges: Sequence[Exchange],
        source: CaptureObject,
        *,
        stop_in_s: float,
        drain_s: float,
    ) -> Sent:
        """Send a chunk, for so many seconds at most; then wait for answers as long as drain_s."""
        now_us = wall_us() + int(START_S * 1e6)
        late_us = now_us - items[0].due_us if items else 0
        due = caught_up([item.due_us for item in items], now_us)
        in_time = [item._replace(due_us=at_us) for item, at_us in zip(items, due, strict=True)]
        chunk = _Chunk(in_time, exchanges, source)
        ledger = Ledger()
        intake = Intake(chunk, self._planner(event, chunk), ledger, self._unreadable)

        async def send() -> None:
            async with fetched_credentials(
                self._rules.sources, ledger, self._say, speed=1.0
            ) as credentials:
                runner = Runner(
                    intake,
                    {
                        name: _limits(target).shared_by(event.senders)
                        for name, target in self._rules.targets.items()
                    },
                    ledger,
                    speed=1.0,
                    order=order_of(self._rules.order, ledger.unordered),
                    with_body=with_body,
                    report=chunk.hear,
                    on_unreadable=self._unreadable,
                    drain_s=drain_s,
                    credentials=credentials,
                    say=self._say,
                    due=chunk,
                )
                ending = asyncio.get_running_loop().call_later(max(stop_in_s, 0), runner.stop)
                try:
                    await runner.run()
                finally:
                    ending.cancel()

        with asyncio.Runner(loop_factory=loop_factory()) as loop:
            loop.run(send())
        return Sent(ledger, chunk.left(), max(late_us, 0))

    def _planner(
        self, event: ChunkEvent, chunk: _Chunk
    ) -> Callable[[Exchange, CaptureObject], Plan]:
        def planned(exchange: Exchange, source: CaptureObject) -> Plan:
            item = chunk.item
            found = plan(
                exchange,
                self._rules,
                event.seed,
                event.run,
                read_body=body_reader(source),
                offset_us=item.due_us - exchange.started_us,
            )
            if item.only is None or found.skipped is not None:
                return found
            wanted = set(item.only)
            shots = tuple(shot for shot in found.shots if (shot.target, shot.copy) in wanted)
            if not shots:
                return Plan(found.rule, skipped=SKIP_SAMPLED)
            return found._replace(shots=shots)

        return planned

    def _unreadable(self, event: Unreadable) -> None:
        self._say(f"warning: {event}")


def _limits(target: CompiledTarget) -> Limits:
    """Return a target's limits, but for those that count over a whole run."""
    limits = target.limits
    return Limits(
        rate=limits.rate,
        concurrency=limits.concurrency,
        timeout_s=limits.timeout_s,
        max_lag_s=limits.max_lag_s,
        backoff=target.backoff,
    )


def rest_of(event: ChunkEvent, left: Sequence[Item], digest: str) -> ChunkEvent:
    """Return the chunk that what is left of one makes; its lines are put in by the caller."""
    rest: ChunkEvent = msgspec.structs.replace(
        event,
        id=f"{event.id.partition('~')[0]}~{event.hop + 1}",
        shots=sum(item.shots for item in left),
        digest=digest,
        hop=event.hop + 1,
        data=None,
    )
    return rest
