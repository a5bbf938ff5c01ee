"""The checks of running mirrors, over what their `/status` says. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mirrorproxy.doctor.finding import Finding
from mirrorproxy.doctor.http import Unanswered
from mirrorproxy.units import format_duration

LATE_S = 60.0


class _Identity(msgspec.Struct, frozen=True):
    name: str
    seal_key_id: str = ""


class _Ledger(msgspec.Struct, frozen=True):
    captured: int
    dropped: dict[str, int] = {}
    quarantined: int = 0
    balanced: bool = True


class _Shipping(msgspec.Struct, frozen=True):
    oldest_age_s: float = 0.0
    error: str | None = None


class MirrorView(msgspec.Struct, frozen=True):
    """As much of `/status` as is judged; see `capture.reports.MirrorStatus`."""

    mirror: _Identity
    ledger: _Ledger
    unready: list[str] = []
    shipping: _Shipping | None = None


def view(value: object) -> MirrorView | Unanswered:
    """Return what a mirror says of itself. value: the JSON of its /status."""
    try:
        return msgspec.convert(value, MirrorView)
    except msgspec.ValidationError:
        return Unanswered("what answers there is no capture")


def check_mirror(url: str, answer: MirrorView | Unanswered) -> list[Finding]:
    """Return what is to be said of one mirror. url: of its admin server."""
    if isinstance(answer, Unanswered):
        remedy = "start it, or name the address of its --admin"
        return [Finding("problem", f"mirror {url}", answer.reason, remedy)]
    what = f"mirror {answer.mirror.name}"
    findings = [*_health(what, answer), *_losses(what, answer.ledger)]
    if not any(one.level == "problem" for one in findings):
        says = f"ready, {answer.ledger.captured:,} captured"
        findings.insert(0, Finding("ok", what, says))
    return findings


def _health(what: str, answer: MirrorView) -> Iterator[Finding]:
    for reason in answer.unready:
        yield Finding("problem", what, reason, "look at its log")
    shipping = answer.shipping
    if shipping and shipping.error:
        remedy = "mend what it names; it goes on trying"
        yield Finding("problem", what, f"cannot ship: {shipping.error}", remedy)
    elif shipping and shipping.oldest_age_s > LATE_S:
        yield Finding(
            "warning",
            what,
            f"ships late: the oldest record waits for {format_duration(shipping.oldest_age_s)}",
            "raise the stream's quota, or ship through several: firehose://a,b",
        )


def _losses(what: str, ledger: _Ledger) -> Iterator[Finding]:
    if ledger.quarantined:
        yield Finding(
            "warning",
            what,
            f"{ledger.quarantined:,} records were refused for good",
            "look into quarantine in its spool",
        )
    if ledger.dropped:
        reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(ledger.dropped.items()))
        yield Finding(
            "warning", what, f"dropped records: {reasons}", "see docs/operations.md, Disk"
        )
    if not ledger.balanced:
        yield Finding("problem", what, "its ledger does not balance", "look at its log")
