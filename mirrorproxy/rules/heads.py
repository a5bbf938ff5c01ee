"""Heads: what each header of a captured request means for its shots, remembered.

The same few headers come with every request, so what a header means is looked
up by the header itself. Owns which headers are never sent, and which hold
something sealed. Memory is bounded; what is remembered stands in the capture,
sealed, or in the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

from mirrorproxy.headers import APP_HEADER, HOP_BY_HOP, REPLAY_HEADER, end_to_end, first
from mirrorproxy.marks import contains_mark
from mirrorproxy.record import HeaderList
from mirrorproxy.remembered import Remembered

Header = tuple[bool, str, tuple[str, str]]
"""Whether the value holds a mark or the trace of one; the name in lower case; the header."""

_REPLAY = REPLAY_HEADER.lower()
_NOT_SENT = (HOP_BY_HOP - {"connection"}) | {
    "host",
    "content-length",
    _REPLAY,
    APP_HEADER.lower(),
}
_MAX_REMEMBERED_CHARS: Final = 2048

_NAME = itemgetter(1)
_PAIR = itemgetter(2)


class Head:
    """A captured head, taken apart.

    sent: the headers that may be sent, in order. is_replayed: whether the
    request was a shot of a replay.
    """

    __slots__ = ("is_replayed", "sent")

    def __init__(self, headers: HeaderList) -> None:
        self.is_replayed = False
        try:
            self.sent: list[Header] = list(filter(None, map(_captured, headers)))
        except _UnusualError:
            self.is_replayed = first(headers, REPLAY_HEADER) is not None
            kept = [pair for pair in headers if pair[0].lower() not in _NOT_SENT]
            # Captures of our own hold no Connection header; those of other makers may.
            if first(kept, "connection") is not None:
                kept = end_to_end(kept)
            self.sent = list(map(header_of, kept))


def header_of(pair: tuple[str, str]) -> Header:
    """Return what one header means that is to be sent."""
    if len(pair[0]) + len(pair[1]) > _MAX_REMEMBERED_CHARS:
        return _read(pair)
    return _known[pair]


def set_header(headers: Sequence[Header], name: str, value: str) -> list[Header]:
    """Return the headers with one set: where the first of its name stood, else at the end."""
    wanted = name.lower()
    result: list[Header] = []
    done = False
    for header in headers:
        if header[1] != wanted:
            result.append(header)
        elif not done:
            result.append(header_of((header[2][0], value)))
            done = True
    if not done:
        result.append(header_of((name, value)))
    return result


def is_any_sealed(headers: list[Header]) -> bool:
    """Tell whether any of the headers holds a mark or the trace of one."""
    return any(is_sealed for is_sealed, _, _ in headers)


def names_of(headers: Iterable[Header]) -> Iterable[str]:
    """Return the names of the headers, in lower case."""
    return map(_NAME, headers)


def pairs_of(headers: Iterable[Header]) -> Iterable[tuple[str, str]]:
    """Return the headers as they are sent."""
    return map(_PAIR, headers)


def value_of(headers: Iterable[Header], name: str) -> str | None:
    """Return the value of the first header of that name, or None."""
    return first(pairs_of(headers), name)


class _UnusualError(Exception):
    """A header that says something of others, or is too long to be remembered."""


def _read_captured(pair: tuple[str, str]) -> Header | None:
    """Return what a captured header means, None for one that is not sent."""
    lower = pair[0].lower()
    if lower in ("connection", _REPLAY) or len(pair[0]) + len(pair[1]) > _MAX_REMEMBERED_CHARS:
        raise _UnusualError
    return None if lower in _NOT_SENT else (contains_mark(pair[1]), lower, pair)


def _read(pair: tuple[str, str]) -> Header:
    return contains_mark(pair[1]), pair[0].lower(), pair


_known = Remembered(_read)
_captured = Remembered(_read_captured).__getitem__
