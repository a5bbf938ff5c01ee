"""What correlation costs: CPU of a replay with it and without it, and its memory.

The capture is all stateful: an order is made, read, changed and read again, every answer
is recorded and every id is another one at the target. The second table is the memory
of correlation over a million exchanges.

    python benchmarks/correlation_cost.py [--rounds N] [--shots N] [--exchanges N]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import harness
import shop_origin
import tables
from conditions import cost_us, send
from plan import Plan, Say
from results import Column, Demand, Row, Section, Spread

from mirrorproxy.clock import new_id
from mirrorproxy.codec import encode_line
from mirrorproxy.http1.heads import parse_response
from mirrorproxy.keys import object_key
from mirrorproxy.members import pack
from mirrorproxy.outcome import Outcome
from mirrorproxy.record import Exchange, Request, Response
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.replay.engine import Engine
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.intake import Planned
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.schedule import MAX_SPEED
from mirrorproxy.rules.planner import Planner
from mirrorproxy.rules.simple import simple_rules
from mirrorproxy.sources.events import CaptureObject, Signal

T0_US = 1_700_000_000_000_000
FIRST = 5_000_000
"""Production's first number: no other number in the capture is as high."""

WITHOUT, WITH = "without correlation", "with correlation"
COLUMNS = (
    Column("CPU a shot", "us", "lower"),
    Column("to without", "times", "lower", is_relative=True),
    Column("changed", "shots", "higher"),
    Column("not answered"),
)
MEMORY_COLUMNS = (
    Column("learned", "pairs", "higher"),
    Column("held", "pairs", "lower"),
    Column("RSS", "MiB", "lower", resolution=8),
)
_PAGE_MIB = 4096 / (1 << 20)
SOURCE = CaptureObject(name="bench", open=NotImplemented, base=".")


def exchanges(count: int) -> Iterator[Exchange]:
    """Yield so many exchanges, four to an order, a thousand users in turn."""
    for number in range(count):
        user, step = number // 4 % 1000, number % 4
        order = FIRST + number // 4
        method, path, body = (
            ("POST", "/orders", {"customer_id": 7, "qty": 3, "note": "as soon as possible"}),
            ("GET", f"/orders/{order}", None),
            ("PUT", f"/orders/{order}", {"id": order, "qty": 4, "state": "paid"}),
            ("GET", f"/orders/{order}?page=1", None),
        )[step]
        at_us = T0_US + number * 500
        headers = [("Host", "api.example.com"), ("User-Agent", "bench/1"), ("Accept", "*/*")]
        text = None
        if body is not None:
            text = json.dumps(body)
            headers.append(("Content-Type", "application/json"))
        said = shop_origin.order(order)
        answer = [("Content-Type", "application/json"), ("Date", "Tue, 14 Nov 2023 22:13:20 GMT")]
        if not step:
            answer += [("Location", f"/orders/{order}"), ("ETag", f'"v{order}"')]
        yield Exchange(
            v=1, id=new_id(at_us), service="shop", via="inline", node="bench/0", started_us=at_us,
            duration_us=400, client=f"203.0.{user // 250}.{user % 250}", scheme="https",
            upstream="http://10.0.3.7:8080",
            request=Request(method, path, "1.1", headers, text, "utf8" if text else None,
                            len(text or "")),
            response=Response(201 if not step else 200, answer, said.decode(), "utf8", len(said)),
        )  # fmt: skip


def write(root: Path, count: int) -> None:
    """Write a capture of so many exchanges."""
    path = root / object_key("", "bench", T0_US, "000000000000")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        lines: list[bytes] = []
        for one in exchanges(count):
            lines.append(encode_line(one))
            if len(lines) == 100:
                file.write(pack(b"".join(lines), len(lines)))
                lines.clear()
        if lines:
            file.write(pack(b"".join(lines), len(lines)))


@contextlib.contextmanager
def shop() -> Iterator[int]:
    """Run an origin that gives ids; yields its port."""
    port = harness.free_port()
    argv = [sys.executable, str(harness.REPOSITORY / "benchmarks/shop_origin.py"), str(port)]
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name:
        with harness.running(argv, port, log=Path(name, "log")):
            yield port


def sending(shots: int, rounds: int, say: Say) -> Section:
    """Send with correlation and without it in turn; return the table."""
    costs: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    changed = dict.fromkeys(costs, 0)
    missed = dict.fromkeys(costs, 0)
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name:
        folder = Path(name)
        write(folder / "all", shots)
        write(folder / "one", 1)
        for number in range(rounds):
            for way, options in ((WITHOUT, ["--no-correlate"]), (WITH, [])):
                with shop() as port:
                    to = ["--target", f"http://127.0.0.1:{port}", *options]
                    start = send(folder / "one", folder / "out", *to)
                with shop() as port:
                    to = ["--target", f"http://127.0.0.1:{port}", *options]
                    run = send(folder / "all", folder / "out", *to)
                costs[way].append(cost_us(run, start))
                missed[way] += run.shots - run.answered
                ledger = json.loads((folder / "out/ledger.json").read_text())
                changed[way] = (ledger["correlation"] or {}).get("shots", 0)
            told = ", ".join(f"{way} {found[-1]:.1f} us" for way, found in costs.items())
            say(f"round {number + 1}: {told}")
    times = {
        way: Spread.of(one / bare for one, bare in zip(found, costs[WITHOUT], strict=True))
        for way, found in costs.items()
    }
    rows = [
        Row(
            way,
            {
                "CPU a shot": Spread.of(found),
                "to without": times[way],
                "changed": Spread.of([changed[way]]),
                "not answered": Spread.of([missed[way]]),
            },
            is_ours=True,
        )
        for way, found in costs.items()
    ]
    return Section(
        name="correlation",
        title="What correlation costs",
        how=f"{shots:,} requests that make, read and change orders, each answered with some "
        f"700 bytes of JSON that are recorded, at full speed, {rounds} runs each; the start of "
        "the process taken off.",
        columns=COLUMNS,
        rows=rows,
        demands=[
            Demand("Correlation beside none", "at most", 1.5, times[WITH].median, "times"),
        ],
    )


# -- memory ------------------------------------------------------------------------------


class _Made:
    """An intake of exchanges that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._exchanges = exchanges(count)
        self._planner = Planner(
            simple_rules("http://staging"), "bench", "bench", speed=MAX_SPEED, now_us=lambda: 0
        )

    def take(self) -> Planned | Signal:
        """Return the shots of the next one."""
        one = next(self._exchanges, None)
        return Signal.END if one is None else Planned(self._planner.plan(one).shots, SOURCE)

    def close(self) -> None:
        """Do nothing."""


def answered(flight: Flight, orders: shop_origin.Orders) -> None:
    """Let the target answer."""
    shot = flight.shot
    status, lines, body = orders.answer(shot.method.encode(), shot.path.partition("?")[0].encode())
    head = parse_response(
        b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
        % (status, lines, len(body))
    )
    assert head is not None
    flight.on_whole(head, body)


def memory(count: int, say: Say) -> Section:
    """Replay with a network that answers at once; return what is held, eight times meanwhile."""
    correlation = Correlation()
    under_way: list[Flight] = []
    ledger = Ledger()

    def sent(flight: Flight, _timeout_s: float | None) -> None:
        under_way.append(flight)

    def ignore(_flight: Flight) -> None:
        raise AssertionError("no body lies apart")

    def report(_outcome: Outcome) -> None: ...

    def wake() -> None: ...

    clock = iter(range(1 << 60))
    engine = Engine(
        _Made(count), {"target": Limits()}, ledger, speed=MAX_SPEED, correlator=correlation,
        clock_s=lambda: next(clock) / 1e5, wall_us=0, send=sent, load=ignore, report=report,
        wake=wake,
    )  # fmt: skip
    orders = shop_origin.Orders(1)
    rows: list[Row] = []
    part = count // 8
    while not engine.is_over:
        engine.turn()
        while under_way:
            landed, under_way[:] = under_way[:], []
            for flight in landed:
                answered(flight, orders)
            engine.pump()
        if ledger.answered >= part * (len(rows) + 1):
            held_mib = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_MIB
            rows.append(
                Row(
                    f"after {ledger.answered:,}",
                    {
                        "learned": Spread.of([correlation.tally.learned]),
                        "held": Spread.of([correlation.limits.count]),
                        "RSS": Spread.of([held_mib]),
                    },
                    is_ours=True,
                )
            )
            say(f"{rows[-1].subject}: {held_mib:.0f} MiB")
    return Section(
        name="correlation memory",
        title="What correlation remembers",
        how=f"The engine alone over {count:,} exchanges of which each fourth makes an order.",
        columns=MEMORY_COLUMNS,
        rows=rows,
    )


def measure(plan: Plan, say: Say) -> list[Section]:
    """Measure as long as the plan says."""
    return [sending(plan.replay_shots, plan.rounds, say), memory(plan.exchanges[-1], say)]


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="of each in turn (default: 3)")
    parser.add_argument("--shots", type=int, default=20_000, help="in the capture (default: 20000)")
    parser.add_argument(
        "--exchanges", type=int, default=100_000, help="for memory (default: 100000)"
    )
    options = parser.parse_args()
    print(tables.text(sending(options.shots, options.rounds, print)))
    print(tables.text(memory(options.exchanges, print)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
