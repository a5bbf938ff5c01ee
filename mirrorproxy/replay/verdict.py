"""The verdict: the exit status of a replay, from its ledger and ``--fail-on``.

Pure. 0: done. 1: the ledger does not balance, or input was lost. 3: nothing
was sent, or a limit was crossed. (2 is a mistake of the user's; such a replay
has no ledger to judge.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mirrorproxy.errors import ConfigError
from mirrorproxy.replay.ledger import Ledger

EXIT_DONE = 0
EXIT_LOST = 1
EXIT_FAILED = 3

DEFAULT_FAIL_ON = "failed"
NEVER = "never"

_COUNTS: Mapping[str, Callable[[Ledger], int]] = {
    "failed": lambda ledger: ledger.failed.total(),
    "skipped": lambda ledger: ledger.skipped.total(),
    "shed": lambda ledger: ledger.shed.total(),
    "unsent": lambda ledger: ledger.unsent,
    "3xx": lambda ledger: ledger.status_classes().get("3xx", 0),
    "4xx": lambda ledger: ledger.status_classes().get("4xx", 0),
    "5xx": lambda ledger: ledger.status_classes().get("5xx", 0),
    "differing": lambda ledger: ledger.differing,
    "changed": lambda ledger: ledger.changed,
    "findings": lambda ledger: ledger.findings,
}
"""What a limit can be set on. ``skipped``: exchanges that became no shots; ``differing``: answers
with another status than production's; ``changed``: with another head or body; ``findings``: lines
that the comparison has."""

COMPARED = frozenset(("changed", "findings"))
"""What is known only where answers are compared."""

_CONDITION = re.compile(r"([a-z0-9]+)(?:\s*>\s*([0-9]+(?:\.[0-9]+)?)(%?))?")


class Limit(NamedTuple):
    """One condition of ``--fail-on``: more than this many of something.

    percent: whether limit is a share of the planned shots; of the exchanges for ``skipped``.
    """

    what: str
    limit: float
    is_percent: bool

    def is_crossed(self, ledger: Ledger) -> bool:
        """Tell whether the ledger shows more than the limit allows."""
        count = _COUNTS[self.what](ledger)
        if self.is_percent:
            whole = ledger.read if self.what == "skipped" else ledger.planned
            return count * 100 > self.limit * whole
        return count > self.limit

    def __str__(self) -> str:
        return f"{self.what}>{self.limit:g}{'%' if self.is_percent else ''}"


def parse_fail_on(text: str) -> list[Limit]:
    """Return the conditions of ``failed>1%,5xx>0``; ``never`` gives none.

    A name alone means more than none.
    Raises ConfigError, which says what is expected.
    """
    if text.strip() == NEVER:
        return []
    return [_limit(part.strip()) for part in text.split(",")]


def exit_status(ledger: Ledger, limits: list[Limit]) -> int:
    """Return the exit status of a replay that ended by itself or was stopped."""
    if not ledger.is_balanced or ledger.unreadable:
        return EXIT_LOST
    if not ledger.sent or any(limit.is_crossed(ledger) for limit in limits):
        return EXIT_FAILED
    return EXIT_DONE


def _limit(part: str) -> Limit:
    match = _CONDITION.fullmatch(part)
    if match is None or match[1] not in _COUNTS:
        names = ", ".join(_COUNTS)
        raise ConfigError(
            f"expected {NEVER}, or conditions such as failed>1% or 5xx>0 of: {names}",
            file="--fail-on",
        )
    return Limit(match[1], float(match[2] or 0), match[3] == "%")
