"""Run the benchmarks: print their tables, write them down, name what became worse.

Results go to .cache/bench; `--publish` writes benchmarks/RESULTS.md and
results.json instead. Either way they are compared with the last published ones.

    python benchmarks/run.py [--full | --trial] [--only NAME ...] [--publish]
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import capture_cost
import conditions
import correlation_cost
import firehose_cost
import growth
import harness
import machine
import memory
import msgspec
import pacing
import replay_cost
import results
import tables
from plan import FULL, QUICK, TRIAL, Plan, Say
from regressions import Regression, regressions
from results import Results, Section

HERE = Path(__file__).resolve().parent
UNPUBLISHED = harness.REPOSITORY / ".cache/bench"
BUSY = 0.15
"""The share of all cores that others may use while figures to be published are taken."""

BENCHMARKS: dict[str, Callable[[Plan, Say], list[Section]]] = {
    "capture_cost": capture_cost.measure,
    "replay_cost": replay_cost.measure,
    "conditions": conditions.measure,
    "correlation": correlation_cost.measure,
    "pacing": pacing.measure,
    "connections": growth.measure_connections,
    "bodies": growth.measure_bodies,
    "exchanges": growth.measure_exchanges,
    "memory": memory.measure,
    "firehose_cost": firehose_cost.measure,
}


def note(line: str) -> None:
    """Say how far it is, apart from the results."""
    print(line, file=sys.stderr, flush=True)


def run(names: Sequence[str], plan: Plan) -> tuple[list[Section], list[str]]:
    """Run benchmarks, printing each table; return the sections and the names that failed."""
    sections: list[Section] = []
    failed: list[str] = []
    for name in names:
        started_s = time.monotonic()
        note(f"== {name}")
        try:
            found = BENCHMARKS[name](plan, note)
        except harness.Absent as error:
            found = [Section(name, name, "Not measured.", absent=[str(error)])]
        except (RuntimeError, OSError) as error:
            note(f"{name} failed: {error}")
            failed.append(name)
            continue
        for section in found:
            print(tables.text(section), flush=True)
        sections += found
        note(f"== {name}: {time.monotonic() - started_s:.0f} s")
    return sections, failed


def last_published() -> Results | None:
    """Return the last published results; None if there are none that can be read."""
    try:
        return results.decode((HERE / "results.json").read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        note(f"the last results cannot be read: {error}")
        return None


def write(now: Results, worse: list[Regression] | None, folder: Path) -> None:
    """Write results and their page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_bytes(results.encode(now))
    (folder / "RESULTS.md").write_text(tables.page(now, worse))
    note(f"written: {folder / 'RESULTS.md'}")


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; ends with status 2 if they do not go together."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    length = parser.add_mutually_exclusive_group()
    for plan, what in (
        (FULL, "longer runs, up to a million exchanges (about half an hour)"),
        (TRIAL, "too short to mean anything: shows that they run"),
    ):
        length.add_argument(
            f"--{plan.name}", dest="plan", action="store_const", const=plan, help=what
        )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=BENCHMARKS,
        metavar="NAME",
        help=f"some of {', '.join(BENCHMARKS)}",
    )
    parser.add_argument("--publish", action="store_true", help="into benchmarks/, to be committed")
    parser.set_defaults(plan=QUICK)
    options = parser.parse_args(arguments)
    if options.publish and (options.only or options.plan is TRIAL):
        parser.error("--publish takes all benchmarks, and no trial")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, compare, write; 0 if every benchmark ran, 2 if the machine is too busy to publish."""
    options = options_of(arguments)
    busy = machine.busy_share()
    if busy > BUSY:
        note(f"the machine is busy: {busy:.0%} of its cores are in use by others")
        if options.publish:
            return 2
    started = datetime.datetime.now(datetime.UTC)
    sections, failed = run(options.only or list(BENCHMARKS), options.plan)
    now = Results(
        date=f"{started:%Y-%m-%d %H:%M} UTC",
        plan=options.plan.name,
        machine=machine.describe() | {"busy": f"{busy:.0%} in use by others before"},
        versions=machine.versions(),
        sections=sections,
    )
    before = last_published()
    worse = None if before is None else regressions(before, now)
    for one in worse or ():
        print(f"worse: {one}")
    for section in sections:
        for demand in section.demands:
            if not demand.is_met:
                print(tables.verdict(demand))
    # What failed is not published: the comparison of the next run would miss it.
    write(now, worse, HERE if options.publish and not failed else UNPUBLISHED)
    if failed:
        note(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
