"""Puts the same raw bytes through mirrorproxy, nginx, HAProxy and Traefik and writes the table.

    python tests/wire/compare_proxies.py [--only NAME,...] [--write docs/conformance.md]

What a proxy adds to every message (Server and Date, X-Forwarded-*), and names in
lower case where it does that to all, is measured on a plain request first and
then not held against it. A proxy that is not installed is named as absent.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cases_framing
import cases_heads
import cases_responses
from support.conformance import (
    ORDER_OR_CASE,
    Observed,
    RequestCase,
    ResponseCase,
    answer_differences,
    differences,
    judge_request,
    judge_response,
    run_request,
    run_response,
)
from support.messages import Message
from support.mirror import Mirror
from support.origin import RawOrigin
from support.proxies import STARTERS, find_program

from mirrorproxy.http1.limits import ClientLimits, ServerLimits

_INTRODUCTION = """\
What becomes of the same raw bytes in mirrorproxy and in other proxies. Behind each stands an
origin that records raw bytes and reads with no tolerance at all; after each case clean requests
follow on a fresh connection, and their answers must be their own.

This page is written by `tests/wire/compare_proxies.py --write docs/conformance.md`. The cases are
in `tests/wire/cases_*.py`; `tests/wire` holds mirrorproxy to them. Each proxy is set up as a plain
reverse proxy with wide limits.""".splitlines()

_LEGEND = """\
- *same*: the other side got every byte, hop-by-hop fields and framing aside.
- *changed*: passed on, but what is named differs. What a proxy adds to every message (Server and
  Date, X-Forwarded-*) does not count, nor lower case where it is put on all names.
- *passed*: passed on in one reading, where mirrorproxy refuses.
- *open to two readings*: passed on in bytes that two parsers can read differently.
- *read as two*: one message became two requests, or two answers.
- *DESYNC*: an answer went to the wrong request.
- a number: refused with that status. *closed*: the connection ended without a (whole) answer.
- *waits*: nothing within 1.5 s.""".splitlines()

OURS = ("mirrorproxy", "mirrorproxy --strict")
_TIMEOUT_S = 1.5
_LIMITS = ServerLimits(head_timeout_s=1, body_timeout_s=1)
_REQUESTS = [*cases_framing.CASES, *cases_heads.CASES]
_VERSIONS = {"nginx": ["-v"], "haproxy": ["-v"], "traefik": ["version"]}


@dataclass(frozen=True)
class Habit:
    """What a proxy does to every message."""

    added: tuple[bytes, ...] = ()
    lower_case: bool = False


@dataclass
class Column:
    """One proxy's outcomes by case. wrong: ours only, what the judge says of it."""

    name: str
    version: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)


@contextlib.contextmanager
def _started(name: str, origin: RawOrigin) -> Iterator[tuple[str, int]]:
    if name in OURS:
        client = ClientLimits(response_timeout_s=1)
        strict = name != OURS[0]
        with Mirror(origin.authority, strict=strict, server=_LIMITS, client=client) as mirror:
            yield mirror.address
        return
    with STARTERS[name](origin.authority) as address:
        yield address


def _version(name: str) -> str:
    done = subprocess.run(
        [find_program(name) or name, *_VERSIONS[name]], capture_output=True, text=True, check=False
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "ersion" in line]
    return next(
        (w for line in lines for w in line.replace("/", " ").split() if w[:1].isdigit()), ""
    )


def _habit(plain: Message | None, sent: set[bytes]) -> Habit:
    if plain is None:
        return Habit()
    names = [name for name, _ in plain.fields]
    added = {name.lower() for name in names} - sent
    return Habit(tuple(added), all(name == name.lower() for name in names))


def _habits(address: tuple[str, int], origin: RawOrigin) -> tuple[Habit, Habit]:
    raw = b"GET /case/@ID HTTP/1.1\r\nHost: a.test\r\nX-Plain: 1\r\n\r\n"
    observed = run_request(RequestCase("", raw, cases_heads.PASSED), address, origin)
    seen = observed.seen[0] if observed.seen else None
    return (
        _habit(seen, {b"host", b"x-plain"}),
        _habit(observed.answer, {b"content-length", b"x-origin"}),
    )


def _changes(found: list[str], habit: Habit) -> str:
    kinds = []
    for one in found:
        if one == ORDER_OR_CASE:
            if not habit.lower_case:
                kinds.append("order or case")
        else:
            kinds.append(one.split(" ")[0].rstrip(":").replace("start", "target"))
    return f"changed: {', '.join(dict.fromkeys(kinds))}" if kinds else "same"


def _unsound(observed: Observed) -> str | None:
    text = " ".join(observed.faults)
    if "clean" in text:
        return "**DESYNC**"
    # A dead kept connection makes a proxy repeat a request: that is not another one.
    if len({one.start for one in observed.seen}) > 1:
        return "**read as two**"
    if "more than the answer" in text and observed.seen and observed.seen[0].method != b"CONNECT":
        return "**read as two**"
    if "origin got" in text or "client got:" in text:
        return "**open to two readings**"
    return None


def request_outcome(case: RequestCase, observed: Observed, habit: Habit) -> str:
    """Return in a word or two what became of a request."""
    if unsound := _unsound(observed):
        return unsound
    if observed.from_origin and observed.seen:
        added = (*case.expect.added, *habit.added)
        expect = replace(case.expect, added=added)
        if not expect.passed:
            return "passed"
        return _changes(differences(case, expect, observed.seen[0]), habit)
    return _refusal(observed)


def response_outcome(case: ResponseCase, observed: Observed, habit: Habit) -> str:
    """Return in a word or two what became of an answer."""
    if unsound := _unsound(observed):
        return unsound
    if observed.from_origin and observed.answer:
        if not case.expect.passed:
            return "passed"
        expect = replace(case.expect, added=(*case.expect.added, *habit.added))
        found = answer_differences(replace(case, expect=expect), observed.answer)
        if tuple(observed.interim) != case.expect.interim:
            found.append("interim")
        return _changes(found, habit)
    return _refusal(observed)


def _refusal(observed: Observed) -> str:
    if observed.how == "answered":
        return str(observed.status)
    return {"dropped": "closed", "silent": "waits"}.get(observed.how, observed.how)


def measure(name: str) -> Column:
    """Put every case through a proxy."""
    column = Column(name, "" if name in OURS else _version(name))
    strict = name == OURS[1]
    with RawOrigin() as origin, _started(name, origin) as address:
        to_origin, to_client = _habits(address, origin)
        for case in _REQUESTS:
            seen = run_request(case, address, origin, _TIMEOUT_S)
            column.outcomes[case.name] = request_outcome(case, seen, to_origin)
            if name in OURS and (wrong := judge_request(case, seen, strict=strict)):
                column.wrong[case.name] = wrong
        for answer in cases_responses.CASES:
            seen = run_response(answer, address, origin, _TIMEOUT_S)
            column.outcomes["answer " + answer.name] = response_outcome(answer, seen, to_client)
            if name in OURS and (wrong := judge_response(answer, seen)):
                column.wrong["answer " + answer.name] = wrong
    return column


def kind(outcome: str) -> str:
    """Return the row of the summary that an outcome counts in."""
    if outcome.isdigit() or outcome == "closed":
        return "refused"
    if outcome == "waits":
        return "left waiting"
    return outcome.partition(":")[0].strip("*")


_KINDS = [
    "refused",
    "same",
    "changed",
    "passed",
    "left waiting",
    "open to two readings",
    "read as two",
    "DESYNC",
]
_MEANING = {
    "refused": "refused, or the connection closed",
    "same": "passed on identically",
    "changed": "passed on, changed",
    "passed": "passed on where mirrorproxy refuses",
    "left waiting": "left waiting",
    "open to two readings": "passed on in a form open to two readings",
    "read as two": "one message read as two",
    "DESYNC": "desync: an answer went to the wrong request",
}


def lenient(ours: Column, others: list[Column]) -> list[str]:
    """Return the cases that we pass on and another refuses."""
    passed = ("same", "changed", "passed")
    return [
        case
        for case, outcome in ours.outcomes.items()
        if kind(outcome) in passed
        and any(kind(other.outcomes[case]) == "refused" for other in others)
    ]


def table(columns: list[Column], cases: list[str]) -> list[str]:
    """Return rows of Markdown: a case and what became of it in each column."""
    lines = ["| case | " + " | ".join(column.name for column in columns) + " |"]
    lines.append("|" + " --- |" * (len(columns) + 1))
    for case in cases:
        cells = " | ".join(column.outcomes[case] for column in columns)
        lines.append(f"| {case.replace('|', chr(92) + '|')} | {cells} |")
    return lines


def render(columns: list[Column], absent: list[str]) -> str:
    """Return the page."""
    peers = [column for column in columns if column.name not in OURS]
    ours = [column for column in columns if column.name in OURS]
    cases = list(columns[0].outcomes)
    versions = ", ".join(f"{column.name} {column.version}".strip() for column in peers)
    lines = [
        "# Conformance",
        "",
        *_INTRODUCTION,
        "",
        f"Compared on {datetime.now(UTC):%Y-%m-%d} with {versions or 'none'}."
        + (f" Absent: {', '.join(absent)}." if absent else ""),
        "",
        *_LEGEND,
        "",
        "## Summary",
        "",
        "| outcome | " + " | ".join(column.name for column in columns) + " |",
        "|" + " --- |" * (len(columns) + 1),
    ]
    counts = [Counter(kind(outcome) for outcome in c.outcomes.values()) for c in columns]
    for one in _KINDS:
        cells = " | ".join(str(count[one]) for count in counts)
        lines.append(f"| {_MEANING[one]} | {cells} |")
    lines += [f"| cases | {' | '.join(str(len(c.outcomes)) for c in columns)} |", ""]
    softer = lenient(ours[0], peers) if ours else []
    lines += ["## Passed on by mirrorproxy, refused by another", ""]
    lines += [
        "Ugly, but framed in one way only. `--strict` refuses what RFC 3986 does not allow.",
        "",
    ]
    lines += table(columns, softer) if softer else ["None."]
    groups = dict.fromkeys(case.partition(":")[0] for case in cases)
    for group in groups:
        chosen = [case for case in cases if case.partition(":")[0] == group]
        lines += ["", f"## {group[0].upper() + group[1:]}", "", *table(columns, chosen)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Compare and write; status 1 when mirrorproxy itself falls short of its own tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="names of proxies, joined by commas")
    parser.add_argument("--write", type=Path, help="the page to write; standard output otherwise")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else [*OURS, *STARTERS]
    absent = [name for name in names if name in STARTERS and find_program(name) is None]
    columns = [measure(name) for name in names if name not in absent]
    page = render(columns, absent)
    if arguments.write:
        arguments.write.write_text(page)
    else:
        sys.stdout.write(page)
    wrong = {f"{c.name}: {case}": why for c in columns for case, why in c.wrong.items()}
    for case, why in wrong.items():
        sys.stderr.write(f"{case}: {'; '.join(why)}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
