"""What travels from the spool to a sink: packs of lines, and what became of them.

Owns the contract between the shipper and every sink, and nothing else: values
and a protocol. A sink decides how lines are packed and where they go; the
shipper decides what is sent, when it is sent again, and when it may be forgotten.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Pack:
    """Complete lines that are put together.

    number: rises from pack to pack; the same when a pack is put again. lines:
    newline-terminated. count: how many. at_us: when the first of them arrived,
    microseconds since 1970.
    """

    number: int
    lines: bytes
    count: int
    at_us: int


@dataclass(frozen=True)
class Receipt:
    """A pack's end: it is stored for good, or rejected says why it never will be."""

    number: int
    rejected: str | None = None


@dataclass(frozen=True)
class Shape:
    """What packs a sink likes: it is put one as soon as it has so many lines or bytes.

    max_bytes: the most lines in one; a longer line comes alone.
    """

    lines: int = 100
    full_bytes: int = 256 * 1024  # few but large lines compress as well as many small ones
    max_bytes: int = 900 * 1024  # as they are, they fit a Firehose record (1,000 KiB)


@dataclass(frozen=True)
class SinkState:
    """How a sink is that tries again by itself. All that has gone wrong is in the past if it
    has no error.

    error: what goes wrong now, None for nothing. retrying_in_s: time to the next attempt.
    retries: how often something was tried again; rejected: how many packed records were refused
    for the moment and sent again; both since it was made.
    """

    error: str | None = None
    retrying_in_s: float | None = None
    retries: int = 0
    rejected: int = 0


class Sink(Protocol):
    """Where packs go. Used by one thread; every call may block for as long as I/O takes.

    Any call may raise SinkUnavailable: the shipper waits, and puts again what is
    neither `settled` nor `held`.
    """

    shape: Shape

    def put_body(self, ref: str, path: Path) -> None:
        """Store the file as the body object ``ref``; durable on return; the same twice is once.

        Raises SinkRejected if it will never be taken.
        """

    def put(self, pack: Pack) -> None:
        """Take a pack over; it counts as stored once `settled` says so.

        Raises SinkRejected if this pack will never be taken.
        """

    def has_room(self) -> bool:
        """Tell whether it takes another pack now: what is held is bounded."""

    def poll(self) -> None:
        """Do what is due by time: send a batch, end an object."""

    def flush(self) -> None:
        """Bring every pack that was put to its end now."""

    def held(self) -> Collection[int]:
        """Return the packs that were put, are not settled, and are still its own to store."""

    def state(self) -> SinkState:
        """Return how it is. Never raises."""

    def settled(self) -> list[Receipt]:
        """Return what came to its end since the last call. Never raises."""

    def close(self) -> None:
        """Let go of files and connections; what is not settled is given up. Never raises."""
