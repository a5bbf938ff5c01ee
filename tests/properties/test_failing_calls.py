"""Any system call of the shipper fails, any number of times: it goes on, and the counts agree.

The same machine as in `tests/spool/test_crash_points.py`, which kills it there.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "spool"))

from test_crash_points import CALLS, SLOTS, Machine


@contextmanager
def failing(name: str, first: int, count: int, number: int) -> Iterator[None]:
    """So many calls of a kind fail, from the first on; a write to a full disk is half done."""
    made = [0]
    real: Callable[..., Any] = getattr(os, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        made[0] += 1
        if not first <= made[0] < first + count:
            return real(*args, **options)
        if name == "write" and number == errno.ENOSPC and len(args[1]) > 1:
            return real(args[0], bytes(args[1])[: len(args[1]) // 2])
        raise OSError(number, os.strerror(number))

    with mock.patch.object(os, name, wrapped):
        yield


class Suffering(Machine):
    """A machine whose disk fails now and then."""

    def suffer(self, name: str, first: int, count: int, number: int) -> None:
        if self.shipper is None:
            self.start()
        self.append(0, 3)
        with failing(name, first, count, number):
            self.ship(4, 5.0)
        self.recover()

    def recover(self) -> None:
        """Let the longest wait between two tries pass."""
        for _ in range(4):
            self.ship(3, 60.0)


ACTIONS = st.one_of(
    st.tuples(st.just("append"), SLOTS, st.integers(1, 120)),
    st.tuples(st.just("append_with_body"), SLOTS),
    st.tuples(st.just("kill_worker"), SLOTS, st.booleans()),
    st.tuples(st.just("ship"), st.integers(1, 4), st.sampled_from([0.0, 1.0, 5.0])),
    st.tuples(
        st.just("suffer"),
        st.sampled_from((*CALLS, "write", "write", "write")),
        st.integers(1, 2),
        st.integers(1, 3),
        st.sampled_from([errno.ENOSPC, errno.EIO]),
    ),
    st.tuples(st.just("kill_shipper"), st.integers(1, 25), st.just(3), st.just(1.0)),
    st.tuples(st.just("check_counts")),
)


@settings(max_examples=100)
@given(st.lists(ACTIONS, max_size=10))
def test_any_failing_call(actions: list[tuple[Any, ...]]) -> None:
    """Nothing is lost, nothing is raised, every line is counted exactly once."""
    with tempfile.TemporaryDirectory() as top:
        machine = Suffering(Path(top))
        machine.append(0, 1)
        with mock.patch.object(os, "fsync"):
            for name, *arguments in actions:
                getattr(machine, name)(*arguments)
            machine.recover()
            machine.finish()
