"""The planner: makes the plans of one run, one exchange after the other.

Owns what a plan takes from its run: by how much times are shifted, how much of each
rule's rate is used up, and which tokens are one user's. `plan` itself knows neither.
"""

from __future__ import annotations

from collections.abc import Callable

from mirrorproxy.record import Exchange
from mirrorproxy.rules.facts import ReadBody
from mirrorproxy.rules.lineage import Lineage
from mirrorproxy.rules.offered import Offered
from mirrorproxy.rules.plan import Plan, plan
from mirrorproxy.rules.rate import RuleRates
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.rules.shift import Offset


class Planner:
    """Plans for one run; for one thread.

    seed, run: see `plan.plan`. speed: the replay's pace, infinity for as fast as
    it goes. now_us: the wall clock. delay_us: how much later than it was captured
    everything is sent, None where the pace says it. offered: filled as plans are made, None
    where nothing is learned from answers. follows_tokens: False if each exchange is a session
    by itself alone, whatever was planned before, as `plan` has it.
    """

    def __init__(
        self,
        rules: RuleSet,
        seed: str,
        run: str,
        *,
        speed: float,
        now_us: Callable[[], int],
        delay_us: int | None = None,
        offered: Offered | None = None,
        follows_tokens: bool = True,
    ) -> None:
        self._rules = rules
        self._seed = seed
        self._run = run
        self._offset = Offset(speed, now_us)
        self._delay_us = delay_us
        self._offered = offered
        self._rates = RuleRates.of(rules)
        self._lineage = Lineage() if follows_tokens and rules.follows_tokens else None

    def plan(self, exchange: Exchange, read_body: ReadBody | None = None) -> Plan:
        """Return the shots for an exchange; those that pass a rule's rate are marked as shed.

        Raises codec.MalformedRecord if the body in the record cannot be decoded.
        """
        offset_us = self._delay_us
        if offset_us is None:
            offset_us = self._offset.of(exchange.started_us)
        session = None
        if self._lineage is not None:
            session = self._lineage.session(exchange, self._rules.session_key(exchange))
        planned = plan(
            exchange,
            self._rules,
            self._seed,
            self._run,
            read_body=read_body,
            offset_us=offset_us,
            offered=self._offered,
            session=session,
        )
        if self._offered is not None:
            self._offered.add(planned.shots)
        if planned.shots and self._rates.is_any:
            self._rates.apply(planned.shots, exchange.started_us + offset_us)
        return planned
