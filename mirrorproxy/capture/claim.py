"""Claiming a spool: one capture at a time, its numbers put right before anything starts.

Owns the lock on the spool, the opening of its counters and the choice of slots
for this run's workers.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from mirrorproxy.capture.slots import SLOTS, SlotLocks, adopt, reconcile
from mirrorproxy.errors import ConfigError
from mirrorproxy.metrics import CounterFile
from mirrorproxy.spool.segment import SEGMENTS

log = logging.getLogger(__name__)

COUNTERS = "counters"
SLOT_LOCKS = "slots.lock"

_LOCK = "capture.lock"


class Claim:
    """A spool that this process alone supervises, until it is closed or the process ends.

    slots: one per worker to start. orphans: slots that workers of a killed
    supervisor still hold; they end by themselves.
    """

    def __init__(self, spool: Path, workers: int) -> None:
        self.spool = spool
        self._lock = _lock(spool)
        self.counters = CounterFile(spool / COUNTERS, SLOTS)
        self.locks = SlotLocks(spool / SLOT_LOCKS)
        free = [slot for slot in range(SLOTS) if self.locks.is_free(slot)]
        self.orphans = [slot for slot in range(SLOTS) if slot not in free]
        if len(free) < workers:
            raise ConfigError(
                "workers of killed captures still use this spool: try again in some seconds",
                file=str(spool),
            )
        self.slots = free[:workers]
        self._reconcile(free)

    def close(self) -> None:
        """Let go of the spool."""
        self.locks.close()
        os.close(self._lock)

    def _reconcile(self, free: list[int]) -> None:
        found = lost = 0
        for slot in free:
            result = reconcile(self.counters, slot, self.spool)
            found += result.found
            lost += result.lost
        if found or lost:
            log.warning(
                "the last capture ended badly: %d more requests were captured, %d lost in flight",
                found,
                lost,
            )
        if self.orphans:
            return
        difference = adopt(self.counters, self.spool)
        if difference > 0:
            log.info("the spool holds %d records from before its counters", difference)
        elif difference < 0:
            log.warning("%d captured records are gone from the spool: lost", -difference)


def claim(spool: Path, workers: int) -> Claim:
    """Return the claim on a spool, made if it is missing.

    Raises ConfigError if it cannot be used, or if another capture uses it.
    """
    try:
        (spool / SEGMENTS).mkdir(mode=0o700, parents=True, exist_ok=True)
        return Claim(spool, workers)
    except OSError as error:
        raise ConfigError(
            f"the spool cannot be used: {error.strerror or error}", file=str(spool)
        ) from error


def _lock(spool: Path) -> int:
    descriptor = os.open(spool / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(
            "another capture uses this spool: end it, or name another with --spool", file=str(spool)
        ) from None
    return descriptor
