"""Shifted times: timestamps of a capture, moved to when they are sent.

Pure. Owns which spellings are times, and how each looks afterwards: the same
spelling, the same precision, the same zone. What is no time stays as it was.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Final

_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:(?P<t>[Tt ])(?P<time>[0-9]{2}:[0-9]{2}(?P<seconds>:[0-9]{2})?)"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?(?P<zone>Z|z|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.ASCII,
)
_EPOCH = re.compile(r"(?P<whole>[0-9]{9,19})(?:\.(?P<fraction>[0-9]{1,9}))?", re.ASCII)

_DAY_US: Final = 86_400_000_000
# By how many digits the number has: from 2001 to 2286 a second has ten.
_UNIT_NS: Final = {9: 10**9, 10: 10**9, 12: 10**6, 13: 10**6, 15: 10**3, 16: 10**3, 18: 1, 19: 1}
_MAX_SPEED: Final = float("inf")


class Offset:
    """How much later than it was captured a request is sent, in microseconds.

    speed: the replay's pace; MAX_SPEED (infinity) sends as fast as it goes. now_us:
    the wall clock. The first exchange that is asked for is sent now, others as long
    after it as the pace says. Pauses of a running replay are not counted.
    """

    def __init__(self, speed: float, now_us: Callable[[], int]) -> None:
        self._speed = speed
        self._now_us = now_us
        self._first_us = -1
        self._began_us = 0

    def of(self, started_us: int) -> int:
        """Return the offset for what was captured then."""
        if self._speed == _MAX_SPEED:
            return self._now_us() - started_us
        if self._first_us < 0:
            self._first_us, self._began_us = started_us, self._now_us()
        since_us = int((started_us - self._first_us) / self._speed)
        return self._began_us + since_us - started_us


def shifted(text: str, offset_us: int, captured_us: int) -> str:
    """Return a time so much later; any other text as it is.

    Times are ISO 8601 (extended, whole days included) and seconds, milli-,
    micro- or nanoseconds since 1970. captured_us: of the request; a date alone
    moves by the whole days between then and the sending, in UTC.
    """
    found = _EPOCH.fullmatch(text)
    if found is not None:
        return _shifted_epoch(found, offset_us) or text
    found = _ISO.fullmatch(text)
    if found is None:
        return text
    try:
        return _shifted_iso(found, offset_us, captured_us)
    except (ValueError, OverflowError):
        return text


def _shifted_epoch(found: re.Match[str], offset_us: int) -> str | None:
    whole, fraction = found["whole"], found["fraction"]
    unit_ns = _UNIT_NS.get(len(whole))
    if unit_ns is None:
        return None
    digits = len(fraction) if fraction else 0
    # Counted in the last place that is written, so that no float rounds it.
    value = int(whole + (fraction or ""))
    moved = value + offset_us * 1000 * 10**digits // unit_ns
    if moved < 0:
        return None
    spelled = str(moved).rjust(digits + 1, "0")
    return f"{spelled[:-digits]}.{spelled[-digits:]}" if digits else spelled


def _shifted_iso(found: re.Match[str], offset_us: int, captured_us: int) -> str:
    date = found["date"]
    if found["time"] is None:
        days = (captured_us + offset_us) // _DAY_US - captured_us // _DAY_US
        day = datetime.date.fromisoformat(date) + datetime.timedelta(days=days)
        return day.isoformat()
    seconds = found["seconds"] or ":00"
    moment = datetime.datetime.fromisoformat(f"{date}T{found['time'][:5]}{seconds}")
    fraction = found["fraction"] or ""
    # In nanoseconds: datetime has none.
    nanos = int(fraction.ljust(9, "0")) + offset_us * 1000 if fraction else offset_us * 1000
    carried, rest = divmod(nanos, 10**9)
    moment += datetime.timedelta(seconds=carried)
    text = f"{moment:%Y-%m-%d}".rjust(10, "0") + found["t"] + f"{moment:%H:%M}"
    if found["seconds"]:
        text += f"{moment:%S}".rjust(3, ":")
    if fraction:
        mark = found.string[found.start("fraction") - 1]
        text += mark + f"{rest:09d}"[: len(fraction)]
    return text + (found["zone"] or "")
