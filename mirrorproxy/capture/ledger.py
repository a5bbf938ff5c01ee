"""Capture's ledger: what became of every request, as sums that must agree.

Pure: made from the workers' counters and what the shipper reports.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_WORDS = {"replay": "replayed traffic"}


class Shipped(msgspec.Struct, frozen=True):
    """The shipper's side: records that left the spool, or still wait in it."""

    shipped: int = 0
    waiting: int = 0
    quarantined: int = 0
    discarded: int = 0
    torn: int = 0


class CaptureLedger(msgspec.Struct, frozen=True):
    """Every number counts from the spool's first use; a restart goes on counting.

    seen = captured + filtered + sampled + dropped + lost + in_flight, and
    captured = shipped + waiting + quarantined + discarded. torn counts lines
    that a crash cut in mid-write: their requests are among the lost.
    """

    seen: int
    captured: int
    filtered: dict[str, int]
    sampled: int
    dropped: dict[str, int]
    lost: int
    in_flight: int
    shipped: int
    waiting: int
    quarantined: int
    discarded: int
    torn: int
    omitted: int
    truncated: int
    balanced: bool


def build_ledger(totals: Mapping[str, int], shipper: Shipped, *, final: bool) -> CaptureLedger:
    """Return the ledger of counters added up over all workers.

    final: no worker and no shipper runs any more, so that nothing may be in
    flight; otherwise the two sides are read at slightly different moments and
    only the first sum can be judged.
    """
    filtered = _reasons(totals, "filtered_")
    dropped = _reasons(totals, "dropped_")
    fates = totals["captured"] + totals["sampled"] + totals["lost"]
    in_flight = totals["seen"] - fates - sum(filtered.values()) - sum(dropped.values())
    left = shipper.shipped + shipper.waiting + shipper.quarantined + shipper.discarded
    balanced = (in_flight == 0 and totals["captured"] == left) if final else in_flight >= 0
    return CaptureLedger(
        seen=totals["seen"],
        captured=totals["captured"],
        filtered=filtered,
        sampled=totals["sampled"],
        dropped=dropped,
        lost=totals["lost"],
        in_flight=in_flight,
        shipped=shipper.shipped,
        waiting=shipper.waiting,
        quarantined=shipper.quarantined,
        discarded=shipper.discarded,
        torn=shipper.torn,
        omitted=totals["omitted_unsealable"],
        truncated=totals["truncated"],
        balanced=balanced,
    )


def describe(ledger: CaptureLedger) -> str:
    """Return the ledger for people, in a few lines without a newline at the end."""
    lines = [
        f"  seen      {ledger.seen:,}",
        f"  captured  {ledger.captured:,}",
    ]
    for name, reasons in (("filtered", ledger.filtered), ("dropped", ledger.dropped)):
        if total := sum(reasons.values()):
            why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items() if count)
            lines.append(f"  {name:<9} {total:,} ({why})")
    for name in ("sampled", "lost", "in_flight"):
        if count := getattr(ledger, name):
            label = {"sampled": "sampled", "lost": "lost", "in_flight": "in flight"}[name]
            lines.append(f"  {label:<9} {count:,}" + _explanation(name))
    lines.append(f"  shipped   {ledger.shipped:,}")
    lines += [
        f"  {name:<9} {count:,}" + _explanation(name)
        for name in ("waiting", "quarantined", "discarded")
        if (count := getattr(ledger, name))
    ]
    for name, text in (
        ("omitted", "bodies left out: they hold secrets that can't be sealed in place"),
        ("truncated", "bodies cut: larger than the capture limit"),
    ):
        if count := getattr(ledger, name):
            lines.append(f"  {count:,} {text}")
    lines.append("  balanced" if ledger.balanced else "  NOT balanced: please report this")
    return "\n".join(lines)


def _explanation(name: str) -> str:
    return {
        "sampled": " (left out by percent)",
        "lost": " (in flight when a process was killed)",
        "waiting": " (in the spool; the next start ships them)",
        "quarantined": " (refused by the sink for good; kept in the spool's quarantine)",
        "discarded": " (refused by the sink for good when the quarantine was full)",
    }.get(name, "")


def _reasons(totals: Mapping[str, int], prefix: str) -> dict[str, int]:
    found = {}
    for name, count in totals.items():
        if name.startswith(prefix):
            reason = name.removeprefix(prefix)
            found[_WORDS.get(reason, reason.replace("_", " "))] = count
    return found
