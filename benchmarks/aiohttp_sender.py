"""A replay as one would write it with aiohttp's client: read, send, write the outcomes.

The peer of `mirrorproxy replay --speed max` in the same language, given every
advantage: the same event loop, the fastest readers and writers of gzip and JSON,
no merging, no duplicates removed, no rules, no order within a session.

    python benchmarks/aiohttp_sender.py CAPTURE TARGET OUT
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from isal import igzip

from mirrorproxy.outcome import Outcome, Production
from mirrorproxy.record import Exchange

CONCURRENCY = 256  # what `mirrorproxy replay` allows by default
NOT_SENT = frozenset({"host", "content-length"})


def exchanges(root: Path) -> Iterator[Exchange]:
    """Read every object, in the order of their keys."""
    decode = msgspec.json.Decoder(Exchange).decode
    for path in sorted(root.rglob("*.jsonl.gz")):
        with igzip.IGzipFile(path) as file:  # type: ignore[no-untyped-call]
            for line in io.BufferedReader(file, 1 << 18):
                yield decode(line)


async def send(root: Path, target: str, out: Path) -> Counter[str]:
    """Send everything as fast as answers come; return counts by status class or failure."""
    counts: Counter[str] = Counter()
    encode = msgspec.json.Encoder().encode
    source = exchanges(root)
    with out.open("wb", buffering=65536) as file:
        async with ClientSession(
            connector=TCPConnector(limit=CONCURRENCY),
            timeout=ClientTimeout(total=30),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as session:

            async def work() -> None:
                for exchange in source:
                    request = exchange.request
                    headers = [
                        (name, value)
                        for name, value in request.headers
                        if name.lower() not in NOT_SENT
                    ]
                    headers.append(("X-Mirrorproxy-Replay", f"bench/{exchange.id}"))
                    started_us = time.time_ns() // 1000
                    status = failure = None
                    try:
                        async with session.request(
                            request.method,
                            target + request.target,
                            headers=headers,
                            data=request.body,
                            allow_redirects=False,
                        ) as answer:
                            await answer.read()
                            status = answer.status
                            counts[f"{status // 100}xx"] += 1
                    except (ClientError, TimeoutError) as error:
                        failure = type(error).__name__
                        counts[failure] += 1
                    outcome = Outcome(
                        id=exchange.id,
                        copy=0,
                        target="target",
                        due_us=started_us,
                        production=Production(exchange.duration_us, exchange.response.status)
                        if exchange.response
                        else Production(exchange.duration_us),
                        lag_us=0,
                        latency_us=time.time_ns() // 1000 - started_us,
                        status=status,
                        failure=failure,
                    )
                    file.write(encode(outcome) + b"\n")

            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return counts


def main() -> int:
    """Send and print the counts as JSON."""
    root, target, out = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        counts = runner.run(send(Path(root), target, Path(out)))
    print(json.dumps({"status": counts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
