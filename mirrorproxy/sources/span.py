"""Spans: which captured times are asked for, and which objects may hold them.

Pure. An object is named for the moment when its oldest record arrived. Its other
records came up to the longest buffering age later, and any of them was captured
before it arrived: at once as a rule, hours before after an outage. So what was
captured in an hour lies in objects named from a little before that hour until
as long after it as anything may have been under way.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

BUFFER_US = 15 * 60 * 1_000_000
"""The longest that Firehose gathers records for one object (API reference, BufferingHints)."""

LOOKBACK_US = 60 * 60 * 1_000_000
"""How long a record may have been under way, by default: an hour of outage, held in the spool."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_US = 253_402_300_799_000_000  # the last second of the year 9999


class Span(NamedTuple):
    """Captured times from from_us to before to_us, microseconds since 1970; None is no bound.

    lookback_us: how long after its capture a record may have arrived.
    """

    from_us: int | None = None
    to_us: int | None = None
    lookback_us: int = LOOKBACK_US

    def holds(self, captured_us: int) -> bool:
        """Tell whether a moment is asked for."""
        if self.from_us is not None and captured_us < self.from_us:
            return False
        return self.to_us is None or captured_us < self.to_us

    @property
    def first_us(self) -> int | None:
        """The earliest time in the key of an object that may hold what is asked for."""
        return None if self.from_us is None else max(0, self.from_us - BUFFER_US)

    @property
    def last_us(self) -> int | None:
        """The latest time in such a key."""
        return None if self.to_us is None else min(_MAX_US, self.to_us + self.lookback_us)

    def may_be_in(self, key_time_us: int | None) -> bool:
        """Tell whether an object of such a key may hold what is asked for. None: it may."""
        if key_time_us is None:
            return True
        if self.first_us is not None and key_time_us < self.first_us:
            return False
        return self.last_us is None or key_time_us <= self.last_us

    def takes_folder(self, folder: str) -> bool:
        """Tell whether a folder may hold such objects.

        folder: ``YYYY``, ``YYYY/MM``, ``YYYY/MM/DD`` or ``YYYY/MM/DD/HH``.
        """
        size = len(folder)
        if self.first_us is not None and folder < hour_folder(self.first_us)[:size]:
            return False
        return self.last_us is None or folder <= hour_folder(self.last_us)[:size]


EVERYTHING = Span()


def hour_folder(at_us: int) -> str:
    """Return the hour folder of a moment, ``YYYY/MM/DD/HH`` in UTC."""
    return f"{_EPOCH + timedelta(microseconds=at_us):%Y/%m/%d/%H}"
