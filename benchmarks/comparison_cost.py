"""What comparing costs: answers of every kind, one process, nothing but the comparison.

python benchmarks/comparison_cost.py [--answers N]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from mirrorproxy.http1.client import Failure
from mirrorproxy.http1.heads import ResponseHead, parse_response
from mirrorproxy.record import Response
from mirrorproxy.replay import comparer
from mirrorproxy.replay.comparer import Comparer
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.report.groups import Groups
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import CaptureObject

HEADERS = [
    ("Date", "Mon, 02 Nov 2026 10:10:10 GMT"),
    ("Server", "nginx"),
    ("Content-Type", "application/json"),
    ("ETag", '"5a0c"'),
    ("Cache-Control", "no-cache"),
    ("X-Request-Id", "5f0c61d25f0c61d2"),
]
_SOURCE = CaptureObject(name="object", open=NotImplemented, base=None)


class Case(NamedTuple):
    """recorded: production's answer; body: the target's. has_ids: each path is another one."""

    name: str
    recorded: Response | None
    body: bytes
    has_ids: bool = True


class _Landing:
    def landed(self, flight: Flight, failure: Failure | None) -> None:
        """Nothing comes here."""


def cases() -> Iterator[Case]:
    """Yield what is compared, from next to nothing on."""
    yield Case("status and latency, few paths", None, b"", has_ids=False)
    yield Case("status and latency, each path new", None, b"")
    yield Case("with heads, few paths", Response(200, HEADERS, None, None, 99), b"", has_ids=False)
    yield Case("with heads, each path new", Response(200, HEADERS, None, None, 99), b"")
    order = {"id": 42, "state": "open", "created_at": "2026-11-20T10:11:12Z", "quantity": 3}
    other = order | {"id": 77, "created_at": "2026-11-25T10:11:12Z"}
    listed = {"items": [order] * 10, "total": 95}
    yield _bodies("equal bodies", listed, listed)
    yield _bodies("an order: two of four fields are noise", order, other)
    yield _bodies("ten orders: twenty are noise", listed, {"items": [other] * 10, "total": 95})
    yield _bodies("ten orders: a field of each changed", listed, _priced(listed))


def _priced(listed: dict[str, object]) -> dict[str, object]:
    items = listed["items"]
    assert isinstance(items, list)
    return {"items": [item | {"quantity": 4} for item in items], "total": 95}


def _bodies(name: str, ours: object, theirs: object) -> Case:
    text = json.dumps(ours)
    recorded = Response(200, HEADERS, text, "utf8", len(text))
    return Case(name, recorded, json.dumps(theirs).encode())


def _head() -> ResponseHead:
    lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS).replace("5a0c", "77f1")
    head = parse_response(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
    assert head is not None
    return head


def measure(case: Case, answers: int) -> float:
    """Return what one answer costs, in microseconds of CPU."""
    one = Comparer(Groups(), Ledger(), {})
    head, landing = _head(), _Landing()
    flights = []
    for number in range(answers):
        path = f"/orders/{number}/items?x={number}" if case.has_ids else "/orders"
        shot = Shot(
            f"{number:032x}", 0, "staging", ("http", "staging", 80), "GET", path, [], b"", None,
            None, 0, None, f"user {number % 50}", 1_772_366_400_000_000, 5000, 200,
            recorded=case.recorded,
        )  # fmt: skip
        flight = Flight(shot, _SOURCE, landing)
        flight.status = 200
        flights.append(flight)
    started = time.process_time()
    for flight in flights:
        flight.answer = answer = one.wants(flight.shot)
        if answer is not None:
            answer.head = head
            answer.add(case.body)
        one.answered(flight, 6000)
    return (time.process_time() - started) / answers * 1e6


def main() -> int:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=20_000)
    answers = parser.parse_args().answers
    print(
        "compiled" if str(comparer.__file__).endswith(".so") else "as Python",
        sys.version.split()[0],
    )
    for case in cases():
        print(f"{case.name:40} {measure(case, answers):7.2f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
