"""The judge: what clients, the ledger, the capture and its replay say of the same requests.

Pure but for the replay, which it runs. A request is unaccounted when two of
them disagree about it and no counter says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fault_capture import records, replay
from fault_load import Load, MarkedOrigin, marked_origin


@dataclass
class Accounts:
    """One line of the table.

    load: requests sent. excused: of the failures, those in flight on what was
    killed, or sent while nothing ran. problems: why it is not in order.
    """

    fault: str
    injected: str
    load: int = 0
    failed: int = 0
    excused: int = 0
    seen: int = 0
    captured: int = 0
    dropped: int = 0
    lost: int = 0
    repeated: int = 0
    replayed: int = 0
    unaccounted: int = 0
    note: str = ""
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def ledger_gaps(ledger: dict[str, Any]) -> int:
    """Return how many requests the ledger has no fate for."""
    fates = (
        ledger["captured"]
        + ledger["sampled"]
        + ledger["lost"]
        + sum(ledger["filtered"].values())
        + sum(ledger["dropped"].values())
    )
    kept = ledger["shipped"] + ledger["waiting"] + ledger["quarantined"] + ledger["discarded"]
    return abs(ledger["seen"] - fates) + abs(ledger["captured"] - kept)


async def judge(
    fault: str,
    injected: str,
    load: Load,
    origin: MarkedOrigin,
    ledger: dict[str, Any],
    to: Path,
    *,
    kills: Sequence[float] = (),
    excused_kinds: Sequence[str] = (),
    outages: Sequence[tuple[float, float]] = (),
    extra_seen: int = 0,
) -> Accounts:
    """Return the accounts of a load, after replaying its capture.

    kills: when processes that serve were killed. outages: from when to when nothing listened.
    excused_kinds: failures that the fault itself brings with it. extra_seen:
    requests that others than the load sent.
    """
    found = records(to)
    unique = {one["id"]: one["request"]["target"].partition("?")[0] for one in found}
    markers = Counter(target.removeprefix("/m/") for target in unique.values())
    missing = load.answered - markers.keys()
    dropped = sum(ledger["dropped"].values())
    in_flight = {one.marker for one in load.in_flight_at(kills)}
    excused = [
        one
        for one in load.failures
        if one.marker in in_flight
        or one.kind in excused_kinds
        or any(begin <= one.ended_s and one.sent_s <= end for begin, end in outages)
    ]
    accounts = Accounts(
        fault=fault,
        injected=injected,
        load=len(load.outcomes),
        failed=len(load.failures),
        excused=len(excused),
        seen=ledger["seen"],
        captured=ledger["captured"],
        dropped=dropped,
        lost=ledger["lost"],
        repeated=len(found) - len(unique),
    )
    problems = accounts.problems
    gaps = ledger_gaps(ledger)
    kept_back = ledger["waiting"] + ledger["quarantined"] + ledger["discarded"]
    strays = abs(ledger["captured"] - kept_back - len(unique))
    uncounted = max(0, len(missing) - dropped)
    twice = sum(count - 1 for count in markers.values())
    if bodies := sum("body_ref" in one["request"] for one in found):
        accounts.note = f"{bodies} with body objects"
    phantom = len(markers.keys() - origin.served.keys())
    accounts.unaccounted = gaps + strays + uncounted + twice
    if not ledger["balanced"] or gaps:
        problems.append(f"the ledger does not balance: {ledger}")
    if ledger["exit"] or ledger["waiting"]:
        problems.append(f"exit status {ledger['exit']}, {ledger['waiting']} left in the spool")
    if strays:
        problems.append(f"{len(unique)} ids in the capture, {ledger['captured']} counted")
    if uncounted:
        problems.append(f"answered, neither recorded nor counted: {sorted(missing)[:5]}")
    if twice:
        problems.append("a request stands in the capture under two ids")
    if phantom and not extra_seen:
        accounts.note = f"{phantom} recorded that the application never answered"
    if not len(load.answered) <= ledger["seen"] <= len(load.outcomes) + extra_seen:
        problems.append(f"seen {ledger['seen']} of {len(load.outcomes)} sent")
        accounts.unaccounted += 1
    if len(load.failures) > len(excused):
        beyond = [one for one in load.failures if one not in excused]
        problems.append(f"{len(beyond)} requests failed without cause: {beyond[:3]}")
    problems += _mixed_up(load, origin)
    await _replay(accounts, len(found), markers, to)
    return accounts


def _mixed_up(load: Load, origin: MarkedOrigin) -> list[str]:
    problems = []
    if wrong := [one.marker for one in load.outcomes if one.kind == "wrong"]:
        problems.append(f"clients got the answers of others: {wrong[:3]}")
    if twice := [marker for marker, count in origin.served.items() if count > 1]:
        problems.append(f"the application was asked twice: {twice[:3]}")
    if origin.foreign:
        problems.append(f"bodies of other requests: {origin.foreign[:3]}")
    return problems


async def _replay(accounts: Accounts, lines: int, markers: Counter[str], to: Path) -> None:
    """Replay the capture, and hold the ledger against what the other application was sent."""
    if not lines:
        return
    async with marked_origin() as staging:
        ledger = await replay(to, staging.url)
    accounts.replayed = ledger["answered"]
    expected = (lines, accounts.repeated, len(markers), len(markers), 0, True)
    got = (
        ledger["read"],
        ledger["duplicates"],
        ledger["planned"],
        ledger["answered"],
        ledger["exit"],
        ledger["balanced"],
    )
    if got != expected:
        accounts.problems.append(f"the replay's ledger is {ledger}, not {expected}")
    if staging.served != markers or staging.foreign:
        accounts.problems.append("the replay sent something else than the capture holds")
        accounts.unaccounted += (staging.served - markers).total()
        accounts.unaccounted += (markers - staging.served).total()
