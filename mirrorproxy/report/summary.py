"""The summary of a replay: its ledger as lines that people read.

Pure. Owns the wording and the layout; counts nothing. What it shows comes as
plain values, the ledger as `--json` prints it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mirrorproxy.marks import parse_fingerprint
from mirrorproxy.report.printable import printable
from mirrorproxy.units import format_duration

SHOWN_UNREADABLE = 20
SHOWN_SHARED = 5

_HINTS = {
    "no credential": "requests with a sealed credential need another one for the target: "
    "--auth-env NAME, or auth: in the rules (auth: none leaves it out); one in a body needs a "
    "table",
    "no token": "their credentials could not be had; the warnings above say why "
    "(docs/credentials.md)",
    "no rule": "no rule takes these; defaults: {unmatched: send} sends them too",
    "replayed traffic": "these were sent by a replay, and are never sent again",
    "omitted": "their bodies could not be sealed in place, so they were not recorded",
    "no body in log": "the log or HAR has none of their bodies; send: {without_body: true} in the "
    "rule sends them without",
    "unsafe method": "the target takes safe_methods_only",
    "truncated": "their bodies passed the capture limit, so they were cut",
}


class Details(NamedTuple):
    """What the ledger's sums do not show.

    seconds: how long the replay took, None where several are added up.
    lag_by_cause: cause -> the ledger's form of percentiles, in milliseconds.
    left_out: target -> exchanges that were sent to other targets only, for want
    of a credential or of a safe method. shared: session key -> shots that went
    without order, as the key is no single user's.
    """

    seconds: float | None
    late: int
    differing: int
    cookies_removed: int
    lag_by_cause: Mapping[str, Mapping[str, float | None]]
    left_out: Mapping[str, int]
    shared: Mapping[str, int]


NO_DETAILS = Details(None, 0, 0, 0, {}, {}, {})


def summary_lines(ledger: Mapping[str, Any], details: Details) -> list[str]:
    """Return the summary, one line after the other, without line ends."""
    rows = [
        *_exchange_rows(ledger),
        (
            "shots",
            f"{ledger['planned']:,} planned = {ledger['answered']:,} answered + "
            f"{sum(ledger['failed'].values()):,} failed + "
            f"{sum(ledger['shed'].values()):,} shed + {ledger['unsent']:,} unsent",
        ),
        ("answers", _answers(ledger["status"], details.differing)),
        ("failed", _counts(ledger["failed"])),
        ("shed", _counts(ledger["shed"])),
        ("latency", _times(ledger["latency_ms"])),
        ("lag", _lag(ledger["lag_ms"], details.lag_by_cause)),
        ("order", _unordered(ledger["unordered"], details.shared)),
        ("late", f"{details.late:,} came behind their turn" if details.late else ""),
        ("cookies", _cookies(details.cookies_removed)),
        ("left out", _counts(details.left_out)),
        ("tokens", _tokens(ledger)),
        ("unreadable", f"{ledger['unreadable']:,}" if ledger["unreadable"] else ""),
        ("ledger", "balanced" if ledger["balanced"] else "DOES NOT BALANCE"),
        ("took", "" if details.seconds is None else format_duration(details.seconds)),
    ]
    lines = [f"{name:<11} {text}" for name, text in rows if text]
    return [*lines, *_hints(ledger)]


def exchange_lines(ledger: Mapping[str, Any]) -> list[str]:
    """Return what became of the exchanges alone, with the hints to that."""
    return [f"{name:<11} {text}" for name, text in _exchange_rows(ledger) if text] + _hints(ledger)


def _exchange_rows(ledger: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            "exchanges",
            f"{ledger['read']:,} read = {ledger['duplicates']:,} duplicates + "
            f"{sum(ledger['skipped'].values()):,} skipped + {ledger['selected']:,} selected",
        ),
        ("skipped", _counts(ledger["skipped"])),
    ]


def _hints(ledger: Mapping[str, Any]) -> list[str]:
    hints = [
        f"hint: {reason}: {_HINTS[reason]}"
        for reason in (*ledger["skipped"], *ledger["shed"])
        if reason in _HINTS
    ]
    if not ledger["read"]:
        hints.append(f"hint: {nothing_read(is_damaged=bool(ledger['unreadable']))}")
    return hints


def nothing_read(*, is_damaged: bool) -> str:
    """Return why a source may have given no exchange at all. is_damaged: it held something."""
    if is_damaged:
        return "nothing here could be read: is it a capture?"
    return "no exchange here; a running capture writes its objects after some seconds (--roll-age)"


def unreadable_lines(shown: Sequence[str], total: int) -> list[str]:
    """Return what could not be read, a line each, and how many more there were.

    shown: the first ones, at most SHOWN_UNREADABLE.
    """
    lines = [f"unreadable: {printable(one)}" for one in shown]
    if total > len(shown):
        lines.append(f"unreadable: and {total - len(shown):,} more places")
    return lines


def progress_line(ledger: Mapping[str, Any], in_flight: int, seconds: float) -> str:
    """Return how a replay stands, in one line."""
    sent = ledger["answered"] + sum(ledger["failed"].values())
    rate = sent / seconds if seconds > 0 else 0.0
    parts = [
        format_duration(seconds),
        f"{sent:,} sent ({rate:,.0f}/s)",
        f"{in_flight:,} in flight",
        f"lag p99 {_ms(ledger['lag_ms']['p99'])}",
    ]
    parts += [
        f"{total:,} {name}" for name in ("failed", "shed") if (total := sum(ledger[name].values()))
    ]
    return ", ".join(parts)


def _counts(counts: Mapping[str, int]) -> str:
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{printable(name)} {count:,}" for name, count in most_first)


def _answers(status: Mapping[str, int], differing: int) -> str:
    if not status:
        return ""
    text = ", ".join(f"{name} {count:,}" for name, count in status.items())
    return f"{text}; {differing:,} differ from production's" if differing else text


def _times(times: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_ms(value)}" for name, value in times.items() if value is not None)


def _lag(
    lag: Mapping[str, float | None], by_cause: Mapping[str, Mapping[str, float | None]]
) -> str:
    causes = [
        f"{cause} {_ms(times['p99'])}"
        for cause, times in by_cause.items()
        if times["p99"] is not None
    ]
    text = _times(lag)
    return f"{text} (p99 by cause: {', '.join(causes)})" if len(causes) > 1 else text


def _cookies(removed: int) -> str:
    return f"{removed:,} taken out: sealed, without a replacement" if removed else ""


def _unordered(shots: int, shared: Mapping[str, int]) -> str:
    if not shots:
        return ""
    most = sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_SHARED]
    keys = ", ".join(f"{session_name(key)} {count:,}" for key, count in most)
    more = f", and {len(shared) - len(most):,} more" if len(shared) > len(most) else ""
    return f"{shots:,} went without: more than one user's ({keys}{more})"


def session_name(key: str) -> str:
    """Return what a session is called where it may be read by anybody.

    A fingerprint or an address as it is; of what may be a user's own value a hash.
    """
    key = key.partition("\0")[0]
    if key.startswith("client:") or parse_fingerprint(key):
        return printable(key)
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4)
    return f"session {digest.hexdigest()}"


def _tokens(ledger: Mapping[str, Any]) -> str:
    counts = _counts(ledger.get("token_requests", {}))
    resent = ledger.get("resent", 0)
    again = f"{resent:,} shots sent again with a fresh one" if resent else ""
    return "; ".join(text for text in (counts, again) if text)


def _ms(value: float | None) -> str:
    return "-" if value is None else format_duration(value / 1000)
