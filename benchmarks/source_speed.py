"""How fast a replay's source is: reading, decoding and merging, with nothing sent.

In one process, from memory: what S3 or a disk adds is waited for by other threads. Objects of
several streams overlap, as those of a fleet of mirrors do. To be well above 20,000 exchanges a
second, or the source would bound the sender.

    python benchmarks/source_speed.py [--exchanges N] [--streams N]
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import captures

from mirrorproxy.clock import wall_us
from mirrorproxy.commands.decoding import Decoder
from mirrorproxy.sources.chosen import Chosen
from mirrorproxy.sources.download import Download, Downloads
from mirrorproxy.sources.events import Account, Captured, CaptureObject, Signal
from mirrorproxy.sources.feed import Reader
from mirrorproxy.sources.merge import Merge
from mirrorproxy.sources.span import Span

WANTED = 20_000


def objects(count: int, streams: int) -> list[tuple[int, bytes]]:
    """Return the objects of some streams, each with a share of the exchanges of the same time."""
    made: list[tuple[int, bytes]] = []
    for _ in range(streams):
        with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name:
            captures.write(Path(name), count // streams, rate=WANTED // streams)
            made += [
                (captures.T0_US, path.read_bytes()) for path in sorted(Path(name).rglob("*.gz"))
            ]
    return made


def taken(made: list[tuple[int, bytes]]) -> tuple[int, float, float]:
    """Take everything; return how many exchanges it was, in how many wall and CPU seconds."""
    downloads = Downloads(threads=2)
    reader = Reader()

    def fetch(data: bytes, begin: int, end: int) -> bytes:
        return data[begin:end]

    def source(number: int, at_us: int, data: bytes) -> CaptureObject:
        download = Download(downloads, partial(fetch, data), len(data))
        return CaptureObject(
            f"o{number}", cast("partial[BinaryIO]", download.open), at_us, account=Account(int)
        )

    listed = iter([source(number, *one) for number, one in enumerate(made)])
    merge = Merge(listed, reader.feed, decode=Decoder())
    chosen = Chosen(merge, Span(0), delay_us=None, skips_late=False, wall_us=wall_us, aside=deque())
    # As `mirrorproxy replay` runs.
    gc.freeze()
    gc.set_threshold(10_000, 1_000, 1_000)
    read, started_s, cpu_s = 0, time.perf_counter(), time.process_time()
    while (event := chosen.take()) is not Signal.END:
        if isinstance(event, Captured):
            read += 1
        elif event is Signal.PENDING:
            time.sleep(0.0005)
    seconds = time.perf_counter() - started_s
    cpu_s = time.process_time() - cpu_s
    reader.close()
    downloads.close()
    gc.unfreeze()
    return read, seconds, cpu_s


def main() -> int:
    """Measure and print; status 1 if it is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exchanges", type=int, default=60_000)
    parser.add_argument("--streams", type=int, default=4)
    options = parser.parse_args()
    made = objects(options.exchanges, options.streams)
    read, seconds, cpu_s = min((taken(made) for _ in range(3)), key=lambda run: run[1])
    size = sum(len(data) for _, data in made)
    print(
        f"{read:,} exchanges of 1 KiB, {size / read:,.0f} bytes each as stored: "
        f"{read / seconds:,.0f} a second, {cpu_s / read * 1e6:.1f} us of CPU each"
    )
    return 0 if read / seconds >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
