"""Everything at once, over the network: client -> capture -> Firehose -> S3 -> SQS -> workers.

`python tests/aws/whole_chain.py 20000` runs it with so many requests and prints the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
for folder in (ROOT, ROOT / "capture", ROOT / "aws"):
    sys.path.insert(0, str(folder))

from running_capture import capture  # noqa: E402
from stored_captures import Worker  # noqa: E402
from support.commands import run  # noqa: E402
from support.counting import CountingApplication, send_all  # noqa: E402
from support.firehose import Firehose  # noqa: E402
from support.ministack import Ministack  # noqa: E402

BODY = json.dumps(
    {"order": {"sku": "A-4711", "quantity": 2, "note": "leave it at the door " * 12}}
).encode()
DEADLINE_S = 200


class Cloud(NamedTuple):
    """A bucket whose objects a queue is told of, and a stream that delivers into it."""

    environ: dict[str, str]
    firehose: Firehose
    s3: Any
    sqs: Any
    bucket: str
    queue: str

    @property
    def to(self) -> str:
        return f"firehose://orders?bodies=s3://{self.bucket}/captures/"

    @property
    def messages(self) -> int:
        """How many messages there are, in hand or waiting."""
        url = self.sqs.get_queue_url(QueueName=self.queue)["QueueUrl"]
        said = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return int(said["ApproximateNumberOfMessages"]) + int(
            said["ApproximateNumberOfMessagesNotVisible"]
        )


@contextlib.contextmanager
def cloud(ministack: Ministack, *, buffer_bytes: int = 8 << 10) -> Iterator[Cloud]:
    """Make the parts in the emulator, each with a name of its own."""
    bucket = ministack.bucket()
    s3, sqs = ministack.client("s3"), ministack.client("sqs")
    queue = f"told-of-{bucket}"
    dead = sqs.create_queue(QueueName=f"{queue}-dead")["QueueUrl"]
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    arns = [
        sqs.get_queue_attributes(QueueUrl=one, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        for one in (url, dead)
    ]
    redrive = {"deadLetterTargetArn": arns[1], "maxReceiveCount": 10}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(redrive)})
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arns[0], "Events": ["s3:ObjectCreated:*"]}]
        },
    )

    def store(name: str, key: str, content: bytes) -> None:
        s3.put_object(Bucket=name, Key=key, Body=content)

    with Firehose(store, note=len, buffer_bytes=buffer_bytes, buffer_age_s=0.5) as firehose:
        firehose.create("orders", bucket, "captures/")
        environ = {**ministack.environ(), "AWS_ENDPOINT_URL_FIREHOSE": firehose.url}
        yield Cloud(environ, firehose, s3, sqs, bucket, queue)


class Captured(NamedTuple):
    """What a capture of some requests was like."""

    ledger: dict[str, Any]
    sending_s: float
    shipping_s: float


async def capture_all(parts: Cloud, folder: Path, application: str, requests: int) -> Captured:
    """Send requests through a capture that ships to the stream, until all of it is in S3."""
    spool = str(folder / "spool")
    options = ("--spool", spool, "--ship-timeout", "120s", "--log-level", "warning")
    async with capture(application, parts.to, *options, environ=parts.environ) as running:
        started = time.monotonic()
        statuses = await send_all(running.url, targets(requests), BODY)
        sending_s = time.monotonic() - started
        assert statuses == {201: requests}
        started = time.monotonic()
        status, ledger, said = await running.end()
        assert status == 0, said
    await asyncio.to_thread(parts.firehose.flush)
    return Captured(ledger, sending_s, time.monotonic() - started)


def targets(requests: int) -> list[str]:
    return [f"/orders/{number}" for number in range(requests)]


def worker(parts: Cloud, target: str, out: Path, *options: str) -> Worker:
    """Start one of a fleet."""
    environ = {**parts.environ, "STAGING_TOKEN": "of-staging"}
    return Worker(
        environ, f"sqs://{parts.queue}?visibility=5s", "--target", target,
        "--auth-env", "STAGING_TOKEN", "--speed", "max", "--concurrency", "8", "--run", "chain",
        "--out", out, *options,
    )  # fmt: skip


def until(what: str, is_so: Any) -> None:
    """Wait for real processes."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.02)


def report(folder: Path, *outs: Path, once: bool = False) -> tuple[int, dict[str, Any]]:
    """Run `mirrorproxy report` on what workers left."""
    options = ["--json", *(["--once"] if once else [])]
    result = run(["report", "--ledger", *map(str, outs), *options], folder)
    assert result.stderr == ""
    return result.returncode, json.loads(result.stdout)


def run_chain(ministack: Ministack, folder: Path, requests: int) -> dict[str, Any]:
    """Run all of it, with two workers that live while it is captured; return the figures."""
    outs = [folder / "worker-1", folder / "worker-2"]
    with (
        cloud(ministack) as parts,
        CountingApplication() as production,
        CountingApplication() as staging,
    ):
        fleet = [worker(parts, staging.url, out) for out in outs]
        try:
            began = time.monotonic()
            captured = asyncio.run(capture_all(parts, folder, production.url, requests))
            until("every request", lambda: len(staging.came) == requests and not parts.messages)
            took_s = time.monotonic() - began
            for one in fleet:
                one.process.terminate()
            ledgers = [one.finish() for one in fleet]
        finally:
            for one in fleet:
                one.kill()
        status, fleet_report = report(folder, *outs, once=True)
        objects = parts.s3.list_objects_v2(Bucket=parts.bucket)["KeyCount"]
        return {
            "requests": requests,
            "captured": captured.ledger["captured"],
            "shipped": captured.ledger["shipped"],
            "objects": objects,
            "firehose_records": len(list(parts.firehose.accepted())),
            "firehose_bytes": sum(parts.firehose.accepted()),
            "by_worker": [ledger["answered"] for ledger in ledgers],
            "exits": [ledger["exit"] for ledger in ledgers],
            "different": len(staging.came),
            "most_often": max(staging.came.values()),
            "report_exit": status,
            "report": fleet_report["once"],
            "sending_s": round(captured.sending_s, 2),
            "shipping_s": round(captured.shipping_s, 2),
            "all_s": round(took_s, 2),
        }


def main() -> None:
    """Print the figures."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder, Ministack(Path(folder) / "aws") as ministack:
        print(json.dumps(run_chain(ministack, Path(folder), requests), indent=1))


if __name__ == "__main__":
    main()
