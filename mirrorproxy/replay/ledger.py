"""The ledger: every exchange and every shot stands in exactly one place.

Pure. Owns the counts of a replay, and whether they add up. Exchanges: read =
duplicates + skipped + selected. Shots: planned = answered + failed + shed +
unsent. What could not be read stands apart.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from mirrorproxy.outcome import LagCause
from mirrorproxy.replay.histogram import Histogram

_PER_MS = 1000

LAG_CAUSES: Sequence[LagCause] = ("order", "limit", "sender")


MAX_EVENTS = 1000
"""So many changes of what is sent are kept, the last ones."""


class Turned(NamedTuple):
    """One change of what a target is sent.

    at_us: since 1970. percent: from then on, of what is due. reason: in words.
    """

    at_us: int
    target: str
    percent: float
    reason: str


class Ledger:
    """The counts of one replay. All times in microseconds until they are shown."""

    def __init__(self) -> None:
        self.read = 0
        self.duplicates = 0
        self.skipped: Counter[str] = Counter()
        self.selected = 0
        self.planned = 0
        self.answered = 0
        self.failed: Counter[str] = Counter()
        self.shed: Counter[str] = Counter()
        self.unsent = 0
        self.unreadable = 0
        # What follows adds detail to the report; it is no part of the sums.
        self.late = 0
        self.left_out: Counter[str] = Counter()
        self.cookies_removed = 0
        # Requests that are no shots: for credentials, and shots sent again with another one.
        self.token_requests: Counter[str] = Counter()
        self.resent = 0
        # Requests sent twice, to find out what is noise.
        self.probes: Counter[str] = Counter()
        self.status: Counter[int] = Counter()
        self.differing = 0
        # With production's status, but another head or body; things worth a look.
        self.changed = 0
        self.findings = 0
        self.unordered: Counter[str] = Counter()
        self.lag_by_cause = {cause: Histogram() for cause in LAG_CAUSES}
        self.latency = Histogram()
        self.events: deque[Turned] = deque(maxlen=MAX_EVENTS)

    @property
    def sent(self) -> int:
        """How many shots went out."""
        return self.answered + self.failed.total()

    @property
    def lag(self) -> Histogram:
        """The lag of everything that went out, whatever its cause."""
        return Histogram.total(self.lag_by_cause.values())

    @property
    def is_balanced(self) -> bool:
        """Whether every exchange and every shot is accounted for, once."""
        exchanges = self.duplicates + self.skipped.total() + self.selected
        shots = self.answered + self.failed.total() + self.shed.total() + self.unsent
        return self.read == exchanges and self.planned == shots

    def status_classes(self) -> dict[str, int]:
        """Return the number of answers by class, such as ``2xx``."""
        classes: Counter[str] = Counter()
        for status, count in self.status.items():
            classes[f"{status // 100}xx"] += count
        return dict(sorted(classes.items()))

    def to_json(self) -> dict[str, object]:
        """Return what ``--json`` prints: times in milliseconds, null where nothing was timed."""
        return {
            "read": self.read,
            "duplicates": self.duplicates,
            "skipped": dict(self.skipped),
            "selected": self.selected,
            "planned": self.planned,
            "answered": self.answered,
            "failed": dict(self.failed),
            "shed": dict(self.shed),
            "unsent": self.unsent,
            "unreadable": self.unreadable,
            "unordered": self.unordered.total(),
            "token_requests": dict(self.token_requests),
            "resent": self.resent,
            "probes": dict(self.probes),
            "status": self.status_classes(),
            "lag_ms": times(self.lag, 50, 99),
            "latency_ms": times(self.latency, 50, 90, 99),
            "events": [event._asdict() for event in self.events],
            "balanced": self.is_balanced,
        }


def times(histogram: Histogram, *percents: int) -> dict[str, float | None]:
    """Return percentiles and the maximum in milliseconds, None where nothing was timed."""
    values = {f"p{percent}": histogram.percentile(percent) for percent in percents}
    values["max"] = histogram.max
    return {name: None if us is None else us / _PER_MS for name, us in values.items()}
