"""What conditions cost: rules, credentials and the order of sessions, beside sending alone.

The same exchanges are sent in turn as they are, in the order of their sessions,
and with fifty rules, a token per user and that order. CPU is that of the whole
process, its start (told apart by a capture of one shot) taken off. The second
table is the engine alone, with a network that answers at once.

    python benchmarks/conditions.py [--rounds N] [--shots N]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import captures
import harness
import tables
from plan import Plan, Say
from replay_cost import Sent, finished
from results import Column, Demand, Row, Section, Spread

from mirrorproxy.outcome import Outcome
from mirrorproxy.replay.engine import Engine
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.intake import Planned
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.order import Order
from mirrorproxy.replay.schedule import MAX_SPEED
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import CaptureObject, Signal

BARE, IN_ORDER, ALL = "sending alone", "with order", "with 50 rules, tokens and order"
RULES = 50
COLUMNS = (
    Column("CPU a shot", "us", "lower"),
    Column("to sending alone", "times", "lower", is_relative=True),
    Column("rate per core", "shots/CPU s", "higher"),
    Column("start", "CPU s", "lower", resolution=0.05),
    Column("not answered"),
)


def write_rules(folder: Path, url: str) -> Path:
    """Write fifty rules, of which the last takes everything, and a table of tokens."""
    entries = [f"{captures.subject(one)}: token-{one}" for one in range(captures.CLIENTS)]
    (folder / "users.yaml").write_text("\n".join(entries) + "\n")
    lines = [
        "version: 1",
        "defaults: {session: {by: [credential, client]}}",
        "targets:",
        "  staging:",
        f"    url: {url}",
        "    auth: [{use: {table: {by: subject, file: users.yaml}}}]",
        "rules:",
    ]
    lines += [
        f"  - {{name: other {number}, skip: true, match: {{service: orders, method: [POST, PUT], "
        f"path: '/api/v{number}/**', headers: {{X-Tenant: t{number}}}}}}}"
        for number in range(RULES - 1)
    ]
    lines += ["  - {name: all, send: {}, rewrite: {headers: {set: {X-Env: bench}}}}"]
    path = folder / "rules.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def send(capture: Path, out: Path, *options: str) -> Sent:
    """Send a capture at full speed; raises RuntimeError if its ledger does not balance."""
    output, *used = finished([
        sys.executable, "-m", "mirrorproxy", "replay", str(capture), "--json", "--speed", "max",
        "--out", str(out), *options,
    ])  # fmt: skip
    ledger = json.loads(output)
    if not ledger["balanced"]:
        raise RuntimeError(f"the replay's ledger does not balance: {ledger}")
    return Sent(ledger["planned"], ledger["answered"], *used)


def cost_us(run: Sent, start: Sent) -> float:
    """Return the CPU of one shot, without the start of the process."""
    return (run.cpu_s - start.cpu_s) / run.shots * 1e6


def sending(shots: int, rounds: int, say: Say) -> Section:
    """Send with each in turn; return the table."""
    costs: dict[str, list[float]] = {BARE: [], IN_ORDER: [], ALL: []}
    starts: dict[str, list[float]] = {BARE: [], IN_ORDER: [], ALL: []}
    missed = dict.fromkeys(costs, 0)
    with (
        tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name,
        harness.origin() as port,
    ):
        folder = Path(name)
        url = f"http://127.0.0.1:{port}"
        rules = write_rules(folder, url)
        for kind, with_tokens in (("plain", False), ("tokens", True)):
            captures.write(folder / kind, shots, rate=2000, with_tokens=with_tokens)
            captures.write(folder / f"one {kind}", 1, rate=1, with_tokens=with_tokens)
        ways = {
            BARE: ("plain", "--target", url, "--order", "off"),
            IN_ORDER: ("plain", "--target", url),
            ALL: ("tokens", "--rules", str(rules)),
        }
        for number in range(rounds):
            for way, (kind, *options) in ways.items():
                start = send(folder / f"one {kind}", folder / "out", *options)
                run = send(folder / kind, folder / "out", *options)
                starts[way].append(start.cpu_s)
                costs[way].append(cost_us(run, start))
                missed[way] += run.shots - run.answered
            told = ", ".join(f"{way} {found[-1]:.1f} us" for way, found in costs.items())
            say(f"round {number + 1}: {told}")
    times = {
        way: Spread.of(one / bare for one, bare in zip(found, costs[BARE], strict=True))
        for way, found in costs.items()
    }
    rows = [
        Row(
            way,
            {
                "CPU a shot": Spread.of(found),
                "to sending alone": times[way],
                "rate per core": Spread.of(1e6 / one for one in found),
                "start": Spread.of(starts[way]),
                "not answered": Spread.of([missed[way]]),
            },
            is_ours=True,
        )
        for way, found in costs.items()
    ]
    return Section(
        name="conditions",
        title="What other conditions cost",
        how=f"{shots:,} POSTs of 1 KiB of {captures.CLIENTS:,} users from a capture on disk, at "
        f"full speed, {rounds} runs each; reading and writing of outcomes included, the start of "
        "the process taken off.",
        columns=COLUMNS,
        rows=rows,
        demands=[
            Demand(
                "Rules, credentials and order beside sending alone",
                "at most", 2, times[ALL].median, "times",
            )
        ],
    )  # fmt: skip


# -- the engine alone --------------------------------------------------------------------

ENGINE_COLUMNS = (
    Column("CPU a shot", "us", "lower"),
    Column("to no order", "times", "lower", is_relative=True),
)
SOURCE = CaptureObject(name="bench", open=NotImplemented, base=".")


class _Shots:
    """An intake of many shots, made before anything is timed."""

    def __init__(self, shots: Sequence[Shot]) -> None:
        self._shots = iter(shots)

    def take(self) -> Planned | Signal:
        """Return the next one."""
        shot = next(self._shots, None)
        return Signal.END if shot is None else Planned([shot], SOURCE)

    def close(self) -> None:
        """Do nothing."""


def made(count: int, sessions: int, overlap: int) -> list[Shot]:
    """Return shots of so many sessions in turn, each of which has so many open at once."""
    return [
        Shot(
            exchange_id=f"{number:032x}", copy=0, target="staging", origin=("http", "staging", 80),
            method="GET", path="/", headers=[("Host", "staging")], body=b"", body_length=None,
            body_ref=None, body_bytes=0, rule=None, session=f"h1:3f9a:{number % sessions:032x}",
            started_us=number * 100, duration_us=sessions * 100 * overlap - 50, status=200,
            machine="bench",
        )
        for number in range(count)
    ]  # fmt: skip


def engine_s(shots: Sequence[Shot], order: Order | None) -> float:
    """Return the CPU seconds that an engine takes for them, each answered after the turn."""
    under_way: list[Flight] = []

    def sent(flight: Flight, _timeout_s: float | None) -> None:
        under_way.append(flight)

    def ignore(_flight: Flight) -> None:
        raise AssertionError("no body lies apart")

    def report(_outcome: Outcome) -> None: ...

    def wake() -> None: ...

    engine = Engine(
        _Shots(shots), {"staging": Limits()}, Ledger(), speed=MAX_SPEED, order=order,
        clock_s=time.monotonic, wall_us=0, send=sent, load=ignore, report=report, wake=wake,
    )  # fmt: skip
    started_s = time.process_time()
    while not engine.is_over:
        engine.turn()
        while under_way:
            answered, under_way[:] = under_way[:], []
            for flight in answered:
                flight.status = 200
                flight.on_complete(b"")
            engine.pump()
    return time.process_time() - started_s


def engine_alone(shots: int, rounds: int, say: Say) -> Section:
    """Run the engine with each kind of session in turn; return the table."""
    kinds = {
        "a session each": (shots, 1),
        "1,000 users": (1000, 1),
        "10 users, six at once": (10, 6),
        "one long queue": (1, 1),
    }
    costs: dict[str, list[float]] = {"no order": []} | {kind: [] for kind in kinds}
    for number in range(rounds):
        costs["no order"].append(engine_s(made(shots, 1000, 1), None))
        for kind, (sessions, overlap) in kinds.items():
            costs[kind].append(engine_s(made(shots, sessions, overlap), Order()))
        told = ", ".join(f"{kind} {one[-1] / shots * 1e6:.2f} us" for kind, one in costs.items())
        say(f"round {number + 1}: {told}")
    rows = [
        Row(
            kind,
            {
                "CPU a shot": Spread.of(one / shots * 1e6 for one in found),
                "to no order": Spread.of(
                    one / none for one, none in zip(found, costs["no order"], strict=True)
                ),
            },
            is_ours=True,
        )
        for kind, found in costs.items()
    ]
    return Section(
        name="order",
        title="What the order of sessions costs",
        how=f"The engine alone with {shots:,} shots, {rounds} runs each; whatever was sent in one "
        "turn is answered after it. Planning, heads and outcomes are part of it; reading, rules "
        "and the network are not.",
        columns=ENGINE_COLUMNS,
        rows=rows,
    )


def measure(plan: Plan, say: Say) -> list[Section]:
    """Measure as long as the plan says."""
    return [
        sending(plan.replay_shots, plan.rounds, say),
        engine_alone(plan.replay_shots, plan.rounds, say),
    ]


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="of each in turn (default: 3)")
    parser.add_argument("--shots", type=int, default=30_000, help="in the capture (default: 30000)")
    options = parser.parse_args()
    try:
        print(tables.text(sending(options.shots, options.rounds, print)))
    except harness.Absent as error:
        print(f"not measured: {error}")
    print(tables.text(engine_alone(options.shots, options.rounds, print)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
