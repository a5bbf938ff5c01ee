"""Worker slots: which numbers belong to which process, and what a dead one left behind.

Owns the locks on slots and the reconciliation of their counters with the
segments. The counters themselves are `metrics`; segments are written by the
worker and deleted by the shipper alone.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mirrorproxy.metrics import FIELDS, INDEX, CounterFile

SLOTS = 128
"""Slots in every counter file, so that a changed number of workers keeps the numbers.

Twice the largest sensible number of workers: those of a killed supervisor live
on for a moment beside the new ones.
"""

MAX_WORKERS = SLOTS // 2

_FATES = tuple(
    INDEX[name]
    for name in FIELDS
    if name in {"captured", "sampled", "lost"} or name.startswith(("filtered_", "dropped_"))
)
_GAUGES = ("pid", "heartbeat_ns", "ready", "open_connections", "open_requests")
_SEGMENT_NAME = re.compile(r"(\d{16})-(\d+)-(\d+)\.ndjson")


class Reconciled(NamedTuple):
    """What was put right. found: records on disk not yet counted; lost: requests without a fate."""

    found: int
    lost: int


class SlotLocks:
    """One lock per slot, held by the worker for its life; the kernel frees it with the process.

    Raises OSError if the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def hold(self, slot: int) -> bool:
        """Take a slot for this process; False if another process has it."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def is_free(self, slot: int) -> bool:
        """Whether no other process holds the slot."""
        if not self.hold(slot):
            return False
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, slot)
        return True

    def close(self) -> None:
        """Give up the locks that this process holds."""
        os.close(self._descriptor)


def reconcile(
    counters: CounterFile,
    slot: int,
    segments: Path,
    count_lines: Callable[[Path, int], int],
) -> Reconciled:
    """Make the counters of a dead worker agree with what it wrote.

    A record that reached the segment but not the counter is counted as
    captured; a request that was seen and has no fate was in flight and is lost.
    Doing it twice changes nothing. count_lines: complete lines of a segment
    after an offset.
    Raises OSError if a segment cannot be read.
    """
    numbers = counters.slot(slot)
    done = (numbers[INDEX["segment_us"]], numbers[INDEX["segment_seq"]])
    found = 0
    for path, mark in _segments_of(segments, slot):
        if mark < done:
            continue
        offset = numbers[INDEX["segment_bytes"]] if mark == done else 0
        try:
            size = path.stat().st_size
            found_here = count_lines(path, offset)
        except FileNotFoundError:
            # Shipped and deleted meanwhile: only what was counted is deleted so soon.
            continue
        numbers[INDEX["captured"]] += found_here
        numbers[INDEX["segment_us"]], numbers[INDEX["segment_seq"]] = mark
        numbers[INDEX["segment_bytes"]] = max(offset, size)
        found += found_here
    lost = max(0, in_flight(numbers.tolist()))
    numbers[INDEX["lost"]] += lost
    for name in _GAUGES:
        numbers[INDEX[name]] = 0
    return Reconciled(found, lost)


def in_flight(numbers: list[int]) -> int:
    """Return how many requests were seen and have no fate yet, from one slot's numbers."""
    return numbers[INDEX["seen"]] - sum(numbers[position] for position in _FATES)


def _segments_of(segments: Path, slot: int) -> list[tuple[Path, tuple[int, int]]]:
    found = []
    for name in os.listdir(segments) if segments.is_dir() else []:
        match = _SEGMENT_NAME.fullmatch(name)
        if match and int(match[2]) == slot:
            found.append((segments / name, (int(match[1]), int(match[3]))))
    return sorted(found, key=lambda entry: entry[1])
