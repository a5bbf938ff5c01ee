"""A fleet's ledgers, added up.

Pure. Owns the form of the ledgers that workers of a replay leave behind, their
sum, and whether it balances. What several workers sent is `repeats`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]


class WorkerLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker wrote into ``ledger.json``; keys that are not known are ignored."""

    read: Count
    duplicates: Count
    skipped: dict[str, Count]
    selected: Count
    planned: Count
    answered: Count
    failed: dict[str, Count]
    shed: dict[str, Count]
    unsent: Count
    unreadable: Count = 0
    unordered: Count = 0
    token_requests: dict[str, Count] = {}
    resent: Count = 0
    probes: dict[str, Count] = {}
    status: dict[str, Count] = {}
    lag_ms: dict[str, float | None] = {}
    latency_ms: dict[str, float | None] = {}

    @property
    def sent(self) -> int:
        """How many shots went out."""
        return self.answered + sum(self.failed.values())

    @property
    def is_balanced(self) -> bool:
        """Whether the numbers add up; what the file says of itself does not count."""
        exchanges = self.duplicates + sum(self.skipped.values()) + self.selected
        shots = self.sent + sum(self.shed.values()) + self.unsent
        return self.read == exchanges and self.planned == shots


_decoder = msgspec.json.Decoder(WorkerLedger)


def read_ledger(content: bytes) -> WorkerLedger:
    """Return the ledger in the bytes of a file. Raises ValueError, which says what is wrong."""
    return _decoder.decode(content)


def total(ledgers: Iterable[WorkerLedger]) -> WorkerLedger:
    """Return the sum of ledgers.

    Percentiles cannot be added: of each the highest of any worker stands there.
    """
    numbers: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {name: Counter() for name in _COUNTS}
    highest: dict[str, dict[str, float | None]] = {name: {} for name in _TIMES}
    for ledger in ledgers:
        for name in _NUMBERS:
            numbers[name] += getattr(ledger, name)
        for name, sums in counts.items():
            sums.update(getattr(ledger, name))
        for name, most in highest.items():
            for percent, value in getattr(ledger, name).items():
                most[percent] = _higher(most.get(percent), value)
    summed: dict[str, Any] = {
        **{name: numbers[name] for name in _NUMBERS},
        **{name: dict(sorted(sums.items())) for name, sums in counts.items()},
        **highest,
    }
    return WorkerLedger(**summed)


def difference(ledger: WorkerLedger, outcomes: Mapping[str, int]) -> str | None:
    """Return how a worker's outcomes differ from its ledger, None if they agree.

    outcomes: answered, failed, shed and unsent, as counted in its outcome lines.
    """
    expected = {
        "answered": ledger.answered,
        "failed": sum(ledger.failed.values()),
        "shed": sum(ledger.shed.values()),
        "unsent": ledger.unsent,
    }
    parts = [
        f"{outcomes.get(name, 0):,} {name} and not {count:,}"
        for name, count in expected.items()
        if outcomes.get(name, 0) != count
    ]
    return ", ".join(parts) or None


_NUMBERS = (
    "read",
    "duplicates",
    "selected",
    "planned",
    "answered",
    "unsent",
    "unreadable",
    "unordered",
    "resent",
)
_COUNTS = ("skipped", "failed", "shed", "token_requests", "probes", "status")
_TIMES = ("lag_ms", "latency_ms")


def _higher(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
