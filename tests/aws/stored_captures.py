"""Captures put into the emulator's S3, and replays of them as processes and in this one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mirrorproxy.clock import new_id
from mirrorproxy.codec import encode_line
from mirrorproxy.keys import object_key
from mirrorproxy.members import pack
from mirrorproxy.record import Exchange, Request, Response

T0 = 1_763_884_800_000_000  # 2025-11-23 08:00:00 UTC
SECOND = 1_000_000
HOUR = 3600 * SECOND


def exchange(at_us: int, number: int, **request: object) -> Exchange:
    """Return an exchange whose path says its number."""
    values: dict[str, Any] = {"method": "GET", "target": f"/{number}", "version": "1.1",
                              "headers": [("Host", "api.example.com")]}  # fmt: skip
    return Exchange(
        v=1, id=new_id(at_us), service="orders", via="inline", node="mirror-1/0",
        started_us=at_us, duration_us=1000, client="203.0.113.7", scheme="https",
        upstream="http://10.0.3.7:8080", request=Request(**(values | request)),
        response=Response(200),
    )  # fmt: skip


def lines(exchanges: Iterable[Exchange]) -> bytes:
    return b"".join(encode_line(one) for one in exchanges)


def packed(exchanges: Sequence[Exchange]) -> bytes:
    return pack(lines(exchanges), len(exchanges))


def put(
    s3: Any,
    bucket: str,
    exchanges: Sequence[Exchange],
    *,
    prefix: str = "",
    stream: str = "mirror",
    named_us: int | None = None,
    content: bytes | None = None,
) -> str:
    """Store one object; return its key."""
    at_us = exchanges[0].started_us if named_us is None else named_us
    key = object_key(prefix, stream, at_us, exchanges[0].id)
    body = packed(exchanges) if content is None else content
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    return key


def arguments(*words: object) -> list[str]:
    return ["replay", "--json", *map(str, words)]


class Worker:
    """A replay in a process of its own."""

    def __init__(self, environ: dict[str, str], *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mirrorproxy", *arguments(*words)],
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def finish(self, timeout_s: float = 90) -> dict[str, Any]:
        """Wait for its end; return its ledger, with its status and what it said."""
        out, err = self.process.communicate(timeout=timeout_s)
        ledger: dict[str, Any] = json.loads(out) if out else {}
        return ledger | {"exit": self.process.returncode, "said": err}

    def kill(self) -> None:
        """End it as a crash does, if it runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def workers(environ: dict[str, str], number: int, *words: object) -> Iterator[list[Worker]]:
    """Run some workers with the same options."""
    running = [Worker(environ, *words) for _ in range(number)]
    try:
        yield running
    finally:
        for one in running:
            one.kill()


@contextlib.contextmanager
def worker(environ: dict[str, str], *words: object) -> Iterator[Worker]:
    """Run one worker; it is ended with the block."""
    with workers(environ, 1, *words) as (one,):
        yield one


class Counter:
    """Counts, and says when so many are there."""

    def __init__(self, wanted: int) -> None:
        self.reached = threading.Event()
        self._wanted = wanted
        self._count = 0

    def add(self) -> None:
        self._count += 1
        if self._count >= self._wanted:
            self.reached.set()


def write_file(root: Path, exchanges: Sequence[Exchange], named_us: int | None = None) -> Path:
    """Write one object of a capture in a directory, as the directory sink does."""
    at_us = exchanges[0].started_us if named_us is None else named_us
    path = root / object_key("", "mirror", at_us, exchanges[0].id)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(packed(exchanges))
    temporary.rename(path)
    return path
