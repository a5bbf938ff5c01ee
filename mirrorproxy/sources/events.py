"""What reading a capture yields: exchanges, and everything that is no exchange.

Only values. `objects` finds what is to be read, `feed` reads it, `merge` puts
it in order.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import BinaryIO, NamedTuple

import msgspec

from mirrorproxy.record import Exchange


class CaptureObject(msgspec.Struct, frozen=True):
    """One object of a capture: a file, or standard input.

    name: as messages call it. open: opens it anew, raises OSError. time_us:
    when its oldest record arrived, by its key; None where the key does not say.
    base: what its body objects' names are relative to, None where that is unknown.
    is_stream: whether reading it may wait for whoever writes it.
    """

    name: str
    open: Callable[[], BinaryIO]
    time_us: int | None = None
    base: str | None = None
    is_stream: bool = False


class Captured(NamedTuple):
    """An exchange, the object it stands in, and whether it came behind its turn."""

    exchange: Exchange
    source: CaptureObject
    is_late: bool


class Duplicate(NamedTuple):
    """An exchange whose id was given out before."""

    record_id: str


class Unreadable(NamedTuple):
    """A part of a capture that could not be read.

    name: of the object. offset: where in it the damage begins, in bytes, None
    where the object could not be opened. lines: how many were lost, None if unknown.
    """

    name: str
    offset: int | None
    reason: str
    lines: int | None

    def __str__(self) -> str:
        where = self.name if self.offset is None else f"{self.name}: byte {self.offset}"
        lost = "" if self.lines is None else f" ({self.lines} lost)"
        return f"{where}: {self.reason}{lost}"


class Signal(Enum):
    """Where reading stands when it has nothing to give out.

    READING: call again, there is more work at hand. PENDING: bytes are being
    fetched, call again in a moment. END: that was all.
    """

    READING = "reading"
    PENDING = "pending"
    END = "end"


Event = Captured | Duplicate | Unreadable | Signal
