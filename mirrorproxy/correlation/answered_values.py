"""The values in an answer that may come again in later requests.

Pure. Finds them in production's answer as it was recorded. This runs for every answer:
most values are passed over by their names alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from mirrorproxy.codec import MalformedRecord, body_of
from mirrorproxy.correlation.affinity import (
    MIN_OPAQUE,
    NO_KEYS,
    UNMISTAKABLE,
    Keys,
    Name,
    collection,
    is_unmistakable,
    is_value,
    learned_keys,
    names,
)
from mirrorproxy.correlation.answered_body import (
    COOKIE,
    DECLARED,
    ETAG,
    FIELD,
    HEADER,
    JSON,
    LINK,
    MAX_TEXT,
    TEXT,
    Body,
    Step,
    Value,
    cookies_of,
    etag_of,
)
from mirrorproxy.correlation.links import is_link, parts_of
from mirrorproxy.marks import PATTERN
from mirrorproxy.record import Response
from mirrorproxy.remembered import Remembered
from mirrorproxy.rules.declared import Learn

MAX_VALUES: Final = 1_000
MAX_DEPTH: Final = 64
_CREATED: Final = 201
_MAX_ID: Final = 256
"""Of one answer so many values, so deep; ids that look like none are no longer than this."""

_TELLING = ("token", "csrf", "xsrf", "session", "auth")
_ANY: Keys = (UNMISTAKABLE,)


class Known:
    """Tells what needs no learning; see `values_of`. As it stands it knows nothing."""

    # A class of its own and no protocol: it is asked for every id, and compiled that costs less.

    def knows(self, text: str, keys: Keys, is_weak: bool) -> bool:
        """Tell whether a value is known by one of these keys, as well as it could be."""
        return False

    def is_told(self, body: str, is_list: bool) -> bool:
        """Tell whether the same body was read before, and all that it held was known."""
        return False

    def tell(self, body: str, is_list: bool) -> None:
        """Take that all that a body holds is known."""


def values_of(
    response: Response, method: str, path: str, segments: list[str], known: Known | None = None
) -> list[Value]:
    """Return the values of production's answer to a request with this method and path.

    segments: of the path, decoded. known: of its body, what it tells of is left out; None
    leaves out nothing.
    """
    found: list[Value] = []
    tag, about = "", ""
    for name, text in response.headers:
        kind = _header_kinds[name]
        if kind == "":
            continue
        if kind == ETAG:
            tag = etag_of(text)
        elif kind == LINK:
            about = _path_of(text)
            _add_link(found, LINK, (name.lower(),), text, is_weak=False)
        elif kind == HEADER:
            lower = name.lower()
            _add(found, HEADER, (lower,), text, learned_keys(names[lower], None), is_weak=False)
        else:
            for cookie, value in cookies_of([(name, text)]).items():
                _add(found, COOKIE, (cookie,), value, (f"cookie {cookie}",), is_weak=False)
    made = ""
    if response.body:
        made = _of_body(found, response, method, segments, known)
    if tag:
        bare = path.partition("?")[0]
        places_of_it = [bare, about, f"{bare}/{made}" if made and method == "POST" else ""]
        keys = [f"etag {place}" for place in places_of_it if place]
        if len(tag) >= 8:
            keys.append("etag")
        found.append(Value(ETAG, ("etag",), tuple(keys), tag, False))
    return found


def _of_body(
    found: list[Value],
    response: Response,
    method: str,
    segments: list[str],
    known: Known | None,
) -> str:
    """Add the values of a body; return the id of what it tells of, "" if it has none."""
    text_body = response.body or ""
    is_list = method == "GET" and not is_value(segments[-1])
    # Answers that are asked for again and again are read once.
    if known is not None and known.is_told(text_body, is_list):
        return ""
    count = len(found)
    made = _of_read_body(found, response, method, segments, is_list, known)
    if known is not None and len(found) == count:
        known.tell(text_body, is_list)
    return made


def _of_read_body(
    found: list[Value],
    response: Response,
    method: str,
    segments: list[str],
    is_list: bool,
    known: Known | None,
) -> str:
    body: str | bytes | None = response.body
    if response.body_encoding == "base64":
        try:
            body = body_of(response)
        except MalformedRecord:
            return ""
    answer = Body(response.headers, body or b"")
    about = collection(segments)
    document = answer.document
    if isinstance(document, (dict, list)):
        is_made = method == "POST" and response.status == _CREATED
        walk = _Walk(found, segments, is_list, is_made, known)
        if isinstance(document, list):
            walk.items(document, about, False)
            return ""
        walk.members(document, about, False)
        made = document.get("id")
        return str(made) if isinstance(made, (str, int)) else ""
    if answer.fields:
        for name, text in answer.fields.items():
            steps = name.partition("#")[0].split("/")
            inside = names[steps[-2]] if len(steps) > 1 else about
            field = names[steps[-1].lstrip("@")]
            _add(found, FIELD, (name,), text, learned_keys(field, inside), is_weak="#" in name)
    elif answer.text:
        text = answer.text
        keys = NO_KEYS if about is None or not text.isdigit() else about.keys
        _add(found, TEXT, (), text, keys, is_weak=False)
    return ""


def _header_kind(name: str) -> str:
    """Return what a header of an answer may hold, "" for nothing that comes again."""
    lower = name.lower()
    if lower == "set-cookie":
        return COOKIE
    if lower == "etag":
        return ETAG
    if lower in ("location", "content-location"):
        return LINK
    is_telling = any(word in lower for word in _TELLING) or names[lower].is_id
    return HEADER if is_telling else ""


_header_kinds = Remembered(_header_kind)


def _path_of(link: str) -> str:
    if not link.startswith("/"):
        at = link.find("/", link.find("//") + 2)
        link = link[at:] if at >= 0 else ""
    return link.partition("#")[0].partition("?")[0]


def _add_link(
    found: list[Value], part: str, steps: tuple[Step, ...], text: str, *, is_weak: bool
) -> None:
    for one in parts_of(text):
        keys = one.keys
        if keys[0] != UNMISTAKABLE:
            # Looked up by what ends alike too; learned by its own name alone.
            keys = keys[:1]
        if PATTERN.search(one.text) is not None:
            keys = (UNMISTAKABLE, *keys)
        found.append(Value(part, steps, keys, one.text, is_weak, one.label))


def _add(
    found: list[Value],
    part: str,
    steps: tuple[Step, ...],
    text: str,
    keys: Keys,
    *,
    is_weak: bool,
) -> None:
    """Add a value if it can be known again: by its keys, by itself, or by its mark."""
    if not text:
        return
    if "{h1:" in text:
        marks = list(PATTERN.finditer(text))
        if len(marks) == 1:
            start, end = marks[0].span()
            keys = (UNMISTAKABLE, *keys)
            value = Value(part, steps, keys, marks[0][0], is_weak, "", text[:start], text[end:])
            found.append(value)
    elif is_unmistakable(text):
        found.append(Value(part, steps, (UNMISTAKABLE, *keys), text, is_weak))
    elif keys and len(text) <= _MAX_ID:
        found.append(Value(part, steps, keys, text, is_weak))


def _is_id(name: str) -> bool:
    return names[name].is_id


_ids = Remembered(_is_id)


class _Walk:
    """Finds the values of a JSON document."""

    def __init__(
        self,
        found: list[Value],
        segments: list[str],
        is_list: bool,
        is_made: bool,
        known: Known | None,
    ) -> None:
        self._found = found
        self._segments = segments
        self._is_list = is_list
        self._is_made = is_made
        self._known = known
        self._news = 0
        self._ids: dict[str, bool] = _ids
        # The way to where the walk is: made a tuple for what is found alone.
        self._way: list[Step] = []

    def members(self, node: dict[str, object], container: Name | None, is_weak: bool) -> None:
        """Find those of an object which is in, or about, a container."""
        way = self._way
        if len(way) > MAX_DEPTH or len(self._found) >= MAX_VALUES:
            return
        ids = self._ids
        for name, child in node.items():
            kind = type(child)
            if kind is str:
                text = cast(str, child)
                length = len(text)
                if length >= MIN_OPAQUE:
                    if " " not in text or "{h1:" in text:
                        self._string(names[name], name, text, container, is_weak)
                elif length and (ids[name] or text[0] == "/"):
                    self._string(names[name], name, text, container, is_weak)
            elif kind is int:
                if ids[name]:
                    field = names[name]
                    text = str(child)
                    keys = field.keys if field.subject else self._keys(container, text)
                    if keys and self._is_worth_it(text, keys, is_weak):
                        self._found.append(Value(JSON, (*way, name), keys, text, is_weak))
            elif kind is dict:
                if child:
                    field = names[name]
                    inner = container if field.is_envelope else field
                    inside = cast("dict[str, object]", child)
                    way.append(name)
                    self.members(inside, inner, is_weak)
                    way.pop()
            elif kind is list and child:
                field = names[name]
                inner = container if self._is_envelope(field) else field
                way.append(name)
                self.items(cast("list[object]", child), inner, is_weak)
                way.pop()

    def items(self, node: list[object], container: Name | None, is_weak: bool) -> None:
        """Find those of an array."""
        way = self._way
        if len(way) > MAX_DEPTH or len(self._found) >= MAX_VALUES:
            return
        count = len(node)
        # What was made just now stands in the order that was asked for.
        weak = is_weak or (count > 1 and not self._is_made)
        for index, child in enumerate(node):
            if isinstance(child, dict):
                start, news = len(self._found), self._news
                way.append((index, count))
                self.members(child, container, weak)
                way.pop()
                if weak and news == self._news:
                    del self._found[start:]
            elif isinstance(child, list):
                way.append((index, count))
                self.items(child, container, weak)
                way.pop()
            elif container is not None and container.is_id:
                place: tuple[Step, ...] = (*way, (index, count))
                self._news += 1
                if isinstance(child, str):
                    _add(self._found, JSON, place, child, container.keys, is_weak=weak)
                elif type(child) is int:
                    self._found.append(Value(JSON, place, container.keys, str(child), weak))

    def _is_worth_it(self, text: str, keys: Keys, is_weak: bool) -> bool:
        """Tell whether a value is to be looked for in the target's answer."""
        if self._known is None or not self._known.knows(text, keys, is_weak):
            self._news += 1
            return True
        # What is known tells whether an item is the same one: see `correlate`.
        return is_weak

    def _is_envelope(self, field: Name) -> bool:
        # `items` of a collection are what the path says; those of one order are order items.
        return field.is_envelope or (self._is_list and not self._way and field.subject == "item")

    def _string(
        self,
        field: Name,
        name: str,
        text: str,
        container: Name | None,
        is_weak: bool,
    ) -> None:
        if len(text) > MAX_TEXT:
            return
        if text[0] in "/h" and is_link(text):
            self._news += 1
            _add_link(self._found, JSON, (*self._way, name), text, is_weak=is_weak)
            return
        keys = NO_KEYS
        if field.is_id:
            keys = field.keys if field.subject else self._keys(container, text)
        if not self._is_worth_it(text, keys or _ANY, is_weak):
            return
        _add(self._found, JSON, (*self._way, name), text, keys, is_weak=is_weak)

    def _keys(self, container: Name | None, text: str) -> Keys:
        """Return the keys of a bare id; what the path calls the thing that has it is one, too."""
        keys = NO_KEYS if container is None else container.keys
        segments = self._segments
        if text in segments:
            at = segments.index(text)
            if at > 0:
                before = names[segments[at - 1]].keys
                if before != keys:
                    return (*keys, *before)
        return keys


def declared_values(response: Response, learns: Sequence[Learn]) -> list[Value]:
    """Return the values of production's answer that the rule file says are to be learned."""
    try:
        body = body_of(response)
    except MalformedRecord:
        body = b""
    answer = Body(response.headers, body)
    found: list[Value] = []
    for learn in learns:
        texts = answer.declared(learn)
        for index, text in enumerate(texts):
            place: tuple[Step, ...] = ((index, len(texts)),)
            if PATTERN.fullmatch(text) is not None:
                keys: Keys = (learn.key, UNMISTAKABLE)
            else:
                keys = (learn.key,)
            if text:
                found.append(Value(DECLARED, place, keys, text, False, learn=learn))
    return found
