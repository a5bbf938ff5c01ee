"""Correlation, as a replay is told to do it and tells of it.

Owns whether it is done, and the lines about it. `replay.correlate` does it.
"""

from __future__ import annotations

from collections.abc import Iterable

from mirrorproxy.commands.replay_options import Settings
from mirrorproxy.correlation.explain import Explained
from mirrorproxy.correlation.tally import Tally
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.report.printable import printable

_WORTH_SAYING = 0.01


def correlation_of(settings: Settings) -> Correlation | None:
    """Return the correlation of a replay, None where none is wanted."""
    rules = settings.rules.correlated
    if not settings.correlates or not any(declared.is_on for declared in rules.values()):
        return None
    explained = Explained(settings.explained) if settings.explained else None
    return Correlation(rules=rules, explained=explained)


def correlation_json(correlation: Correlation | None) -> dict[str, object] | None:
    """Return what ``--json`` says of it, None where there was none."""
    if correlation is None:
        return None
    shown = correlation.to_json()
    if correlation.explained is not None:
        shown["explained"] = correlation.explained.to_json()
    return shown


def correlation_lines(correlation: Correlation | None) -> Iterable[str]:
    """Yield what is said of it at the end of a replay."""
    if correlation is None:
        return
    tally = correlation.tally
    parts = [
        (tally.learned, "learned"),
        (tally.shots, "shots changed"),
        (tally.waited, "waited for an answer"),
        (tally.gave_up, "waited for too long"),
        (correlation.limits.expired, "forgotten"),
    ]
    text = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    places = sorted(tally.replaced.items(), key=lambda item: (-item[1], item[0]))
    if places:
        text += f" ({', '.join(f'{place} {count:,}' for place, count in places)})"
    if text:
        yield f"{'correlation':<11} {text}"
    yield from bodies_hint(tally)
    if correlation.explained is not None:
        yield from map(printable, correlation.explained.lines())


def bodies_hint(tally: Tally) -> Iterable[str]:
    """Yield what to do if answers to writes have no body to learn from."""
    without = tally.without_body
    if without and without >= _WORTH_SAYING * tally.writes:
        yield (
            f"hint: {without / tally.writes:.0%} of the answers to writes ({without:,} of "
            f"{tally.writes:,}) have no recorded body to learn ids from; capture with "
            "--response-body"
        )
