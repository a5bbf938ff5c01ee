"""Durations and sizes as people write them, such as ``800ms`` and ``64MiB``.

Pure. The spelling is that of Prometheus (durations) and Kubernetes (sizes);
nothing here reads a file or knows what a value is for.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

_DURATION_UNITS = {
    "w": Fraction(604_800),
    "d": Fraction(86_400),
    "h": Fraction(3_600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1_000),
    "us": Fraction(1, 1_000_000),
}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(w|d|h|ms|m|us|s)")

_SIZE_UNITS = {
    "": 1,
    "B": 1,
    **dict.fromkeys(("k", "kB", "K", "KB"), 1000),
    **dict.fromkeys(("M", "MB"), 1000**2),
    **dict.fromkeys(("G", "GB"), 1000**3),
    **dict.fromkeys(("T", "TB"), 1000**4),
    **dict.fromkeys(("Ki", "KiB"), 1024),
    **dict.fromkeys(("Mi", "MiB"), 1024**2),
    **dict.fromkeys(("Gi", "GiB"), 1024**3),
    **dict.fromkeys(("Ti", "TiB"), 1024**4),
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")

_MAX_TEXT = 64
_MAX_DURATION_S = 100 * 365 * 86_400
_MAX_SIZE = 1 << 62

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{5,15}([Zz]|[+-][0-9]{2}:[0-9]{2})")
_MOMENT_HELP = "expected a time such as 2026-11-23T08:00:00Z, or before now such as -2h"

_DURATION_HELP = "expected a duration such as 800ms, 10s, 5m or 1h30m"
_SIZE_HELP = "expected a size such as 512, 64KiB, 64MiB or 1GB"


class Seconds(float):
    """A duration in seconds that a file or option spells as ``parse_duration`` reads it."""

    @classmethod
    def parse(cls, value: object) -> Seconds:
        """Return the duration; ValueError names what is expected."""
        return cls(parse_duration(value))


class Bytes(int):
    """A size in bytes that a file or option spells as ``parse_size`` reads it."""

    @classmethod
    def parse(cls, value: object) -> Bytes:
        """Return the size; ValueError names what is expected."""
        return cls(parse_size(value))


def parse_duration(value: object) -> float:
    """Return a duration in seconds, from 0 to 100 years.

    value: a number, or text without a unit, is seconds; otherwise one or more
    of w, d, h, m, s, ms, us, from the largest to the smallest, each once:
    ``1h30m``. Raises ValueError, which says what is expected and never repeats
    the value.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(_DURATION_HELP)  # noqa: TRY004 - what a file holds is a value
    seconds = _duration_text(value.strip()) if isinstance(value, str) else value
    if not math.isfinite(seconds) or not 0 <= seconds <= _MAX_DURATION_S:
        raise ValueError(f"{_DURATION_HELP}, from 0 to 100 years")
    return float(seconds)


def _duration_text(text: str) -> float | Fraction:
    if not text or len(text) > _MAX_TEXT or not text.isascii():
        raise ValueError(_DURATION_HELP)
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return Fraction(text)
    total, end, smallest = Fraction(0), 0, Fraction(_MAX_DURATION_S)
    for part in _DURATION_PART.finditer(text):
        unit = _DURATION_UNITS[part[2]]
        if part.start() != end or unit >= smallest:
            raise ValueError(_DURATION_HELP)
        total, end, smallest = total + Fraction(part[1]) * unit, part.end(), unit
    if end != len(text):
        raise ValueError(_DURATION_HELP)
    return total


def parse_moment(text: str, now_us: int) -> int:
    """Return a moment in microseconds since 1970.

    text: as in RFC 3339, with its offset from UTC; or ``-`` and a duration before
    now_us. Raises ValueError, which says what is expected.
    """
    if text.startswith("-"):
        try:
            return now_us - round(parse_duration(text[1:]) * 1_000_000)
        except ValueError:
            raise ValueError(_MOMENT_HELP) from None
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError(_MOMENT_HELP) from None
    return (at - _EPOCH) // timedelta(microseconds=1)


def parse_size(value: object) -> int:
    """Return a size in bytes, from 0 to 4 EiB, rounded to whole bytes.

    value: a whole number, or text without a unit, is bytes; k, M, G, T are
    powers of 1000, Ki, Mi, Gi, Ti of 1024, each with or without ``B``. Raises
    ValueError, which says what is expected and never repeats the value.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(_SIZE_HELP)  # noqa: TRY004 - what a file holds is a value
    size = _size_text(value.strip()) if isinstance(value, str) else value
    if not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"{_SIZE_HELP}, from 0 to 4EiB")
    return size


def _size_text(text: str) -> int:
    match = _SIZE.fullmatch(text) if len(text) <= _MAX_TEXT else None
    unit = _SIZE_UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise ValueError(_SIZE_HELP)
    return round(Fraction(match[1]) * unit)


def format_duration(seconds: float) -> str:
    """Return a duration for people, in at most two units: ``800ms``, ``1.5s``, ``1h30m``.

    seconds: 0 or more. Rounded to three significant digits below a minute, to
    whole seconds below an hour, to whole minutes below a day, else to hours.
    """
    if seconds < 59.95:
        return _short_duration(seconds)
    for limit, large, small in ((3_600, "m", "s"), (86_400, "h", "m"), (math.inf, "d", "h")):
        small_s, large_s = int(_DURATION_UNITS[small]), int(_DURATION_UNITS[large])
        rounded = round(seconds / small_s) * small_s
        if rounded < limit:
            whole, rest = divmod(rounded, large_s)
            return f"{whole}{large}" + (f"{rest // small_s}{small}" if rest else "")
    raise ValueError("a duration is finite")


def _short_duration(seconds: float) -> str:
    for unit, per_second in (("us", 1_000_000), ("ms", 1_000)):
        if seconds and seconds * per_second < 999.5:
            return f"{seconds * per_second:.3g}{unit}"
    return f"{seconds:.3g}s"


def format_size(size: int) -> str:
    """Return a size for people in powers of 1024: ``512B``, ``1.5KiB``, ``64MiB``."""
    if size < 1024:
        return f"{size}B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1023.95:
            return f"{value:.1f}".removesuffix(".0") + unit
    return f"{value / 1024:.1f}".removesuffix(".0") + "TiB"
