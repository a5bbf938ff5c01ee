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


class Account:
    """What of one object has not come to its end yet. For one thread.

    Counts the object itself while it is read, each of its exchanges that is held,
    and each of their shots. settled: called once, when nothing is left; never if
    a part is given up, such as a shot that is not sent because the replay ends.
    """

    __slots__ = ("_left", "_settled")

    def __init__(self, settled: Callable[[], None]) -> None:
        self._left = 0
        self._settled = settled

    def add(self, number: int = 1) -> None:
        """Count so many that are to come to their ends."""
        self._left += number

    def done(self) -> None:
        """Take one to its end."""
        self._left -= 1
        if not self._left:
            self._settled()


class CaptureObject(msgspec.Struct, frozen=True):
    """One object of a capture: a file, or standard input.

    name: as messages call it. open: opens it anew, raises OSError. time_us:
    when its oldest record arrived, by its key; None where the key does not say.
    base: what its body objects' names are relative to, None where that is unknown.
    is_stream: whether reading it may wait for whoever writes it. read_body: reads
    the body object of a reference, of so many bytes at most, and raises OSError;
    None where bodies are files below base. account: hears of the object's end,
    None if nobody asks.
    """

    name: str
    open: Callable[[], BinaryIO]
    time_us: int | None = None
    base: str | None = None
    is_stream: bool = False
    read_body: Callable[[str, int], bytes] | None = None
    account: Account | None = None


class Waiting(NamedTuple):
    """In place of an object: the next one is not known yet.

    until_us: it holds nothing that was captured before, microseconds since 1970.
    """

    until_us: int


class Captured(NamedTuple):
    """An exchange, the object it stands in, and whether it came behind its turn."""

    exchange: Exchange
    source: CaptureObject
    is_late: bool


class Duplicate(NamedTuple):
    """An exchange whose id was given out before."""

    record_id: str


class PassedOver(NamedTuple):
    """An exchange that is not to be sent, whatever the rules say, and why."""

    reason: str
    source: CaptureObject


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


Event = Captured | Duplicate | PassedOver | Unreadable | Signal
