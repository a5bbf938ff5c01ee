"""How the demo shows what happened: what both applications hold, a record, the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mirrorproxy.demo.orders import Order
from mirrorproxy.demo.story import Facts, Places
from mirrorproxy.report.exchange_text import describe

_LABEL_DIGITS = 8


def show(facts: Facts, places: Places, console: Console) -> None:
    """Print everything, the verdict last."""
    console.print()
    console.print(_side_by_side(facts))
    console.print()
    console.print(Text("One captured exchange (the token is sealed)", style="bold"))
    console.print(Text(describe(facts.sample)), soft_wrap=True)
    console.print()
    console.print(Text("The replay's ledger", style="bold"))
    console.print(Text(_ledger(facts.ledger)), soft_wrap=True)
    console.print()
    console.print(Text(f"What lies in {places.directory}", style="bold"))
    for path, what in (
        (places.capture, f"mirrorproxy inspect {places.capture}"),
        (places.rules, f"mirrorproxy check {places.rules} {places.capture}"),
        (places.tokens, "staging's tokens, by the fingerprint of production's users"),
        (places.outcomes, "a line for each request that was sent, and the ledger"),
    ):
        console.print(Text(f"  {path.relative_to(places.directory)!s:<12} {what}"), soft_wrap=True)
    console.print()
    for line, is_well in verdict_lines(facts):
        console.print(Text(line, style="green" if is_well else "bold red"), soft_wrap=True)


def verdict_lines(facts: Facts) -> list[tuple[str, bool]]:
    """Return what was proven, or was not: lines, each with whether all is well."""
    copied = sum(1 for order in facts.staging.values() if order.label is not None)
    lines = [
        (f"{facts.requests} requests were made, {facts.ledger['answered']} of them repeated", True)
    ]
    if facts.differences:
        lines += [(f"staging is not as it should be: {line}", False) for line in facts.differences]
    else:
        lines.append((f"staging holds the {copied} orders of production's users, as its own", True))
    if facts.refused:
        lines.append((f"staging refused {facts.refused} requests for their token", False))
    if not facts.ledger["balanced"]:
        lines.append(("the ledger does not balance", False))
    lines += [(f"a secret of production stands in {path}", False) for path in facts.leaks]
    if not facts.leaks:
        lines.append((f"no password or token of production in any of {facts.searched} files", True))
    return lines


def _side_by_side(facts: Facts) -> Table:
    table = Table(title="Orders after the replay", title_justify="left", title_style="bold")
    for heading in ("order", "production", "staging"):
        table.add_column(heading, overflow="fold")
    for number in sorted(facts.production.keys() | facts.staging.keys()):
        production, staging = facts.production.get(number), facts.staging.get(number)
        table.add_row(Text(number), Text(_order(production)), Text(_order(staging)))
    return table


def _order(order: Order | None) -> str:
    if order is None:
        return "-"
    parts = [f"{order.owner}: {order.quantity} x {order.item}"]
    parts += [f'"{note}"' for note in order.notes]
    if order.label is not None:
        parts.append(f"label {order.label[:_LABEL_DIGITS]}")
    return ", ".join(parts)


def _ledger(ledger: Mapping[str, Any]) -> str:
    def counts(name: str) -> str:
        items: Mapping[str, int] = ledger[name]
        return ", ".join(f"{key} {count}" for key, count in items.items()) or "none"

    lag, latency = ledger["lag_ms"], ledger["latency_ms"]
    return "\n".join(
        (
            f"  exchanges  read {ledger['read']} = duplicates {ledger['duplicates']}"
            f" + skipped ({counts('skipped')}) + selected {ledger['selected']}",
            f"  shots      planned {ledger['planned']} = answered {ledger['answered']}"
            f" + failed ({counts('failed')}) + shed ({counts('shed')}) + unsent {ledger['unsent']}",
            f"  status     {counts('status')}",
            f"  lag        p50 {lag['p50']} ms, p99 {lag['p99']} ms",
            f"  latency    p50 {latency['p50']} ms, p99 {latency['p99']} ms",
        )
    )
