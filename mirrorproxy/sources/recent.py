"""Which ids were seen lately, in memory of a fixed size.

Pure. A capture is delivered at least once, so the same record can stand in two
objects; far apart they never stand, so the last few hundred thousand ids are
enough. Two tables of 64-bit hashes take turns: when one is half full the older
one is forgotten. Two different ids share a hash once in about 3e13 look-ups.
"""

from __future__ import annotations

from array import array

from mypy_extensions import i64

MIN_REMEMBERED = 1 << 18


class RecentIds:
    """Remembers at least the last `remembered` ids, at most twice as many.

    remembered: rounded up to a power of two. The memory, 32 bytes for each, is
    taken at once: it never grows.
    """

    def __init__(self, remembered: int = MIN_REMEMBERED) -> None:
        if remembered < 1:
            raise ValueError(f"at least one id must be remembered, not {remembered}")
        self._limit = 1 << (remembered - 1).bit_length()
        self._slots = self._limit * 2
        self._mask = self._slots - 1
        self._current = array("q", bytes(8 * self._slots))
        self._older = array("q", bytes(8 * self._slots))
        self._count = 0

    def add(self, record_id: str) -> bool:
        """Remember an id; return False if it was there already."""
        # 0 marks a free slot, so it cannot stand for an id.
        # i64: compiled, the numbers of this search need no objects.
        key: i64 = hash(record_id) or 1
        mask: i64 = self._mask
        # Both tables are searched here and not in a function: this is asked for every record.
        older = self._older
        slot: i64 = key & mask
        held: i64 = older[slot]
        while held:
            if held == key:
                return False
            slot = (slot + 1) & mask
            held = older[slot]
        current = self._current
        slot = key & mask
        held = current[slot]
        while held:
            if held == key:
                return False
            slot = (slot + 1) & mask
            held = current[slot]
        current[slot] = key
        self._count += 1
        if self._count == self._limit:
            self._older = current
            self._current = array("q", bytes(8 * self._slots))
            self._count = 0
        return True
