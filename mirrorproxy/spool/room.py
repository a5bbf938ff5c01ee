"""How much of the spool's bound is taken.

Owns the measuring; the writers ask before they write. Each worker measures the
whole spool for itself, at most once a second and for at most half a percent of
its time, and adds what it wrote since: several workers together may pass the
bound by what they write in between.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mirrorproxy.errors import MirrorproxyError

_MIN_INTERVAL_S = 1.0
_MAX_SHARE = 0.005


class SpoolFull(MirrorproxyError):
    """The spool's bound on disk is reached: the record is dropped and counted."""


class Room:
    """The bound of one spool. limit_bytes: what segments and bodies may take together."""

    def __init__(
        self,
        spool: Path,
        limit_bytes: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._limit = limit_bytes
        self._monotonic = monotonic
        self._used = 0
        self._measure_at = float("-inf")

    def take(self, size: int) -> None:
        """Count size bytes as taken, just before they are written.

        Raises SpoolFull if they pass the bound; OSError if the spool cannot be read.
        """
        now = self._monotonic()
        if now >= self._measure_at:
            self._used = used_bytes(self._spool)
            cost_s = self._monotonic() - now
            self._measure_at = now + max(_MIN_INTERVAL_S, cost_s / _MAX_SHARE)
        if self._used + size > self._limit:
            raise SpoolFull(f"the spool has reached its bound of {self._limit} bytes")
        self._used += size


def used_bytes(spool: Path) -> int:
    """Return how many bytes segments and bodies take, as their lengths.

    Raises OSError if a folder cannot be read; one that is missing takes nothing.
    """
    return sum(_sizes(os.fspath(spool / "segments"))) + sum(_sizes(os.fspath(spool / "bodies")))


def _sizes(folder: str) -> Iterator[int]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path)
                continue
            try:
                yield entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:  # shipped and deleted since it was listed
                continue
