"""``mirrorproxy report``: add up the ledgers of a fleet, and count what was sent twice.

Owns the reading of what workers left behind; the sums are `report.fleet` and
`report.repeats`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mirrorproxy.errors import ConfigError, MirrorproxyError
from mirrorproxy.report.comparison_file import FILE_NAME, MAX_FILE_BYTES, add_file
from mirrorproxy.report.findings_text import comparison_json, comparison_lines
from mirrorproxy.report.fleet import WorkerLedger, difference, read_ledger, total
from mirrorproxy.report.fleet_text import (
    SHOWN_REPEATED,
    FleetReport,
    WorkerReport,
    as_json,
    as_lines,
)
from mirrorproxy.report.groups import Groups
from mirrorproxy.report.printable import printable
from mirrorproxy.report.repeats import Once, Repeated, Repeats

EXIT_LOST = 1
EXIT_REPEATED = 3

LEDGER = "ledger.json"
OUTCOMES = "outcomes.jsonl"

_MAX_LEDGER_BYTES = 1 << 24
_MAX_LINE_BYTES = 1 << 20

DESCRIPTION = """\
Add up what the workers of a replay left behind: the sums of their ledgers, whether they
balance, which shots were sent more than once, and in what the answers differ from
production's. Each OUT is what one worker was given as --out, or a file with its ledger alone.
A worker that was killed left outcomes and no ledger: what it sent is counted from these.
"""

EPILOG = """\
examples:
  mirrorproxy report --ledger ./worker-1 ./worker-2
  mirrorproxy report --ledger ./worker-* --json | jq .once
  mirrorproxy report --ledger ./worker-* --repeated twice.jsonl --once

exit status: 0 all of it adds up, 1 a ledger is missing or does not balance or a part of the
capture was lost, 2 a mistake, 3 with --once: something was sent more than once
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "report",
        help="add up the ledgers of a fleet, and count what was sent twice",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--ledger",
        nargs="+",
        action="extend",
        required=True,
        metavar="OUT",
        help="a worker's --out, or a file with its ledger",
    )
    add("--repeated", metavar="FILE", help="write every shot that was sent more than once here")
    add("--once", action="store_true", help="end with status 3 if there is any")
    add("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Report; return the exit status. Raises ConfigError for a mistake."""
    if args.once and not any(_Left.at(Path(out)).outcomes for out in args.ledger):
        raise ConfigError("nobody left outcomes: nothing can be said", file="--once")
    with _listing(args.repeated) as listed:
        report = gather([Path(out) for out in args.ledger], listed)
    groups = _comparison([Path(out) for out in args.ledger])
    if args.json:
        compared = {} if groups is None else {"comparison": comparison_json(groups)}
        print(json.dumps(as_json(report) | compared))
    else:
        for line in (*as_lines(report), *([] if groups is None else comparison_lines(groups))):
            print(line)
    if not report.is_sound:
        return EXIT_LOST
    if args.once and report.once and report.once.repeated:
        return EXIT_REPEATED
    return 0


def gather(outs: list[Path], listed: Callable[[Repeated], None]) -> FleetReport:
    """Return the report on what workers left. listed: is told of every repeated shot.

    Raises ConfigError for what cannot be read.
    """
    if len({path.resolve() for path in outs}) < len(outs):
        raise ConfigError("the same one twice: it would be added twice", file="--ledger")
    left = [_Left.at(path) for path in outs]
    ledgers = [_ledger_at(one.ledger) for one in left]
    workers: list[WorkerReport] = []
    first: list[Repeated] = []

    def keep(repeated: Repeated) -> None:
        listed(repeated)
        if len(first) < SHOWN_REPEATED:
            first.append(repeated)

    with Repeats(sum(one.size for one in left)) as repeats:
        workers += [
            _worker(one, ledger, repeats) for one, ledger in zip(left, ledgers, strict=True)
        ]
        once: Once | None = None
        if any(one.outcomes for one in left):
            once = repeats.count(keep)
    known = [ledger for ledger in ledgers if ledger is not None]
    return FleetReport(
        workers=workers,
        total=total(known),
        balanced=len(known) == len(ledgers) and all(ledger.is_balanced for ledger in known),
        once=once,
        repeated=first,
    )


class _Left(NamedTuple):
    """The files that one worker left, and the size of its outcomes."""

    name: str
    ledger: Path | None
    outcomes: Path | None
    size: int

    @classmethod
    def at(cls, path: Path) -> _Left:
        if path.is_file():
            return cls(str(path), path, None, 0)
        ledger, outcomes = path / LEDGER, path / OUTCOMES
        found = _Left(
            str(path),
            ledger if ledger.is_file() else None,
            outcomes if outcomes.is_file() else None,
            outcomes.stat().st_size if outcomes.is_file() else 0,
        )
        if found.ledger is None and found.outcomes is None:
            what = f"holds neither {LEDGER} nor {OUTCOMES}" if path.is_dir() else "is not there"
            raise ConfigError(f"{path} {what}", file="--ledger")
        return found


def _ledger_at(path: Path | None) -> WorkerLedger | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return read_ledger(file.read(_MAX_LEDGER_BYTES))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except (ValueError, msgspec.DecodeError) as error:
        raise ConfigError(f"no ledger of a replay: {error}", file=str(path)) from None


def _comparison(outs: list[Path]) -> Groups | None:
    """Return what workers compared, added up; None if none did."""
    paths = [path for out in outs if (path := out / FILE_NAME).is_file()]
    if not paths:
        return None
    groups = Groups()
    for path in paths:
        try:
            with path.open("rb") as file:
                add_file(groups, file.read(MAX_FILE_BYTES))
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
        except ValueError as error:
            raise ConfigError(str(error), file=str(path)) from error
    return groups


def _worker(left: _Left, ledger: WorkerLedger | None, repeats: Repeats) -> WorkerReport:
    if left.outcomes is None:
        problem = None if ledger is None or ledger.is_balanced else "its ledger does not balance"
        return WorkerReport(name=left.name, ledger=ledger is not None, problem=problem)
    try:
        states, damaged = repeats.add_worker(left.name, _lines(left.outcomes))
    except OSError as error:
        where = error.filename or "temporary files"
        raise MirrorproxyError(f"{where}: {error.strerror}") from error
    return WorkerReport(
        name=left.name,
        ledger=ledger is not None,
        outcomes=states.total(),
        damaged=damaged,
        problem=_problem(ledger, states, damaged),
    )


def _problem(ledger: WorkerLedger | None, states: dict[str, int], damaged: int) -> str | None:
    if ledger is None:
        return "left no ledger: it runs, or was killed; what it had in flight then is not known"
    if not ledger.is_balanced:
        return "its ledger does not balance"
    if damaged:
        return f"{damaged:,} of its outcomes cannot be read"
    differs = difference(ledger, states)
    return None if differs is None else f"its outcomes are not those of its ledger: {differs}"


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        # Bounded: what is no file of outcomes may be one endless line.
        while line := file.readline(_MAX_LINE_BYTES):
            yield line


@contextmanager
def _listing(path: str | None) -> Iterator[Callable[[Repeated], None]]:
    """Give what takes each repeated shot, and write them where that was asked for."""
    if path is None:
        yield lambda _repeated: None
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "w", encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{printable(path)}: {error.strerror}", file="--repeated") from error
        yield lambda repeated: print(json.dumps(repeated._asdict()), file=file)
