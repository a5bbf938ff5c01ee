"""``mirrorproxy replay --dry-run``: says what would be sent, and sends nothing.

Owns the reading of a capture to its end for that. Opens no connection; names are
looked up for the same warning that a replay gives.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable

from mirrorproxy.commands.replay_correlation import bodies_hint
from mirrorproxy.commands.replay_options import Settings
from mirrorproxy.correlation.tally import Tally
from mirrorproxy.replay.guard import ProductionGuard
from mirrorproxy.replay.intake import Intake, Planned
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.neighbours import Neighbours
from mirrorproxy.replay.verdict import EXIT_DONE, EXIT_FAILED, EXIT_LOST
from mirrorproxy.report.forecast import Forecast, Terms
from mirrorproxy.report.summary import exchange_lines
from mirrorproxy.rules.limits import BackoffLimits
from mirrorproxy.sources.events import Signal
from mirrorproxy.units import format_duration

_WAIT_S = 0.01
"""A bucket is listed meanwhile."""


def dry_run(
    args: argparse.Namespace,
    settings: Settings,
    intake: Intake,
    ledger: Ledger,
    guard: ProductionGuard,
    warn: Callable[[str], None],
) -> int:
    """Read everything, say what would be sent; return the exit status.

    intake: over feeds that read when asked, and with an end. Raises ConfigError for
    a target that is production, as a replay does.
    """
    forecast = Forecast(_terms(settings), settings.speed)
    tally = Tally()
    try:
        while (planned := intake.take()) is not Signal.END:
            if isinstance(planned, Planned):
                for shot in planned.shots:
                    # What passes a rule's rate is planned, and shed.
                    if shot.shed is None:
                        forecast.add(shot)
                        tally.look(shot)
            elif planned is Signal.PENDING:
                time.sleep(_WAIT_S)
    finally:
        intake.close()
    asyncio.run(Neighbours(settings.guarded, guard.places, warn).look())
    if args.json:
        counts = ledger.to_json()
        shown = {key: counts[key] for key in ("read", "duplicates", "skipped", "selected")}
        shown |= {"planned": ledger.planned, "unreadable": ledger.unreadable}
        shown |= {"writes": tally.writes, "writes_without_body": tally.without_body}
        _say(json.dumps({"dry_run": forecast.to_json(), **shown}))
    else:
        for line in (*exchange_lines(ledger.to_json()), *forecast.lines()):
            _say(line)
        if settings.correlates:
            for line in bodies_hint(tally):
                _say(line)
        _say("dry run     nothing was sent")
    if ledger.unreadable:
        return EXIT_LOST
    return EXIT_DONE if forecast.shots else EXIT_FAILED


def _terms(settings: Settings) -> dict[str, Terms]:
    terms = {}
    for name, target in settings.rules.targets.items():
        limits = settings.limits[name]
        terms[name] = Terms(
            url=f"{target.origin}{target.base_path}",
            rate=limits.rate,
            concurrency=limits.concurrency,
            max_shots=limits.max_shots,
            max_duration_s=limits.max_duration_s,
            ramp_s=limits.ramp_s,
            backoff="" if limits.backoff is None else _in_words(limits.backoff),
        )
    return terms


def _in_words(backoff: BackoffLimits) -> str:
    parts = []
    if backoff.p95_s is not None:
        parts.append(f"p95 over {format_duration(backoff.p95_s)}")
    if backoff.p95_times is not None:
        parts.append(f"p95 over {backoff.p95_times:g} times production's")
    if backoff.errors is not None:
        parts.append(f"errors over {backoff.errors * 100:g}%")
    if backoff.timeouts is not None:
        parts.append(f"timeouts over {backoff.timeouts * 100:g}%")
    return ", ".join(parts)


def _say(line: str) -> None:
    print(line, file=sys.stdout)
