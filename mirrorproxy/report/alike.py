"""Values that differ and yet are as good as equal: ids, times, tokens.

Pure. Owns what may be told from the look of two values: both are UUIDs, both
points in time, both opaque. Deliberately narrow: a price, a word, a count or a
short number never counts as made anew, wherever it stands, unless its name says
that it is an id. What was learned of this run goes before all that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Final

from mirrorproxy.marks import find_marks, is_sealed

Same = Callable[[str, str], bool]
"""Whether production's value and the target's are known to stand for the same thing."""

SEALED: Final = "sealed"
LEARNED: Final = "learned"
TIME: Final = "time"
ID: Final = "id"
TOKEN: Final = "token"  # noqa: S105 - a word for what is not shown
PLACE: Final = "host"

_UUID: Final = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_RFC3339: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
    r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_HTTP_DATE: Final = (
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{1,2}[ -][A-Z][a-z]{2}[ -][0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} (?:GMT|UTC|[+-][0-9]{4})"
)
_KINDS: Final = (
    (TIME, re.compile(_RFC3339)),
    (TIME, re.compile(_HTTP_DATE)),
    (ID, re.compile(_UUID)),
    # Crockford's alphabet has no I, L, O or U; a ULID is 26 of it, the first at most 7.
    (ID, re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")),
    # What is this long counts nothing.
    (ID, re.compile(r"[0-9]{15,40}")),
    (TOKEN, re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)),
)
_IN_TEXT: Final = re.compile(f"({_RFC3339})|({_HTTP_DATE})|({_UUID})")
_WORDS: Final = re.compile(r"[^\s\"'<>=&?/#,;:()\[\]{}|]+")
_OPAQUE: Final = re.compile(r"[A-Za-z0-9_+/~.-]{16,4096}={0,2}")
_HEX: Final = re.compile(r"(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8,}|[0-9A-F]{16,}")
_RUNS: Final = re.compile(r"[a-z]+|[A-Z]+|[0-9]+")
_PART: Final = re.compile(r"([^A-Za-z0-9]+)")
_URL: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#\s]*")
_ID_CAMEL: Final = re.compile(r".*[a-z0-9](?:Ids?|IDs?|U?uid|UUID|Guid|GUID)")
_PLAIN_ID: Final = re.compile(r"@?(?:.*[_.-])?(?:ids?|uuid|guid|ulid)", re.IGNORECASE)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TOKEN: Final = re.compile(r"[^\s\"'<>&;,]+")
_MARK: Final = "\0sealed"
_CONTEXTS: Final = (64, 24, 8)
_MAX_TEXT: Final = 256 * 1024

_DAY_S: Final = 86400
_YEAR_S: Final = 366 * _DAY_S
_FIRST_S: Final = 1e9  # September 2001
_LAST_NS: Final = 1e19  # in the finest unit, the year 2286
_UNITS: Final = (1, 1000, 1_000_000, 1_000_000_000)
_SNOWFLAKE: Final = 1 << 50


def names_an_id(name: str) -> bool:
    """Tell whether a field's name says that it holds an id: id, order_id, userIds, @id."""
    return _PLAIN_ID.fullmatch(name) is not None or _ID_CAMEL.fullmatch(name) is not None


Moments = tuple[float, float]
"""When production answered and when the target did, in seconds since 1970."""


def like_texts(
    production: str, target: str, name: str, same: Same | None, moments: Moments
) -> str | None:
    """Return why two texts that differ are as good as equal, None if they are not.

    name: of the field, "" if it has none. same: what was learned of this run.
    """
    has_mark = False
    if "{h1:" in production:
        if is_sealed(production):
            return SEALED
        production, target = _unsealed(production, target)
        if production == target:
            return SEALED
        has_mark = True
    elif same is not None and same(production, target):
        return LEARNED
    kind = kind_of(production)
    if kind is not None:
        return kind if kind == kind_of(target) else None
    if names_an_id(name) and _folded(production) == _folded(target):
        return ID
    if _DATE.fullmatch(production) and _DATE.fullmatch(target):
        return TIME if _are_shifted(production, target, moments) else None
    if max(len(production), len(target)) > _MAX_TEXT:
        return None
    reason = _like_words(production, target, same)
    return SEALED if has_mark and reason is not None else reason


Number = int | float  # compiled, a float is never an int: both have to be named
"""A number of JSON as it was read."""


def like_numbers(
    production: Number, target: Number, name: str, same: Same | None, moments: Moments
) -> str | None:
    """Return why two numbers that differ are as good as equal, None if they are not."""
    if isinstance(production, int) and isinstance(target, int):
        if same is not None and same(str(production), str(target)):
            return LEARNED
        if names_an_id(name):
            return ID
        if (
            production >= _SNOWFLAKE
            and target >= _SNOWFLAKE
            and not _times(production, target, moments)
        ):
            return ID
    return TIME if _times(production, target, moments) else None


def kind_of(text: str) -> str | None:
    """Return what a text is from its look: a time, an id, a token; None for any other."""
    if len(text) < 15:
        return None
    for kind, pattern in _KINDS:
        if pattern.fullmatch(text):
            return kind
    return TOKEN if is_opaque(text) else None


def is_opaque(text: str) -> bool:
    """Tell whether a text is random letters and digits, not words or a name with a number."""
    if not 16 <= len(text) <= 4098 or _OPAQUE.fullmatch(text) is None:
        return False
    # Words are long runs of one class of characters; what is random changes at every second one.
    runs = _RUNS.findall(text)
    return len(runs) >= 4 and len(runs) * 4 >= len(text) and any(run[0].isdigit() for run in runs)


def is_made_name(name: str) -> bool:
    """Tell whether the name of a member looks like a value: a map's key, not a field."""
    return name.isdigit() or kind_of(name) is not None or _HEX.fullmatch(name) is not None


def _folded(text: str) -> str:
    """Return an id without what is its own: ord_17 and ord_18 are of one form."""
    return "".join(
        "#" if part.isdigit() or _HEX.fullmatch(part) or _is_mixed(part) else part
        for part in _PART.split(text)
    )


def _is_mixed(part: str) -> bool:
    return len(part) >= 6 and len(_RUNS.findall(part)) * 4 >= len(part)


def _times(production: Number, target: Number, moments: Moments) -> bool:
    """Tell whether both are times since 1970 in the same unit, each about when it was answered."""
    # A number of JSON may have more digits than any float.
    return _FIRST_S <= min(production, target) <= max(production, target) < _LAST_NS and any(
        abs(production / unit - moments[0]) < _YEAR_S and abs(target / unit - moments[1]) < _YEAR_S
        for unit in _UNITS
    )


def _are_shifted(production: str, target: str, moments: Moments) -> bool:
    """Tell whether two days lie as far apart as the answers that they stand in."""
    try:
        apart = (date.fromisoformat(target) - date.fromisoformat(production)).days
    except ValueError:
        return False
    days = int(moments[1] // _DAY_S) - int(moments[0] // _DAY_S)
    # Where a day begins depends on where the servers are.
    return days != 0 and abs(apart - days) <= 1


def _unsealed(production: str, target: str) -> tuple[str, str]:
    """Return both texts with a word for every mark, and for what stands there at the target."""
    ours: list[str] = []
    theirs: list[str] = []
    at = end = 0
    for mark in find_marks(production):
        before = production[at : mark.start]
        place = _place_after(before, target, end)
        if place < 0:
            break
        token = _TOKEN.match(target, place)
        ours += (before, _MARK)
        theirs += (target[end:place], _MARK)
        at, end = mark.end, place if token is None else token.end()
    return "".join((*ours, production[at:])), "".join((*theirs, target[end:]))


def _place_after(before: str, target: str, start: int) -> int:
    """Return where what stands before a mark ends in the target's text, -1 if it is not there."""
    if not before:
        return start
    # What is long is there once; what is short may stand behind a value that differs, too.
    for length in _CONTEXTS:
        context = before[-length:]
        found = target.find(context, start)
        if found >= 0:
            return found + len(context)
    return -1


def _like_words(production: str, target: str, same: Same | None) -> str | None:
    """Compare texts word by word: each pair equal, or as good as."""
    reason: str | None = None
    is_url = production.startswith("/") or _URL.match(production) is not None
    if is_url:
        at_production, at_target = _URL.match(production), _URL.match(target)
        if at_production is not None and at_target is not None:
            if at_production[0] != at_target[0]:
                reason = PLACE
            production, target = production[at_production.end() :], target[at_target.end() :]
    one, other = _marked(production), _marked(target)
    if one != other:
        ones, others = _WORDS.findall(one), _WORDS.findall(other)
        if len(ones) != len(others) or _WORDS.sub("", one) != _WORDS.sub("", other):
            return None
        for left, right in zip(ones, others, strict=True):
            if left == right:
                continue
            if same is not None and same(left, right):
                reason = LEARNED
                continue
            kind = kind_of(left)
            if kind is not None and kind == kind_of(right):
                reason = kind
            elif is_url and _folded(left) == _folded(right):
                reason = ID
            else:
                return None
    elif reason is None and production != target:
        reason = TIME
    return reason


def _marked(text: str) -> str:
    """Return a text with every time and UUID in it as its kind."""
    if len(text) < 15:
        return text
    return _IN_TEXT.sub(_kind_found, text)


def _kind_found(found: re.Match[str]) -> str:
    return "\0id" if found[3] else "\0time"
