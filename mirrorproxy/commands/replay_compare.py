"""The comparison with production, as a replay makes it.

Owns the joining of the comparer with the rules, with whatever else hears answers, and
with what is printed and left behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from mirrorproxy.replay.answer import Answer, Listener
from mirrorproxy.replay.comparer import Comparer, SameValues
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.probes import Prober
from mirrorproxy.report.compare import Leaves
from mirrorproxy.report.comparison_file import FILE_NAME, encode
from mirrorproxy.report.findings import find
from mirrorproxy.report.findings_text import comparison_json, comparison_lines
from mirrorproxy.report.groups import Groups
from mirrorproxy.rules.comparing import Comparing
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.shot import Shot


class Compared:
    """What a replay's answers were like beside production's; nothing if it is off.

    probes: so many requests of a group are sent twice. same: what was learned, None if
    nothing is.
    """

    def __init__(
        self,
        rules: RuleSet,
        ledger: Ledger,
        *,
        is_on: bool,
        probes: int = 0,
        same: SameValues | None = None,
    ) -> None:
        self._ledger = ledger
        self.prober: Prober | None = None
        self.groups = Groups()
        self.comparer: Comparer | None = None
        if is_on:
            leaves = {name: leaves_of(one) for name, one in rules.comparing.items()}
            self.comparer = Comparer(self.groups, ledger, leaves, same=same)
            if probes:
                self.prober = Prober(probes, self.comparer.differs, ledger, clock_s=time.monotonic)
                self.comparer.probe = self.prober.offer

    def listener(self, others: Iterable[Listener] = ()) -> Listener | None:
        """Return what hears the answers. others: hear each before it is compared."""
        heard = [*others, *([] if self.comparer is None else [self.comparer])]
        if len(heard) > 1:
            return Joined(heard)
        return heard[0] if heard else None

    def lines(self) -> list[str]:
        """Return what is printed at the end."""
        return [] if self.comparer is None else comparison_lines(self.groups)

    def to_json(self) -> dict[str, object]:
        """Return what ``--json`` prints beside the ledger."""
        return {} if self.comparer is None else {"comparison": comparison_json(self.groups)}

    def judge(self) -> None:
        """Put into the ledger how much there is to look at, for `verdict`."""
        if self.comparer is not None:
            self._ledger.findings = len(find(self.groups).shown)

    def write(self, out: Path) -> None:
        """Leave the counts where `mirrorproxy report` adds them up. Raises OSError."""
        if self.comparer is not None:
            (out / FILE_NAME).write_bytes(encode(self.groups))


class Joined:
    """Several listeners as one. Each hears an answer before those that stand behind it."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def wants(self, shot: Shot) -> Answer | None:
        """See `Listener`: what keeps most is enough for all."""
        wanted: Answer | None = None
        for one in self._listeners:
            answer = one.wants(shot)
            if wanted is None or (answer is not None and answer.keeps_body):
                wanted = answer
        return wanted

    def answered(self, flight: Flight, latency_us: int) -> None:
        """See `Listener`."""
        for one in self._listeners:
            one.answered(flight, latency_us)

    def lost(self, flight: Flight) -> None:
        """See `Listener`."""
        for one in self._listeners:
            one.lost(flight)


def leaves_of(comparing: Comparing) -> Leaves:
    """Return what the rules say as the comparison takes it."""
    return Leaves(
        comparing.ignores if comparing.paths else None,
        comparing.headers,
        comparing.ignored,
        comparing.is_off,
        comparing.probes,
    )
