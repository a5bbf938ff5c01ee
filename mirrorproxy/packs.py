"""What travels from the spool to a sink: packs of lines, and what became of them.

Owns the contract between the shipper and every sink, and nothing else: values
and a protocol. A sink decides how lines are packed and where they go; the
shipper decides what is sent, when it is sent again, and when it may be forgotten.
"""

from __future__ import annotations

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


class Sink(Protocol):
    """Where packs go. Used by one thread; every call may block for as long as I/O takes.

    Any call may raise SinkUnavailable. The sink then holds no pack but those
    that `settled` gives; the shipper waits and puts the others again.
    """

    def put_body(self, ref: str, path: Path) -> None:
        """Store the file as the body object ``ref``; durable on return; the same twice is once.

        Raises SinkRejected if it will never be taken.
        """

    def put(self, pack: Pack) -> None:
        """Take a pack over; it counts as stored once `settled` says so.

        Raises SinkRejected if this pack will never be taken.
        """

    def poll(self) -> None:
        """Do what is due by time: send a batch, end an object."""

    def flush(self) -> None:
        """Bring every pack that was put to its end now."""

    def settled(self) -> list[Receipt]:
        """Return what came to its end since the last call. Never raises."""

    def close(self) -> None:
        """Let go of files and connections; what is not settled is given up. Never raises."""
