"""Links: the values in paths and URLs, each with what stands before it.

Pure. Takes a path apart into segments and a query into pairs, for answers that point
somewhere and for requests that go there.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_plus

from mirrorproxy.correlation.affinity import (
    UNMISTAKABLE,
    Keys,
    Name,
    collection,
    is_unmistakable,
    names,
    used_keys,
)
from mirrorproxy.correlation.learned import token_of

MAX_PARTS: Final = 64
"""Of a path or a query: what has more is none that a person wrote."""

_NO_KEYS: Final[Mapping[int, str]] = {}
_NO_NAMES: Final[Mapping[str, str]] = {}
_ENDINGS: Final = (".json", ".xml", ".html", ".pdf", ".csv")


class Part(NamedTuple):
    """A value in a link.

    label: where it stands, the same in two links of one shape. keys: it may be known by,
    the best first. text: decoded. start, end: where it stands in the link, as it is written.
    """

    label: str
    keys: Keys
    text: str
    start: int
    end: int
    is_query: bool


def is_link(text: str) -> bool:
    """Tell whether a text is a path or a URL, and nothing else."""
    if text.startswith("/"):
        return len(text) > 1 and " " not in text
    return text.startswith(("http://", "https://")) and " " not in text


def parts_of(
    link: str, hits: Set[str] | None = None, declared: Mapping[int, str] = _NO_KEYS
) -> list[Part]:
    """Return the values in a link, in their order.

    hits: tokens; values that begin with none of them are passed over. None passes over none.
    declared: keys that a rule has for segments, by their index.
    """
    found: list[Part] = []
    start = _path_start(link)
    end = link.find("#", start)
    if end < 0:
        end = len(link)
    query = link.find("?", start, end)
    path_end = end if query < 0 else query
    segments = link[start:path_end].split("/")
    if len(segments) <= MAX_PARTS:
        _add_segments(found, segments, start, hits, declared)
    if query >= 0:
        about = collection(plain(segments))
        found += pairs_of(link[query + 1 : end], query + 1, about, hits, _NO_NAMES)
    return found


def plain(segments: list[str]) -> list[str]:
    """Return segments decoded."""
    return [unquote(one) if "%" in one else one for one in segments]


def segments_of(path: str) -> list[str]:
    """Return the segments of a link's path, decoded."""
    start = _path_start(path)
    return plain(path[start:].partition("#")[0].partition("?")[0].split("/"))


def _path_start(link: str) -> int:
    if link.startswith("/"):
        return 0
    host = link.find("//")
    at = link.find("/", host + 2)
    return len(link) if at < 0 else at


def _add_segments(
    found: list[Part],
    segments: list[str],
    start: int,
    hits: Set[str] | None,
    declared: Mapping[int, str],
) -> None:
    before = ""
    count = len(segments)
    for index, segment in enumerate(segments):
        text = unquote(segment) if "%" in segment else segment
        if before and text and (hits is None or text in hits or token_of(text) in hits):
            length = len(segment)
            if index == count - 1 and text.endswith(_ENDINGS):
                ending = len(text) - text.rindex(".")
                text, length = text[:-ending], length - ending
            keys = names[before].used
            if is_unmistakable(text):
                keys = (UNMISTAKABLE, *keys)
            if declared and index in declared:
                keys = (declared[index], *keys)
            if keys and text:
                found.append(Part(f"{index}/{count}", keys, text, start, start + length, False))
        before = text
        start += len(segment) + 1


def pairs_of(
    query: str,
    start: int,
    about: Name | None,
    hits: Set[str] | None,
    declared: Mapping[str, str],
) -> list[Part]:
    """Return the values in a query, see `parts_of`.

    start: where it begins in its link. about: what the link's path is about. declared: keys
    that a rule has for values, by their names.
    """
    found: list[Part] = []
    pairs = query.split("&")
    if len(pairs) > MAX_PARTS:
        return found
    for pair in pairs:
        raw_name, _, raw = pair.partition("=")
        at = start + len(raw_name) + 1
        start += len(pair) + 1
        if not raw:
            continue
        texts = raw.split(",")
        for text in texts:
            decoded = unquote_plus(text) if "%" in text or "+" in text else text
            if decoded and (hits is None or decoded in hits or token_of(decoded) in hits):
                name = unquote_plus(raw_name)
                is_listed = len(texts) > 1 or name.endswith("[]")
                keys = used_keys(names[name.removesuffix("[]")], about, is_listed=is_listed)
                if is_unmistakable(decoded):
                    keys = (UNMISTAKABLE, *keys)
                if name in declared:
                    keys = (declared[name], *keys)
                if keys:
                    found.append(Part(f"?{name}", keys, decoded, at, at + len(text), True))
            at += len(text) + 1
    return found
