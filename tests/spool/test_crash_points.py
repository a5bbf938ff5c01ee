"""Kill anything at any system call: no line is lost, and the counts agree."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st
from spool_fakes import Clock, record_with_body, writer

from mirrorproxy.members import Damage, read_batches
from mirrorproxy.sinks.directory import DirectorySink
from mirrorproxy.spool import shipper as shipping
from mirrorproxy.spool.body import sweep
from mirrorproxy.spool.segment import SegmentWriter
from mirrorproxy.spool.shipper import Shipper

CALLS = ("write", "fsync", "link", "rename", "replace", "unlink", "mkdir")


class Killed(BaseException):
    """The process is gone: no handler of errors runs."""


@contextmanager
def killed_at(call: int) -> Iterator[None]:
    """The system call of that number, and all after it, do not return; a write may be half done."""
    left = [call]

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            elif left[0] == 0 and call % 2:
                real(*args, **options)
            if left[0] <= 0:
                raise Killed
            return real(*args, **options)

        return wrapped

    with mock.patch.multiple(os, **{name: wrap(name, getattr(os, name)) for name in CALLS}):
        yield


class Machine:
    """A spool with two workers, a shipper and a directory; each may be killed."""

    def __init__(self, top: Path) -> None:
        self.spool = top / "spool"
        self.target = top / "captures"
        self.clock = Clock()
        self.writers = [self._writer(0), self._writer(1)]
        self.captured: list[bytes] = []
        self.bodies: dict[str, bytes] = {}
        self.torn = 0
        self.shipper: Shipper | None = None
        self.sink: DirectorySink | None = None
        self._fds: list[int] = []

    def _writer(self, slot: int) -> SegmentWriter:
        return writer(self.spool, self.clock, slot, max_segment_bytes=600)

    def append(self, slot: int, count: int) -> None:
        for _ in range(count):
            line = b"line %d\n" % len(self.captured)
            self.writers[slot].append(line)
            self.captured.append(line)

    def append_with_body(self, slot: int) -> None:
        number = len(self.captured)
        body = b"body %d" % number
        ref, line = record_with_body(self.writers[slot], body, number)
        self.writers[slot].append(line)
        self.captured.append(line)
        self.bodies[ref] = body

    def kill_worker(self, slot: int, torn: bool) -> None:
        old = self.writers[slot]
        if torn and old._fd >= 0:
            os.write(old._fd, b"half a li")
            self.torn += 1
        old.close()
        self.clock.skew_us += 1
        self.writers[slot] = self._writer(slot)

    def ship(self, steps: int, seconds: float) -> None:
        self.clock.s += seconds
        if self.shipper is None:
            self.start()
        assert self.shipper is not None
        for _ in range(steps):
            self.shipper.step()

    def start(self) -> None:
        self.sink = DirectorySink(
            self.target, "orders", monotonic=self.clock.monotonic, roll_bytes=150, roll_age_s=3
        )
        real = shipping._lock

        def lock(spool: Path) -> int:
            fd = real(spool)
            self._fds.append(fd)
            return fd

        with mock.patch.object(shipping, "_lock", lock):
            self.shipper = Shipper(
                self.spool,
                self.sink,
                monotonic=self.clock.monotonic,
                now_us=self.clock.now_us,
                jitter=lambda: 0.1,
            )

    def kill_shipper(self, call: int, steps: int, seconds: float) -> None:
        try:
            with killed_at(call):
                self.ship(steps, seconds)
        except Killed:
            if self.sink and self.sink._object:
                os.close(self.sink._object._fd)
            self.sink = None
            for fd in self._fds:
                os.close(fd)
            self._fds.clear()
            self.shipper = None

    def check_counts(self) -> None:
        """captured = shipped + waiting, after any crash."""
        if self.shipper is None:
            self.start()
        assert self.shipper is not None
        self.shipper.step()
        status = self.shipper.status()
        assert status.error is None
        assert status.shipped + status.waiting == len(self.captured)
        assert status.quarantined == status.discarded == 0

    def finish(self) -> None:
        for each in self.writers:
            each.close()
        self.check_counts()
        assert self.shipper is not None
        assert self.shipper.drain(self.clock.s + 60, sleep=self.clock.sleep) == 0
        status = self.shipper.status()
        assert (status.shipped, status.waiting) == (len(self.captured), 0)
        assert status.torn == self.torn
        assert status.missing_bodies == 0
        self.shipper.close()
        found: Counter[bytes] = Counter()
        for path in self.target.rglob("*.gz"):
            with open(path, "rb") as stream:
                for batch in read_batches(stream):
                    assert not isinstance(batch, Damage)
                    found.update(line + b"\n" for _, line in batch)
        assert set(found) == set(self.captured)
        # A shipper that is killed behind its checkpoint leaves a body that no record names.
        sweep(self.spool, float("inf"))
        for ref, body in self.bodies.items():
            assert (self.target / ref).read_bytes() == body
            assert not (self.spool / ref).exists()
        assert list((self.spool / "segments").glob("*")) == []


SLOTS = st.integers(0, 1)
ACTIONS = st.one_of(
    st.tuples(st.just("append"), SLOTS, st.integers(1, 120)),
    st.tuples(st.just("append_with_body"), SLOTS),
    st.tuples(st.just("kill_worker"), SLOTS, st.booleans()),
    st.tuples(st.just("ship"), st.integers(1, 4), st.sampled_from([0.0, 1.0, 5.0])),
    st.tuples(
        st.just("kill_shipper"),
        st.integers(1, 25),
        st.integers(1, 6),
        st.sampled_from([0.0, 1.0, 5.0]),
    ),
    st.tuples(st.just("check_counts")),
)


@settings(max_examples=80)
@given(st.lists(ACTIONS, max_size=12))
@example([("append", 0, 1), ("kill_worker", 0, True), ("kill_shipper", 12, 6, 1.0)])
@example([("append_with_body", 0), ("ship", 1, 0.0), ("kill_shipper", 9, 6, 5.0)])
def test_any_crash_point(actions):
    """At least once, complete, and every line counted exactly once."""
    with tempfile.TemporaryDirectory() as top:
        machine = Machine(Path(top))
        machine.append(0, 1)
        # Waiting for the disk only matters when the machine itself dies, and takes minutes here.
        with mock.patch.object(os, "fsync"):
            for name, *arguments in actions:
                getattr(machine, name)(*arguments)
            machine.finish()
