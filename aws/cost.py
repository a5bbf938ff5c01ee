"""What a million requests cost on AWS, by path: list prices over what was measured.

Owns the sum, and the table in aws/README.md. Asks nobody: prices and sizes stand below, with
where they are from. Money is US dollars, GB are 2**30 bytes as AWS counts them.

    python aws/cost.py           print the table
    python aws/cost.py --write   write it into aws/README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
RESULTS = HERE.parent / "benchmarks/results.json"
BEGIN, END = "<!-- aws/cost.py begins -->\n", "<!-- aws/cost.py ends -->\n"

MILLION = 1_000_000
GIB = 1 << 30
REGION = "US East (N. Virginia)"
AS_OF = "November 2026"


@dataclass(frozen=True)
class Prices:
    """List prices in `REGION` without free tiers, as published up to `AS_OF`."""

    # aws.amazon.com/firehose/pricing: Direct PUT, the first 500 TB a month, 5 KB steps a record.
    firehose_gb: float = 0.029
    # aws.amazon.com/s3/pricing: Standard.
    s3_put: float = 0.005 / 1000
    s3_get: float = 0.0004 / 1000
    s3_gb_month: float = 0.023
    # aws.amazon.com/sqs/pricing: standard queues.
    sqs_request: float = 0.40 / MILLION
    # aws.amazon.com/lambda/pricing: Arm, the first tier.
    lambda_gb_s: float = 0.0000133334
    lambda_request: float = 0.20 / MILLION
    # aws.amazon.com/fargate/pricing: Linux on Arm.
    vcpu_hour: float = 0.03238
    gb_hour: float = 0.00356
    # aws.amazon.com/cloudwatch/pricing: the first tiers.
    metric_month: float = 0.30
    alarm_month: float = 0.10


@dataclass(frozen=True)
class Traffic:
    """Requests of 2 KB (benchmarks/realistic.py), so many a second.

    billed_bytes: what Firehose bills for one; stored_bytes: what the bucket holds of it. Both
    depend on how many lines make a member: those of a second, 100 at most before it is put.
    """

    rate: int
    billed_bytes: float
    stored_bytes: float


# Measured by tests/aws/test_cost.py again and again. A member holds 10 lines, 100, and 100.
TRAFFICS = (
    Traffic(10, 1024, 703),
    Traffic(100, 614.4, 574),
    Traffic(1000, 614.4, 574),
)


@dataclass(frozen=True)
class Settings:
    """The template's defaults, which tests compare, and what a worker is given."""

    buffer_bytes: int = 5 << 20
    buffer_s: float = 60
    kept_months: float = 1
    spread_s: float = 60
    split_gb: float = 0.5
    send_gb: float = 0.5
    max_chunk_shots: int = 1000
    max_senders: int = 1
    # What split takes to read an object and plan it, with 512 MiB; and how long before its first
    # request is due it has a chunk sent.
    reading_s: float = 2
    ahead_s: float = 5
    worker_vcpu: float = 1
    worker_gb: float = 2


METRICS, ALARMS = 18, 13
"""Of the functions, each billed by the month, and of the template with them."""

PRICES = Prices()
SETTINGS = Settings()


@dataclass(frozen=True)
class Load:
    """What traffic makes of the settings.

    shots: of one object; period_s: from one object to the next; chunks: of one object;
    splitting_s: how long split is at one object; sending_s: how long its sends last together.
    """

    shots: float
    period_s: float
    chunks: float
    splitting_s: float
    sending_s: float

    @property
    def objects(self) -> float:
        """Return how many objects a million requests make."""
        return MILLION / self.shots

    def splits(self) -> float:
        """Return how many splits run at once."""
        return self.splitting_s / self.period_s

    def sends(self) -> float:
        """Return how many sends run at once."""
        return self.sending_s / self.period_s


def load_of(traffic: Traffic, settings: Settings = SETTINGS) -> Load:
    """Return what traffic makes of the settings."""
    period_s = min(settings.buffer_s, settings.buffer_bytes / traffic.stored_bytes / traffic.rate)
    shots = traffic.rate * period_s
    chunks = sending_s = splitting_s = 0.0
    left = shots
    while left > 0:
        # As mirrorproxy.lambdas.cutting does: parts one after the other, shards side by side. split
        # stays until the last part's time has come.
        splitting_s = settings.reading_s + settings.spread_s * (1 - left / shots)
        part = min(left, settings.max_chunk_shots * settings.max_senders)
        wanted = -(-part * 5 // (settings.max_chunk_shots * 4))
        shards = 1 if part <= settings.max_chunk_shots else min(settings.max_senders, wanted)
        chunks += shards
        sending_s += shards * (settings.spread_s * part / shots + settings.ahead_s)
        left -= part
    return Load(shots, period_s, chunks, splitting_s, sending_s)


def capture(traffic: Traffic, prices: Prices = PRICES) -> float:
    """Return what Firehose takes for a million."""
    return traffic.billed_bytes * MILLION / GIB * prices.firehose_gb


def keeping(traffic: Traffic, settings: Settings = SETTINGS, prices: Prices = PRICES) -> float:
    """Return what the bucket takes for a million: objects put, and kept for a month."""
    kept = traffic.stored_bytes * MILLION / GIB * prices.s3_gb_month * settings.kept_months
    return kept + load_of(traffic, settings).objects * prices.s3_put


def by_lambda(
    traffic: Traffic, settings: Settings = SETTINGS, prices: Prices = PRICES
) -> dict[str, float]:
    """Return what a replay of a million by the functions costs, by part."""
    load = load_of(traffic, settings)
    chunks = load.objects * load.chunks
    return {
        "split": load.objects * load.splitting_s * settings.split_gb * prices.lambda_gb_s,
        "send": load.objects * load.sending_s * settings.send_gb * prices.lambda_gb_s,
        # A message is sent, received and deleted; a chunk is claimed and done: two puts.
        "requests": load.objects
        * (3 * prices.sqs_request + prices.lambda_request + 2 * prices.s3_get)
        + chunks * (prices.lambda_request + 2 * prices.s3_put + prices.s3_get),
    }


def by_worker(traffic: Traffic, settings: Settings = SETTINGS, prices: Prices = PRICES) -> float:
    """Return what a replay of a million by one worker on Fargate costs, as long as it takes."""
    hour = settings.worker_vcpu * prices.vcpu_hour + settings.worker_gb * prices.gb_hour
    objects = load_of(traffic, settings).objects
    return MILLION / traffic.rate / 3600 * hour + objects * (3 * prices.sqs_request + prices.s3_get)


def published(row: str) -> float:
    """Return the bytes that Firehose bills a request, as the benchmarks published them."""
    sections = json.loads(RESULTS.read_text())["sections"]
    (bill,) = (one for one in sections if one["name"] == "firehose_bill")
    (found,) = (one for one in bill["rows"] if one["subject"] == row)
    return float(found["cells"]["billed"]["median"])


def money(dollars: float) -> str:
    """Return an amount, to a tenth of a cent."""
    return f"${dollars:,.2f}" if dollars >= 0.1 else f"${dollars:.3f}"


def table(heading: str, rows: dict[str, list[str]]) -> Iterator[str]:
    """Yield the lines of a table, a column for each traffic."""
    columns = [f"{one.rate:,}/s" for one in TRAFFICS]
    yield f"| {heading} | {' | '.join(columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for name, cells in rows.items():
        yield f"| {name} | {' | '.join(cells)} |"


def text() -> str:
    """Return what stands in aws/README.md."""
    short = replace(SETTINGS, spread_s=10)
    split, send, requests = (
        [by_lambda(one)[name] for one in TRAFFICS] for name in ("split", "send", "requests")
    )
    plain = published("one record a request") * MILLION / GIB * PRICES.firehose_gb
    monthly = METRICS * PRICES.metric_month + ALARMS * PRICES.alarm_month
    costs = {
        "captured: Firehose": [capture(one) for one in TRAFFICS],
        "kept for a month: S3": [keeping(one) for one in TRAFFICS],
        "**replayed by Lambda**": [sum(by_lambda(one).values()) for one in TRAFFICS],
        "of that `split`": split,
        "of that `send`": send,
        "of that requests, claims, queue": requests,
        "replayed by Lambda, `SpreadOver=10s`": [
            sum(by_lambda(one, short).values()) for one in TRAFFICS
        ],
        "**replayed by a worker**": [by_worker(one) for one in TRAFFICS],
    }
    loads = [load_of(one) for one in TRAFFICS]
    shorts = [load_of(one, short) for one in TRAFFICS]
    at_once = {
        "requests in an object": [f"{one.shots:,.0f}" for one in loads],
        "an object every": [f"{one.period_s:,.0f} s" for one in loads],
        "`split` at once": [f"{one.splits():.1f}" for one in loads],
        "`send` at once": [f"{one.sends():.1f}" for one in loads],
        "`split` at once, `SpreadOver=10s`": [f"{one.splits():.1f}" for one in shorts],
        "`send` at once, `SpreadOver=10s`": [f"{one.sends():.1f}" for one in shorts],
    }
    lines = [
        *table(
            "A million requests of 2 KB",
            {name: list(map(money, cells)) for name, cells in costs.items()},
        ),
        "",
        f"One Firehose record a request, unpacked, would be {money(plain)} in the first row. The "
        f"functions' {METRICS} metrics and the {ALARMS} alarms are {money(monthly)} a month, "
        "whatever is sent.",
        "",
        *table("Under way", at_once),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write it into aws/README.md")
    if not parser.parse_args().write:
        sys.stdout.write(text())
        return 0
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + text() + END + after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
