"""Affinity: under which names a value that a server made may come again.

Pure. A number means nothing by itself: 42 is an order's only where something says
"order". Owns the names that say so, in answers and in requests, and the few values
that cannot be mistaken for anything else. Keys are plain texts: what was learned by a
key is used where one of the keys of a place is the same.
"""

from __future__ import annotations

import re
from typing import Final

from mirrorproxy.remembered import Remembered

UNMISTAKABLE: Final = "*"
"""The key of values that are the same thing wherever they stand."""

MIN_OPAQUE: Final = 16
_MIN_RANDOM: Final = 12
_MIN_TURNS: Final = 4
_MAX_RUN: Final = 4
"""An opaque text has so many characters, so many of them in no word or number, and in those
so many turns from one kind (digit, lower, upper) to another, after so many at most."""

_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_UUID_LENGTH, _ULID_LENGTH = 36, 26
_MIN_VARIED: Final = 6
_OPAQUE = re.compile(r"[0-9A-Za-z._~+/=-]+")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_PARTS = re.compile(r"[0-9A-Za-z]+")
_WORDY = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_RUNS = re.compile(r"[a-z]+|[A-Z]+|[0-9]+")

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_ID_WORDS = frozenset(
    {"id", "ids", "uid", "uuid", "guid", "oid", "pk", "ref", "reference", "identifier", "slug"}
)
_NUMBER_WORDS = frozenset({"number", "no", "nr", "num"})
_NEVER = frozenset(
    {
        "page", "per", "limit", "offset", "size", "count", "quantity", "qty", "year", "month",
        "day", "week", "hour", "minute", "second", "date", "time", "price", "amount", "total",
        "sum", "tax", "cost", "sort", "version", "revision", "position", "index", "rank", "line",
        "row", "column", "phone", "fax", "mobile", "house", "street", "building", "floor", "seat",
        "room", "zip", "status", "state", "type", "kind", "level", "score", "rating", "age",
        "width", "height", "length", "weight", "percent", "rate", "step", "port", "code", "seq",
        "sequence", "attempt", "retry", "max", "min", "card", "value", "name", "title",
        "currency", "lat", "lon", "lng", "duration", "timestamp", "timeout",
    }
)  # fmt: skip
"""What counts, measures or dates: never a thing that has an id, unless its name says id."""

_TRACES = frozenset(
    {"request", "trace", "span", "correlation", "transaction", "amzn", "amz", "event", "log"}
)
"""Ids of these are another one for every request, and nobody sends them back."""

_ENVELOPES = frozenset(
    {
        "data", "result", "results", "response", "payload", "content", "contents", "record",
        "records", "row", "rows", "list", "entries", "entry", "object", "objects", "values",
        "value", "attributes", "resource", "resources", "body", "embedded", "hits", "source",
        "edges", "node", "nodes", "collection", "members", "member", "elements", "set",
    }
)  # fmt: skip
"""Names of what lies around things, and says nothing of them."""

_POINTING = frozenset({"me", "self", "current", "latest", "last", "first", "mine", "default"})
_ACTIONS = frozenset(
    {"new", "create", "add", "search", "list", "find", "query", "all", "bulk", "batch", "get",
     "update", "edit", "delete", "by", "count"}
)  # fmt: skip

Keys = tuple[str, ...]
NO_KEYS: Keys = ()
_ANY: Keys = (UNMISTAKABLE,)


def is_unmistakable(text: str) -> bool:
    """Tell whether a text can be nothing but the very thing it was made for.

    UUIDs, ULIDs, and opaque texts of 16 characters or more in which digits and letters
    mix; not words with numbers between them, dates or names of files.
    """
    if len(text) < MIN_OPAQUE or _OPAQUE.fullmatch(text) is None:
        return False
    if is_uuid_or_ulid(text):
        return True
    if len(text) == _UUID_LENGTH and _UUID.fullmatch(text) is not None:
        return False
    if _HEX.fullmatch(text) is not None:
        # No word, date or number is spelled so.
        return sum(character.isdigit() for character in text) in range(2, len(text) - 1)
    length = turns = 0
    for part in _PARTS.findall(text):
        if _WORDY.fullmatch(part) is None:
            length += len(part)
            turns += len(_RUNS.findall(part)) - 1
    has_digit = any(character.isdigit() for character in text)
    turns_needed = max(_MIN_TURNS, length / _MAX_RUN)
    return has_digit and length >= _MIN_RANDOM and turns >= turns_needed


def is_uuid_or_ulid(text: str) -> bool:
    """Tell whether a text is a UUID other than the nil one, or a ULID."""
    if len(text) == _UUID_LENGTH:
        return _UUID.fullmatch(text) is not None and text.strip("0-") != ""
    if len(text) == _ULID_LENGTH:
        return _ULID.fullmatch(text) is not None and len(set(text)) > _MIN_VARIED
    return False


class Name:
    """What a name of a field, key, header or segment says of the value under it.

    subject: what it is of, "" if the name does not say; in the singular, its words by
    spaces. is_id: whether it says that the value is an id. is_plural: of several.
    is_envelope: whether it says nothing. is_thing: whether the bare name may stand for
    an id. keys: to learn by; used: to look up by.
    """

    __slots__ = ("is_envelope", "is_id", "is_plural", "is_thing", "keys", "subject", "used")

    def __init__(self, name: str) -> None:
        words = [word.lower() for word in _WORD.findall(name)]
        if words and words[0] == "x" and len(words) > 1:
            del words[0]
        self.is_id = False
        if words and words[-1] in _ID_WORDS:
            self.is_id = True
            words.pop()
        elif len(words) > 1 and words[0] == "id":
            self.is_id = True
            del words[0]
        elif len(words) > 1 and words[-1] in _NUMBER_WORDS and words[-2] not in _NEVER:
            self.is_id = True
            words.pop()
        if not _TRACES.isdisjoint(words):
            self.is_id = False
        self.is_plural = bool(words) and _is_plural(words[-1])
        stems = [stem(word) for word in words]
        self.subject = " ".join(stems)
        self.is_envelope = len(words) == 1 and words[0] in _ENVELOPES
        self.is_thing = bool(words) and _NEVER.isdisjoint(words)
        self.keys = _learned(stems)
        self.used = _used(stems)


def stem(word: str) -> str:
    """Return what the singular and the plural of a word have in common; no word itself."""
    if _is_plural(word):
        word = word[:-1]
    word = word.removesuffix("e")
    return word[:-1] + "i" if word.endswith("y") else word


def _is_plural(word: str) -> bool:
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))


def _learned(stems: list[str]) -> Keys:
    if not stems:
        return NO_KEYS
    if len(stems) == 1:
        return (stems[0],)
    # An order item is an item: told apart, so that it is none of a cart's.
    return (" ".join(stems), f"~{stems[-1]}")


def _used(stems: list[str]) -> Keys:
    if not stems:
        return NO_KEYS
    if len(stems) == 1:
        return (stems[0], f"~{stems[0]}")
    return (" ".join(stems), stems[-1])


names = Remembered(Name)
"""Names as they come, remembered."""


def is_value(segment: str) -> bool:
    """Tell whether a segment of a path is a value, and not the name of a collection."""
    return (
        segment[:1].isdigit()
        or segment.startswith("{h1:")
        or segment in _POINTING
        or is_unmistakable(segment)
    )


def collection(segments: list[str]) -> Name | None:
    """Return the name that says what a path is about, None if there is none."""
    for segment in reversed(segments):
        if segment and not is_value(segment) and segment.lower() not in _ACTIONS:
            return names[segment]
    return None


def learned_keys(field: Name, container: Name | None) -> Keys:
    """Return by which keys a value of an answer is learned, () for none.

    container: what the value is in: an object's name, or what the path is about.
    """
    if not field.is_id:
        return NO_KEYS
    if field.subject:
        return field.keys
    return NO_KEYS if container is None else container.keys


def used_keys(field: Name, container: Name | None, *, is_listed: bool = False) -> Keys:
    """Return by which keys a value of a request is looked up, the best first, () for none.

    is_listed: whether it is one of several, so that a plural is no count of them.
    """
    if field.is_id:
        if field.subject:
            return field.used
        return NO_KEYS if container is None else container.used
    if field.is_thing and (is_listed or not field.is_plural):
        return field.used
    return NO_KEYS
