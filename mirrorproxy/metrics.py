"""Counters that survive kill -9: one memory-mapped slot of numbers per worker.

A worker adds to its own slot with plain stores; the supervisor reads all slots
at any time. The kernel keeps the pages when a process dies, so nothing that was
counted is lost. One writer per slot and field; reading takes no lock.

Layout of the file: 64 bytes of header (magic, version, number of slots, number
of fields, hash of the field names), then slots of `len(FIELDS)` unsigned 64-bit
numbers in the machine's byte order.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path

FIELDS = (
    # Who is alive. heartbeat_ns: time.monotonic_ns() of the worker's last tick.
    "pid",
    "heartbeat_ns",
    "ready",
    # The segment being written: its creation time (part of its name), and how
    # much of it is already in `captured`. What lies behind is reconciled. The four
    # stand together because they are stored together.
    "segment_us",
    "segment_seq",
    "segment_bytes",
    "captured",
    # The ledger: seen = captured + filtered + sampled + dropped + lost + in flight.
    "seen",
    "sampled",
    "filtered_replay",
    "filtered_method",
    "filtered_path",
    "filtered_content_type",
    "filtered_status",
    "dropped_spool_full",
    "dropped_disk",
    "dropped_slow_disk",
    "dropped_error",
    "dropped_client_aborted",
    "dropped_client_stalled",
    "dropped_bad_request",
    "dropped_answered_early",
    "dropped_upstream_failed",
    "dropped_unreadable",
    "lost",
    # What was left out of records that were captured.
    "omitted_unsealable",
    "truncated",
    # The data plane. `open` fields are gauges, written by the owner alone.
    "connections",
    "open_connections",
    "open_requests",
    "upstream_connections",
    "upstream_retries",
    "upstream_elsewhere",
    "set_aside",
    "copies",
    "refused",
    "responses_1xx",
    "responses_2xx",
    "responses_3xx",
    "responses_4xx",
    "responses_5xx",
    "failed_connect_refused",
    "failed_connect_timeout",
    "failed_connect_error",
    "failed_tls_error",
    "failed_reset",
    "failed_closed_early",
    "failed_response_timeout",
    "failed_bad_response",
    "failed_no_route",
    "failed_unknown_app",
    "failed_no_instance",
    "request_bytes",
    "response_bytes",
    "tunnels",
)

INDEX = {name: position for position, name in enumerate(FIELDS)}
"""Field name -> position in a slot; look positions up once, outside hot paths."""

_MAGIC = b"MPCOUNT1"
_HEADER_BYTES = 64
_HEADER = struct.Struct("=8sII16s")
_SLOT_BYTES = 8 * len(FIELDS)
_FIELDS_HASH = hashlib.blake2b(",".join(FIELDS).encode(), digest_size=16).digest()

Slot = memoryview
"""One worker's numbers, indexed by `INDEX`; ``slot[SEEN] += 1`` is the hot path."""


_FOUR = struct.Struct("=4Q")
_STORED_TOGETHER = slice(INDEX["segment_us"], INDEX["captured"] + 1)


def captured_store(slot: Slot) -> Callable[[int, int, int, int], None]:
    """Return what stores a slot's segment_us, segment_seq, segment_bytes and captured.

    A kill, or a reader at that moment, finds all four as they were or all four new.
    """
    draft = bytearray(_FOUR.size)
    drafted = memoryview(draft).cast("Q")
    write = _FOUR.pack_into

    def store(segment_us: int, segment_seq: int, segment_bytes: int, captured: int) -> None:
        # pack_into fills its buffer with zeros first: done in the slot itself, one look in ten
        # of a tight loop found them, and a kill there would lose the numbers for good.
        write(draft, 0, segment_us, segment_seq, segment_bytes, captured)
        slot[_STORED_TOGETHER] = drafted

    return store


class CounterFile:
    """The slots of one mirror, in a file that every process of it maps.

    A file of another shape (an older version) is replaced by an empty one.
    Raises OSError if the file cannot be made, ValueError if slots is not positive.
    """

    def __init__(self, path: Path, slots: int) -> None:
        if slots < 1:
            raise ValueError(f"a counter file has at least one slot, not {slots}")
        header = _HEADER.pack(_MAGIC, slots, len(FIELDS), _FIELDS_HASH)
        size = _HEADER_BYTES + slots * _SLOT_BYTES
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            existing = os.pread(descriptor, _HEADER_BYTES, 0)
            if existing[: _HEADER.size] != header or os.fstat(descriptor).st_size != size:
                os.ftruncate(descriptor, 0)
                # Reserve the blocks: a store into a hole of a full disk is a SIGBUS.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(descriptor, 0, size)
                else:
                    os.ftruncate(descriptor, size)
                os.pwrite(descriptor, header, 0)
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._numbers = memoryview(self._map)[_HEADER_BYTES:].cast("Q")
        self.slots = slots

    def slot(self, number: int) -> Slot:
        """Return the numbers of one worker, 0 to slots - 1."""
        if not 0 <= number < self.slots:
            raise IndexError(f"no slot {number} among {self.slots}")
        start = number * len(FIELDS)
        return self._numbers[start : start + len(FIELDS)]

    def read(self, number: int) -> dict[str, int]:
        """Return one worker's numbers by name."""
        return dict(zip(FIELDS, self.slot(number).tolist(), strict=True))

    def totals(self) -> dict[str, int]:
        """Return the numbers of all workers, added up by name."""
        slots = [self.slot(number).tolist() for number in range(self.slots)]
        return {name: sum(slot[position] for slot in slots) for name, position in INDEX.items()}


def volatile_slot() -> Slot:
    """Return a slot that no file backs, for a proxy that runs without a supervisor."""
    return memoryview(bytearray(_SLOT_BYTES)).cast("Q")
