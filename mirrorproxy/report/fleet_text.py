"""The report on a fleet as lines that people read, and as what ``--json`` prints.

Pure. Owns the wording; the sums are those of `fleet` and `repeats`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from mirrorproxy.report.fleet import WorkerLedger
from mirrorproxy.report.printable import printable
from mirrorproxy.report.repeats import Once, Repeated
from mirrorproxy.report.summary import NO_DETAILS, summary_lines

SHOWN_REPEATED = 10


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker left. outcomes: its lines, None without a file of them.

    ledger: whether it left one; problem: why its numbers cannot be relied on.
    """

    name: str
    ledger: bool
    outcomes: int | None = None
    damaged: int = 0
    problem: str | None = None


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is reported. balanced: every worker left a ledger, and each adds up.

    once: None where no worker left outcomes. repeated: the first of them.
    """

    workers: Sequence[WorkerReport]
    total: WorkerLedger
    balanced: bool
    once: Once | None
    repeated: Sequence[Repeated]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was lost, and nothing in the report has to be doubted."""
        return (
            self.balanced
            and not self.total.unreadable
            and not any(worker.problem for worker in self.workers)
        )


def as_json(report: FleetReport) -> dict[str, object]:
    """Return what ``--json`` prints."""
    return {
        "workers": msgspec.to_builtins(report.workers),
        "total": _ledger(report),
        "once": msgspec.to_builtins(report.once),
        "repeated": [one._asdict() for one in report.repeated],
    }


def as_lines(report: FleetReport) -> list[str]:
    """Return the report, one line after the other, without line ends."""
    with_ledger = sum(worker.ledger for worker in report.workers)
    lines = [f"workers     {len(report.workers):,}, {with_ledger:,} with a ledger"]
    if with_ledger:
        lines += summary_lines(_ledger(report), NO_DETAILS)
    lines += _once(report.once)
    lines += [_one(one) for one in report.repeated[:SHOWN_REPEATED]]
    if report.once and report.once.repeated > SHOWN_REPEATED:
        more = report.once.repeated - SHOWN_REPEATED
        lines.append(f"repeated: and {more:,} more; --repeated FILE writes all of them")
    lines += [
        printable(f"problem: {worker.name}: {worker.problem}")
        for worker in report.workers
        if worker.problem
    ]
    return lines


def _ledger(report: FleetReport) -> dict[str, object]:
    ledger: Mapping[str, object] = msgspec.to_builtins(report.total)
    return {**ledger, "balanced": report.balanced}


def _once(once: Once | None) -> list[str]:
    if once is None:
        return ["once        not counted: no worker left outcomes (replay --out DIR writes them)"]
    single = once.sent - once.repeated
    return [
        f"once        {once.shots:,} different shots = {single:,} sent once + "
        f"{once.repeated:,} more than once + {once.not_sent:,} never",
        f"answered    {once.answered:,} of them at least once",
        f"repeated    {once.extra:,} sent again; {once.by_several:,} shots by several workers",
    ]


def _one(one: Repeated) -> str:
    workers = ", ".join(
        name if times == 1 else f"{name} ({times} times)" for name, times in one.workers.items()
    )
    return printable(f"repeated: {one.id} copy {one.copy} to {one.target}: {workers}")
