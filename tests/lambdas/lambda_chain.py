"""Everything at once: client -> capture -> Firehose -> S3 -> SQS -> `split` -> `send` -> target.

`python tests/lambdas/lambda_chain.py 5000 30` runs it with so many requests, spread over so
many seconds, and prints the figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
for folder in (ROOT, ROOT / "capture", ROOT / "aws", ROOT / "lambdas"):
    sys.path.insert(0, str(folder))

from emulated import Functions, until  # noqa: E402
from support.commands import Answer, Application, Received, serving  # noqa: E402
from support.counting import CountingApplication  # noqa: E402
from support.firehose import Firehose  # noqa: E402
from support.ministack import Ministack  # noqa: E402
from whole_chain import BODY, Cloud, capture_all  # noqa: E402


class Target(Application):
    """Remembers when each request came."""

    def __init__(self) -> None:
        super().__init__(self._answered)
        self.came_s: list[float] = []
        self._lock = threading.Lock()

    def _answered(self, _request: Received) -> Answer:
        with self._lock:
            self.came_s.append(time.monotonic())
        return Answer(201)

    def seconds(self) -> list[int]:
        """Return how many came in each second since the first, those in the last left out."""
        first = min(self.came_s)
        counts = Counter(int(at - first) for at in self.came_s)
        return [counts[at] for at in range(max(counts))]


def run_chain(
    ministack: Ministack, folder: Path, requests: int, over_s: int, chunk_shots: int
) -> dict[str, Any]:
    """Return the figures of a run."""
    bucket = ministack.bucket()
    s3, sqs = ministack.client("s3"), ministack.client("sqs")

    def store(name: str, key: str, content: bytes) -> None:
        s3.put_object(Bucket=name, Key=key, Body=content)

    target = Target()
    with (
        serving(target),
        CountingApplication() as production,
        # All of it in one object, delivered when it is flushed.
        Firehose(store, note=len, buffer_bytes=64 << 20, buffer_age_s=600) as firehose,
    ):
        firehose.create("orders", bucket, "captures/")
        functions = Functions(
            ministack,
            bucket,
            target.url,
            variables={
                "MIRRORPROXY_SPREAD_OVER": f"{over_s}s",
                "MIRRORPROXY_MAX_CHUNK_SHOTS": str(chunk_shots),
            },
        )
        functions.hear_of_objects(visibility_s=300)
        environ = {**ministack.environ(), "AWS_ENDPOINT_URL_FIREHOSE": firehose.url}
        parts = Cloud(environ, firehose, s3, sqs, bucket, f"told-{bucket}")
        began_s = time.monotonic()
        captured = asyncio.run(capture_all(parts, folder, production.url, requests))
        stored_s = time.monotonic()
        until(
            "every request answered",
            lambda: sum(functions.total(functions.send, "Answered")) >= requests,
            deadline_s=over_s + 120,
        )
        came = Counter(one.target for one in target.requests)
        seconds = target.seconds()
        mean = requests / (max(target.came_s) - min(target.came_s))
        sends = functions.ledgers(functions.send)
        return {
            "requests": requests,
            "captured": captured.ledger["captured"],
            "objects": sum(1 for key in _keys(s3, bucket) if "/bodies/" not in key),
            "chunks": len(sends),
            "split": {
                name: functions.ledgers(functions.split)[-1][name]
                for name in ("read", "selected", "planned", "given", "stored", "balanced")
            },
            "send": {
                name: sum(one[name] for one in sends)
                for name in ("planned", "answered", "unsent", "doubled", "handed_on")
            },
            "balanced": all(one["balanced"] for one in sends),
            "different": len(came),
            "most_often": max(came.values()),
            "bodies": sum(one.body == BODY for one in target.requests),
            "tokens": dict(Counter(one.header("Authorization") for one in target.requests)),
            "over_s": round(max(target.came_s) - min(target.came_s), 2),
            "mean_per_s": round(mean, 1),
            "largest_second": max(seconds),
            "smallest_second": min(seconds),
            "largest_to_mean": round(max(seconds) / mean, 3),
            "lag_ms_max": max(one["lag_ms"]["max"] or 0 for one in sends),
            "latency_ms_max": max(one["latency_ms"]["max"] or 0 for one in sends),
            "late_ms_max": max(one["late_ms"] for one in sends),
            "first_after_stored_s": round(min(target.came_s) - stored_s, 2),
            "all_s": round(time.monotonic() - began_s, 1),
            "claims": len(functions.kept("claims")),
            "chunks_left": len(functions.kept("chunks")),
            "dead_letters": len(functions.dead_letters()),
        }


def _keys(s3: Any, bucket: str) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def main() -> None:
    """Print the figures."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    over_s = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    with tempfile.TemporaryDirectory() as folder, Ministack(Path(folder) / "aws") as ministack:
        figures = run_chain(
            ministack,
            Path(folder),
            requests,
            over_s,
            chunk_shots=int(sys.argv[3]) if len(sys.argv) > 3 else 2500,
        )
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
