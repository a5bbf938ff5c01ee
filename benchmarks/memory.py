"""Memory: whether it follows the number of requests, the size of a body, the idle connections.

python benchmarks/memory.py [--plan quick|full|trial]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import captures
import harness
import tables
from growth import size
from plan import PLANS, Plan, Say
from results import Column, Demand, Row, Section, Spread

BEFORE, PEAK, ADDED = "before", "peak", "added"
COLUMNS = (
    Column(BEFORE, "MiB"),
    Column(PEAK, "MiB", "lower", resolution=8),
    Column(ADDED, "MiB", "lower", resolution=4),
)
CHUNK = bytes(1 << 20)
ACTIVE_CONNECTIONS = 200
EVERY = 50
_SAMPLE_S = 0.05


class Watch:
    """Watches the memory of processes by name, in a thread; a context manager.

    before: MiB when it began. peak: the most that was seen since.
    """

    def __init__(self, read: Mapping[str, Callable[[], float]]) -> None:
        self.before = {name: now() for name, now in read.items()}
        self.peak = dict(self.before)
        self._read = read
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def row(self, name: str, subject: str) -> Row:
        """Return what became of one of them."""
        before, peak = self.before[name], self.peak[name]
        return row(subject, before, peak)

    def _look(self) -> None:
        for name, now in self._read.items():
            self.peak[name] = max(self.peak[name], now())

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self._look()


def row(subject: str, before: float, peak: float) -> Row:
    """Return the row of a subject."""
    cells = {BEFORE: before, PEAK: peak, ADDED: max(peak - before, 0.0)}
    return Row(subject, {name: Spread.of([value]) for name, value in cells.items()}, is_ours=True)


def within(rows: list[Row], column: str, limit: float) -> list[Demand]:
    """Return the demand that rows keep within a limit."""
    return [
        Demand(f"{one.subject}, MiB {column}", "at most", limit, one.cells[column].median, "MiB")
        for one in rows
    ]


@contextlib.contextmanager
def capturing(
    origin: Callable[[], AbstractContextManager[int]] = harness.origin,
) -> Iterator[tuple[int, int]]:
    """Run a capture that has served a little already; yields its port and process id."""
    with (
        tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name,
        origin() as origin_port,
        harness.capture(origin_port, Path(name)) as (port, pid),
    ):
        harness.wrk(port, seconds=10, requests=2000)
        yield port, pid


def captured(warm: int, total: int, say: Say) -> list[Row]:
    """Capture many requests; each process's memory after the first of them."""
    with capturing() as (port, pid):
        harness.wrk(port, seconds=600, requests=warm)
        members = harness.roles(pid)
        reads = {
            name: (lambda member=member: harness.process_rss_mib(member))
            for name, member in members.items()
        }
        with Watch(reads) as watch:
            harness.wrk(port, seconds=600, requests=total - warm)
            harness.wait_until_quiet(pid)
        if harness.roles(pid) != members:
            raise RuntimeError("a process was restarted under load: the figures mean nothing")
    rows = [watch.row(name, f"{name}, {total:,} captured") for name in members]
    say(", ".join(f"{one.subject}: {one.cells[ADDED].median:g} MiB added" for one in rows))
    return rows


def replayed(warm: int, total: int, say: Say) -> Row:
    """Replay many exchanges; the process's memory after the first of them.

    Raises RuntimeError if the replay fails or its ledger does not balance.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name,
        harness.origin() as port,
    ):
        captures.write(Path(name, "capture"), total, rate=2000)
        argv = [
            sys.executable, "-m", "mirrorproxy", "replay", str(Path(name, "capture")), "--json",
            "--target", f"http://127.0.0.1:{port}", "--speed", "max", "--out", name,
        ]  # fmt: skip
        outcomes = Path(name, "outcomes.jsonl")
        answered, place, before, peak = 0, 0, 0.0, 0.0
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            while process.poll() is None:
                time.sleep(_SAMPLE_S)
                rss = harness.process_rss_mib(process.pid)
                if answered < warm and outcomes.exists():
                    with outcomes.open("rb") as file:
                        file.seek(place)
                        data = file.read()
                    place += len(data)
                    answered += data.count(b"\n")
                    before = rss or before
                peak = max(peak, rss)
            assert process.stdout is not None
            ledger = json.loads(process.stdout.read())
        if process.returncode or not ledger["balanced"] or ledger["answered"] != total:
            raise RuntimeError(f"the replay ended with status {process.returncode}: {ledger}")
    found = row(f"replay, {total:,} replayed", before, peak)
    say(f"{found.subject}: {found.cells[ADDED].median:g} MiB added")
    return found


def transferred(length: int, say: Say) -> list[Row]:
    """Send a large body up and another down; the memory of all processes."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as files:
        with Path(files, "large").open("wb") as file:
            file.truncate(length)
        Path(files).chmod(0o755)  # the origin's worker may be another user
        for what, send, origin in (
            ("upload", upload, harness.body_origin),
            ("download", download, lambda: harness.origin(Path(files))),
        ):
            with capturing(origin) as (port, pid):
                read = {"all": lambda pid=pid: harness.rss_mib(pid)}
                with Watch(read) as watch:
                    started_s = time.monotonic()
                    send(port, length)
                    rate = length / (time.monotonic() - started_s)
                    harness.wait_until_quiet(pid)
                rows.append(watch.row("all", f"{size(length)} {what}"))
            say(
                f"{rows[-1].subject}: {rows[-1].cells[ADDED].median:g} MiB added, "
                f"{rate / 2**20:.0f} MiB/s"
            )
    return rows


def upload(port: int, length: int) -> None:
    """Send one body of so many bytes; raises RuntimeError if the answer is not 201."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        connection.putrequest("PUT", "/large")
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        left = length
        while left:
            part = min(left, len(CHUNK))
            connection.send(CHUNK[:part])
            left -= part
        status = connection.getresponse().status
    if status != 201:
        raise RuntimeError(f"the upload was answered with {status}")


def download(port: int, length: int) -> None:
    """Fetch one body of so many bytes; raises RuntimeError if it is not as long."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        connection.request("GET", "/files/large")
        response = connection.getresponse()
        buffer = bytearray(1 << 20)
        seen = 0
        while number := response.readinto(buffer):
            seen += number
    if response.status != 200 or seen != length:
        raise RuntimeError(f"the download gave {response.status} and {seen} bytes of {length}")


def crowded(idle: int, say: Say) -> Row:
    """Hold idle connections that have each had an answer, with others active beside them.

    Raises Absent if so many files may not be open, RuntimeError if one is lost.
    """
    harness.allow_open_files(idle + 2000)
    with contextlib.ExitStack() as stack:
        port, pid = stack.enter_context(capturing())
        worker = harness.roles(pid)["worker"]
        with Watch({"worker": lambda: harness.process_rss_mib(worker)}) as watch:
            held = []
            for _ in range(idle):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                stack.callback(connection.close)
                ask(connection)
                held.append(connection)
            open_files = len(list(Path(f"/proc/{worker}/fd").iterdir()))
            load = harness.wrk(port, seconds=3, connections=ACTIVE_CONNECTIONS)
            for connection in held[::EVERY]:
                ask(connection)
        if open_files < idle:
            raise RuntimeError(f"the worker holds {open_files} files for {idle} connections")
        if load.errors:
            raise RuntimeError(f"{load.errors} of {load.requests} requests failed")
    found = watch.row("worker", f"worker, {idle:,} idle and {ACTIVE_CONNECTIONS} active")
    say(f"{found.subject}: {found.cells[PEAK].median:g} MiB")
    return found


def ask(connection: http.client.HTTPConnection) -> None:
    """Send one request on a connection that stays; raises if it has been cut or answers badly."""
    connection.auto_open = 0 if connection.sock else 1
    connection.request("GET", "/idle")
    response = connection.getresponse()
    response.read()
    if response.status != 201:
        raise RuntimeError(f"an idle connection was answered with {response.status}")


def measure(plan: Plan, say: Say) -> list[Section]:
    """Measure all as a plan says."""
    steady = captured(plan.warm_requests, plan.steady_requests, say)
    steady.append(replayed(plan.warm_requests, plan.steady_requests, say))
    large = transferred(plan.transfer_bytes, say)
    absent = []
    try:
        crowd = [crowded(plan.idle_connections, say)]
    except harness.Absent as error:
        crowd = []
        absent.append(f"idle connections: {error}")
    return [
        Section(
            name="memory",
            title="Memory",
            how=f"Resident memory, watched every {_SAMPLE_S * 1000:.0f} ms. Requests and shots: "
            f"each process, from after the first {plan.warm_requests:,} on. Transfers: all "
            "processes together, recording on. Idle connections: each has had an answer before.",
            columns=COLUMNS,
            rows=[*steady, *large, *crowd],
            demands=[
                *within(steady, ADDED, 8),
                *within(large, ADDED, 24),
                *within(crowd, PEAK, 250),
            ],
            absent=absent,
        )
    ]


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plan", choices=PLANS, default="quick")
    options = parser.parse_args()
    try:
        for section in measure(PLANS[options.plan], print):
            print(tables.text(section))
    except harness.Absent as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
