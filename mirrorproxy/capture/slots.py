"""Worker slots: which numbers belong to which process, and what a dead one left behind.

Owns the locks on slots and the reconciliation of their counters with the
segments. The counters themselves are `metrics`; segments are written by the
worker and deleted by the shipper alone.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from mirrorproxy.capture.ledger import Shipped
from mirrorproxy.metrics import FIELDS, INDEX, CounterFile, captured_store
from mirrorproxy.spool.checkpoint import load
from mirrorproxy.spool.segment import SEGMENTS, SegmentName, count_lines, parse_name

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


def reconcile(counters: CounterFile, slot: int, spool: Path) -> Reconciled:
    """Make the counters of a dead worker agree with what it wrote.

    A record that reached the segment but not the counter is counted as
    captured; a request that was seen and has no fate was in flight and is lost.
    Doing it twice changes nothing.
    Raises OSError if a segment cannot be read.
    """
    numbers = counters.slot(slot)
    done = (numbers[INDEX["segment_us"]], numbers[INDEX["segment_seq"]])
    found = 0
    for name in _segments(spool):
        if name.slot != slot:
            continue
        path, mark = name.path(spool), (name.created_us, name.seq)
        if mark < done:
            continue
        offset = numbers[INDEX["segment_bytes"]] if mark == done else 0
        try:
            size = path.stat().st_size
            found_here = count_lines(path, offset)
        except FileNotFoundError:
            # Shipped and deleted meanwhile: only what was counted is deleted so soon.
            continue
        captured = numbers[INDEX["captured"]] + found_here
        captured_store(numbers)(*mark, max(offset, size), captured)
        found += found_here
    unsettled = in_flight(numbers.tolist())
    lost = max(0, unsettled)
    numbers[INDEX["lost"]] += lost
    # Records that these counters never saw: of a spool that is older than they are.
    numbers[INDEX["seen"]] += max(0, -unsettled)
    for gauge in _GAUGES:
        numbers[INDEX[gauge]] = 0
    return Reconciled(found, lost)


def adopt(counters: CounterFile, spool: Path) -> int:
    """Make `captured` agree with the spool, when no process of the mirror runs.

    Every slot must have been reconciled. Returns how many records were added
    because the counters were new or older than the spool; negative: how many
    were counted and are gone from it (a machine that lost its power, segments
    deleted by hand), which are lost.
    Raises OSError if the spool cannot be read.
    """
    spool_side = spool_totals(spool)
    there = spool_side.shipped + spool_side.waiting + spool_side.quarantined + spool_side.discarded
    difference = there - counters.totals()["captured"]
    if difference > 0:
        numbers = counters.slot(0)
        numbers[INDEX["captured"]] += difference
        numbers[INDEX["seen"]] += difference
    missing = max(0, -difference)
    for number in range(counters.slots):
        numbers = counters.slot(number)
        share = min(missing, numbers[INDEX["captured"]])
        numbers[INDEX["captured"]] -= share
        numbers[INDEX["lost"]] += share
        missing -= share
    return difference


def spool_totals(spool: Path) -> Shipped:
    """Return what became of a spool's records, while no shipper runs.

    Raises OSError if it cannot be read.
    """
    checkpoint = load(spool)
    totals = checkpoint.totals
    waiting = sum(
        count_lines(name.path(spool), checkpoint.segments.get(str(name), 0))
        for name in _segments(spool)
    )
    return Shipped(
        shipped=totals.shipped,
        waiting=waiting,
        quarantined=totals.quarantined,
        discarded=totals.discarded,
        torn=totals.torn,
    )


def in_flight(numbers: list[int]) -> int:
    """Return how many requests were seen and have no fate yet, from one slot's numbers."""
    return numbers[INDEX["seen"]] - sum(numbers[position] for position in _FATES)


def _segments(spool: Path) -> list[SegmentName]:
    try:
        found = [parse_name(entry) for entry in os.listdir(spool / SEGMENTS)]
    except FileNotFoundError:
        return []
    return sorted(name for name in found if name is not None)
