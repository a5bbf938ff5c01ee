"""A rule's rate: which of its shots leave, and which are shed because there are too many.

Pure: the time is handed in. It is that of the schedule, not of the clock, so that
a replay sheds the same shots each time, however late it runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.shot import Shot

RULE_RATE: Final = "rule rate"
"""Why the ledger says that such a shot was shed."""

BURST_S: Final = 1.0
"""So much of a rate may come at once, after as long a rest."""

DEBT_S: Final = 2.0
"""So far the sessions that were let in may pass the rate; then some of them are given up."""

MAX_SESSIONS: Final = 100_000
"""Sessions remembered for a rule; one forgotten, the least lately seen, is judged anew."""


class RuleRate:
    """The rate of one rule.

    rate: shots a second, above 0. by_session: a session is let in or left out
    as a whole: its first shot decides. Where those let in pass the rate by
    themselves, sessions are left out from then on.
    """

    def __init__(self, rate: float, *, by_session: bool) -> None:
        self._rate = rate
        self._most = max(rate * BURST_S, 1.0)
        self._debt = max(rate * DEBT_S, 1.0)
        self._left = self._most
        self._at_us: int | None = None
        self._by_session = by_session
        self._sessions: OrderedDict[str, bool] = OrderedDict()

    def admits(self, shot: Shot, at_us: int) -> bool:
        """Return whether a shot may leave. at_us: when it is due; may step back a little."""
        if self._at_us is None:
            self._at_us = at_us
        elif at_us > self._at_us:
            gained = (at_us - self._at_us) * self._rate / 1_000_000
            self._left = min(self._left + gained, self._most)
            self._at_us = at_us
        if self._by_session:
            return self._admits_session(shot)
        return self._take(0.0)

    def _take(self, debt: float) -> bool:
        if self._left + debt < 1.0:
            return False
        self._left -= 1.0
        return True

    def _admits_session(self, shot: Shot) -> bool:
        # Each copy is a session of its own.
        key = f"{shot.session}/{shot.copy}" if shot.copy else shot.session
        known = self._sessions.get(key)
        if known is None:
            known = self._take(0.0)
            if len(self._sessions) >= MAX_SESSIONS:
                self._sessions.popitem(last=False)
        else:
            self._sessions.move_to_end(key)
            known = known and self._take(self._debt)
        self._sessions[key] = known
        return known


class RuleRates:
    """The rates of all rules that have one."""

    def __init__(self, rates: Mapping[str, RuleRate]) -> None:
        self._rates = rates
        self.is_any = bool(rates)

    @classmethod
    def of(cls, rules: RuleSet) -> RuleRates:
        """Return the rates that a rule file states."""
        return cls(
            {
                decision.rule: RuleRate(decision.rate, by_session=decision.by_session)
                for decision in rules.decisions
                if decision.rule is not None and decision.rate is not None
            }
        )

    def apply(self, shots: tuple[Shot, ...], at_us: int) -> None:
        """Mark those of an exchange's shots as shed that pass their rule's rate."""
        for shot in shots:
            if shot.rule is None:
                return
            rate = self._rates.get(shot.rule)
            if rate is None:
                return
            if not rate.admits(shot, at_us):
                shot.shed = RULE_RATE
