"""What Firehose costs: bytes billed a request, and CPU of shipping beside compressing alone.

Firehose bills each record rounded up to 5 KB. Records are `realistic`'s; shipping is the real
shipper with boto3 over HTTP to the endpoint of the tests, which delivers into nothing.

    python benchmarks/firehose_cost.py [--records N] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import harness
import msgspec
import tables
from plan import Plan, Say
from realistic import BODY_BYTES, Shoppers
from results import Column, Demand, Row, Section, Spread

from mirrorproxy import members
from mirrorproxy.aws_urls import bodies_of, parse_streams
from mirrorproxy.packs import Pack
from mirrorproxy.sinks.firehose import FirehoseSink
from mirrorproxy.spool.segment import SegmentWriter
from mirrorproxy.spool.shipper import Shipper

sys.path.append(str(harness.REPOSITORY / "tests"))

BILLED_STEP = 5 * 1024
"""Amazon Data Firehose pricing: each record is rounded up to the next 5 KB."""

IN_MEMBER = 100
RATE = 5000
LOOK_S = 0.05
MIN_SAVING = 8.0
MAX_CPU = 3.0


def billed(size: int) -> int:
    """Return what Firehose bills for a record of so many bytes."""
    return -(-size // BILLED_STEP) * BILLED_STEP


def billing(lines: Sequence[bytes]) -> dict[str, float]:
    """Return the bytes billed a request, by how requests are packed."""
    groups = [lines[at : at + IN_MEMBER] for at in range(0, len(lines), IN_MEMBER)]
    plain = [b"".join(group) for group in groups]
    packed = [members.pack(b"".join(group), len(group)) for group in groups]
    return {
        "one record a request": sum(billed(len(line)) for line in lines) / len(lines),
        "plain, 100 a record": sum(billed(len(one)) for one in plain) / len(lines),
        "gzip, 100 a record": sum(billed(len(one)) for one in packed) / len(lines),
    }


def compressing_us(lines: Sequence[bytes]) -> float:
    """Return the CPU a record takes to be compressed, as packs of `IN_MEMBER`."""
    groups = [b"".join(lines[at : at + IN_MEMBER]) for at in range(0, len(lines), IN_MEMBER)]
    before = time.thread_time()
    for group in groups:
        members.pack(group, IN_MEMBER)
    return (time.thread_time() - before) / len(lines) * 1e6


def shipping_us(lines: Sequence[bytes]) -> float:
    """Return the CPU a record takes to be shipped from the spool: reading, packing, putting.

    The shipper sees `RATE` records a second by a clock that is told, and looks every `LOOK_S`, as
    it does in `spool.shipper.run`.
    """
    from support.firehose import Firehose  # noqa: PLC0415 - only with the test tools

    from mirrorproxy.sinks.cloud import S3Bucket, Streams  # noqa: PLC0415 - needs boto3

    with tempfile.TemporaryDirectory() as folder, Firehose(_nowhere, note=len) as firehose:
        os.environ.update(_environ(firehose.url))
        firehose.create("bench", "bucket")
        spool = Path(folder)
        writer = SegmentWriter(spool, 0, max_segment_bytes=1 << 30)
        now = 0.0
        target = parse_streams("firehose://bench?bodies=s3://bucket/x", "--to")
        sink = FirehoseSink(
            target.streams,
            Streams(target).put,
            S3Bucket(bodies_of(target, "--to")),
            monotonic=lambda: now,
        )
        sink.put(Pack(0, b"", 0, 0))
        sink.flush()  # a connection and boto3's tables, once and for all
        shipper = Shipper(spool, sink, monotonic=lambda: now)
        taken = 0.0
        came = int(RATE * LOOK_S)
        for at in range(0, len(lines), came):
            for line in lines[at : at + came]:
                writer.append(line)
            now += LOOK_S
            before = time.thread_time()
            while shipper.step():
                pass
            taken += time.thread_time() - before
        writer.close()
        before = time.thread_time()
        left = shipper.drain(now + 60, sleep=lambda _seconds: None)
        taken += time.thread_time() - before
        shipper.close()
    if left:
        raise RuntimeError(f"{left} records were not shipped")
    return taken / len(lines) * 1e6


def _nowhere(_bucket: str, _key: str, _content: bytes) -> None:
    pass


def _environ(url: str) -> dict[str, str]:
    from support.ministack import credentials  # noqa: PLC0415 - only with the test tools

    return {**credentials(), "AWS_ENDPOINT_URL": url}


def sections(records: int, rounds: int, say: Say) -> list[Section]:
    """Return the tables of what is billed and of what shipping takes."""
    lines = list(Shoppers().lines(records))
    costs = billing(lines)
    prose = billing(list(Shoppers(prose=True).lines(records)))
    size = sum(map(len, lines)) / len(lines)
    saving = costs["one record a request"] / costs["gzip, 100 a record"]
    bytes_column = Column("billed", "bytes/request", "lower", is_relative=True)
    bill = Section(
        name="firehose_bill",
        title="What Firehose bills",
        how=f"{records} JSON requests of {BODY_BYTES} bytes (benchmarks/realistic.py), "
        f"{size:.0f} bytes a record with headers and credentials; each Firehose record rounded "
        "up to 5 KB.",
        columns=(bytes_column,),
        rows=[
            Row(name, {"billed": Spread.of([cost])}, name.startswith("gzip"))
            for name, cost in costs.items()
        ]
        + [
            Row(f"{name}, much prose", {"billed": Spread.of([cost])}, name.startswith("gzip"))
            for name, cost in prose.items()
        ],
        demands=[Demand("one record a request, beside gzip", "at least", MIN_SAVING, saving,
                        "times")],
    )  # fmt: skip
    alone: list[float] = []
    shipped: list[float] = []
    for number in range(rounds):
        alone.append(compressing_us(lines))
        shipped.append(shipping_us(lines))
        say(f"round {number + 1}: {alone[-1]:.1f} us to compress, {shipped[-1]:.1f} us to ship")
    ratios = Spread.of(one / other for one, other in zip(shipped, alone, strict=True))
    cpu = Section(
        name="firehose_cpu",
        title="What shipping to Firehose takes",
        how=f"The same records from the spool to an endpoint on this machine, by boto3, as if "
        f"{RATE} came a second; "
        f"{rounds} rounds. Compressing: the same lines as gzip members of {IN_MEMBER}.",
        columns=(Column("CPU a record", "us", "lower"),
                 Column("to compressing", "times", "lower", is_relative=True)),
        rows=[
            Row("compressing alone", {"CPU a record": Spread.of(alone)}),
            Row("shipping", {"CPU a record": Spread.of(shipped), "to compressing": ratios}, True),
        ],
        demands=[Demand("CPU of shipping beside compressing", "at most", MAX_CPU, ratios.median,
                        "times")],
    )  # fmt: skip
    return [bill, cpu]


def measure(plan: Plan, say: Say) -> list[Section]:
    """Measure with as many records as the plan's smallest capture has."""
    return sections(plan.exchanges[0], plan.gauge_rounds, say)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=10_000, help="default: 10,000")
    parser.add_argument("--rounds", type=int, default=3, help="of both in turn (default: 3)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    found = sections(
        options.records, options.rounds, lambda line: print(line, file=sys.stderr, flush=True)
    )
    if options.json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        print("\n".join(map(tables.text, found)))
    return 0 if all(demand.is_met for one in found for demand in one.demands) else 1


if __name__ == "__main__":
    sys.exit(main())
