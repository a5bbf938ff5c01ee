"""The values in an answer that may come again in later requests.

Pure. Finds them in production's answer as it was recorded, and then in the target's at
the very same place: a value without its counterpart teaches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from mirrorproxy.headers import first
from mirrorproxy.marks import PATTERN
from mirrorproxy.record import HeaderList
from mirrorproxy.replay.affinity import (
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
from mirrorproxy.replay.links import is_link, parts_of, segments_of
from mirrorproxy.replay.markup import fields_of, texts_of
from mirrorproxy.rules.bodies import is_json
from mirrorproxy.rules.coding import CannotRewriteError, media_type, plain_body

MAX_VALUES: Final = 1_000
MAX_DEPTH: Final = 64
MAX_TEXT: Final = 4_096
"""Of one answer so many values, so deep, of so many characters."""

Step = str | tuple[int, int]
"""Into an object by name; into an array by (index, how many it has)."""

JSON, LINK, ETAG, COOKIE, HEADER, FIELD, TEXT = (
    "json", "location", "etag", "cookie", "header", "field", "text",
)  # fmt: skip

_LINK_HEADERS = ("location", "content-location")
_TELLING = ("token", "csrf", "xsrf", "session", "auth")
_FORM: Final = "application/x-www-form-urlencoded"

_decoded = msgspec.json.Decoder().decode


class Value:
    """One value of production's answer.

    part: JSON, LINK and so on; steps: where in it; label: where in the link that stands
    there, "" for the whole. before, after: what stands around it, the same in both answers.
    keys: by which it is learned. text: the value; a mark if it was sealed. is_weak: it
    stands in one item of several, which may come in another order elsewhere.
    """

    __slots__ = ("after", "before", "is_weak", "keys", "label", "part", "steps", "text")

    def __init__(
        self,
        part: str,
        steps: tuple[Step, ...],
        keys: Keys,
        text: str,
        *,
        label: str = "",
        is_weak: bool = False,
        around: tuple[str, str] = ("", ""),
    ) -> None:
        self.part = part
        self.steps = steps
        self.keys = keys
        self.text = text
        self.label = label
        self.is_weak = is_weak
        self.before, self.after = around

    @property
    def place(self) -> str:
        """Where it stands, for people; holds names, never values."""
        if self.part == JSON:
            steps = [f".{one}" if isinstance(one, str) else f"[{one[0]}]" for one in self.steps]
            return f"json ${''.join(steps)}"
        return " ".join([self.part, *(one for one in self.steps if isinstance(one, str))])


class Body:
    """An answer's body and headers, read when they are asked for."""

    def __init__(self, headers: HeaderList, body: bytes) -> None:
        self.headers = headers
        self.media = media_type(first(headers, "content-type"))
        try:
            self.plain = plain_body(body, first(headers, "content-encoding"))
        except CannotRewriteError:
            self.plain = b""
        self._document: object = None
        self._is_read = False
        self._fields: dict[str, str] | None = None

    @property
    def document(self) -> object:
        """The body as JSON, None if it is none."""
        if not self._is_read:
            self._is_read = True
            if self.plain and is_json(self.plain, self.media):
                try:
                    self._document = _decoded(self.plain)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self._document = None
        return self._document

    @property
    def fields(self) -> dict[str, str]:
        """The named values of a form, a page or XML."""
        if self._fields is None:
            if self.media == _FORM:
                self._fields = fields_of(self.plain)
            elif "xml" in self.media or "html" in self.media:
                self._fields = texts_of(self.plain, self.media)
            else:
                self._fields = {}
        return self._fields

    @property
    def text(self) -> str:
        """The body if it is one word of text, "" if it is not."""
        if self.media != "text/plain" or len(self.plain) > MAX_TEXT:
            return ""
        text = self.plain.decode("utf-8", "replace").strip()
        return "" if " " in text or text[:1] in ("{", "[") else text

    def at(self, value: Value) -> str | None:
        """Return what stands here where a value stood in another answer, None if nothing."""
        text = self._whole(value)
        if text is None:
            return None
        if value.label:
            return next((part.text for part in parts_of(text) if part.label == value.label), None)
        if value.before or value.after:
            if not (text.startswith(value.before) and text.endswith(value.after)):
                return None
            text = text[len(value.before) : len(text) - len(value.after)]
        return text or None

    def _whole(self, value: Value) -> str | None:
        part, steps = value.part, value.steps
        if part == JSON:
            found = self.document
            for step in steps:
                if isinstance(step, str):
                    if not isinstance(found, dict) or step not in found:
                        return None
                    found = found[step]
                else:
                    if not isinstance(found, list) or len(found) != step[1]:
                        return None
                    found = found[step[0]]
            return _scalar(found)
        if part == TEXT:
            return self.text or None
        name = steps[0]
        assert isinstance(name, str)  # noqa: S101 - see what makes them
        if part == FIELD:
            return self.fields.get(name)
        if part == COOKIE:
            return cookies_of(self.headers).get(name)
        text = first(self.headers, name)
        return etag_of(text) if part == ETAG and text is not None else text


def values_of(headers: HeaderList, body: bytes, method: str, path: str) -> list[Value]:
    """Return the values of production's answer to a request with this method and path."""
    found = list(_in_headers(headers, path))
    answer = Body(headers, body)
    segments = segments_of(path)
    about = collection(segments)
    document = answer.document
    if isinstance(document, (dict, list)):
        has_one = bool(segments) and is_value(segments[-1])
        walk = _Walk(found, segments, is_list=method == "GET" and not has_one)
        walk.into(document, (), about, is_weak=False)
    elif answer.fields:
        for name, text in answer.fields.items():
            field = names[name.rpartition("/")[2].lstrip("@")]
            if (value := _value(FIELD, (name,), text, learned_keys(field, about))) is not None:
                found.append(value)
    elif answer.text:
        keys = NO_KEYS if about is None or not answer.text.isdigit() else about.keys
        if (value := _value(TEXT, (), answer.text, keys)) is not None:
            found.append(value)
    return found[:MAX_VALUES]


def _in_headers(headers: HeaderList, path: str) -> Iterator[Value]:
    places: list[str] = [path.partition("?")[0]]
    for name, text in headers:
        lower = name.lower()
        if lower in _LINK_HEADERS:
            places.append(_path_of(text))
            yield from _in_link(LINK, (lower,), text, is_weak=False)
        elif lower not in ("etag", "set-cookie") and _is_telling(lower):
            value = _value(HEADER, (lower,), text, learned_keys(names[lower], None))
            if value is not None:
                yield value
    for name, text in cookies_of(headers).items():
        value = _value(COOKIE, (name,), text, (f"cookie {name}",))
        if value is not None:
            yield value
    tag = first(headers, "etag")
    if tag is not None:
        text = etag_of(tag)
        keys = [f"etag {place}" for place in places if place]
        yield Value(ETAG, ("etag",), (*keys, "etag") if len(text) >= 8 else tuple(keys), text)


def _is_telling(lower: str) -> bool:
    return any(word in lower for word in _TELLING) or names[lower].is_id


def _path_of(link: str) -> str:
    if not link.startswith("/"):
        at = link.find("/", link.find("//") + 2)
        link = link[at:] if at >= 0 else ""
    return link.partition("#")[0].partition("?")[0]


def _in_link(part: str, steps: tuple[Step, ...], text: str, *, is_weak: bool) -> Iterator[Value]:
    for one in parts_of(text):
        keys = one.keys
        if UNMISTAKABLE not in keys:
            # Looked up by what ends alike too; learned by its own name alone.
            keys = keys[:1]
        mark = PATTERN.search(one.text)
        if mark is not None:
            keys = (UNMISTAKABLE, *keys)
        yield Value(part, steps, keys, one.text, label=one.label, is_weak=is_weak)


class _Walk:
    """Finds the values of a JSON document."""

    def __init__(self, found: list[Value], segments: list[str], *, is_list: bool) -> None:
        self._found = found
        self._segments = segments
        self._is_list = is_list

    def into(
        self, node: object, steps: tuple[Step, ...], container: Name | None, *, is_weak: bool
    ) -> None:
        if len(steps) > MAX_DEPTH or len(self._found) >= MAX_VALUES:
            return
        if isinstance(node, dict):
            for name, child in node.items():
                if isinstance(child, (dict, list)):
                    if child:
                        field = names[name]
                        inner = container if self._is_envelope(field, steps) else field
                        self.into(child, (*steps, name), inner, is_weak=is_weak)
                elif isinstance(child, str) or type(child) is int:
                    self._scalar(names[name], child, (*steps, name), container, is_weak)
        elif isinstance(node, list):
            count = len(node)
            weak = is_weak or count > 1
            for index, child in enumerate(node):
                place = (*steps, (index, count))
                if isinstance(child, (dict, list)):
                    self.into(child, place, container, is_weak=weak)
                elif (isinstance(child, str) or type(child) is int) and container is not None:
                    self._scalar(container, child, place, container, weak)

    def _is_envelope(self, field: Name, steps: tuple[Step, ...]) -> bool:
        # `items` of a collection are what the path says; those of one order are order items.
        return field.is_envelope or (self._is_list and not steps and field.subject == "item")

    def _scalar(
        self,
        field: Name,
        node: str | int,
        steps: tuple[Step, ...],
        container: Name | None,
        is_weak: bool,
    ) -> None:
        if type(node) is int:
            keys = learned_keys(field, container)
            if keys:
                text = str(node)
                self._found.append(
                    Value(JSON, steps, (*keys, *self._of_path(field, text)), text, is_weak=is_weak)
                )
            return
        assert isinstance(node, str)  # noqa: S101 - see the callers
        if not node or len(node) > MAX_TEXT:
            return
        if is_link(node):
            self._found += _in_link(JSON, steps, node, is_weak=is_weak)
            return
        keys = learned_keys(field, container)
        if keys:
            keys = (*keys, *self._of_path(field, node))
        value = _value(JSON, steps, node, keys, is_weak=is_weak)
        if value is not None:
            self._found.append(value)

    def _of_path(self, field: Name, text: str) -> Keys:
        """Return what the path calls the thing whose id this is, if it names it."""
        if not field.subject and text in self._segments[1:]:
            before = self._segments[self._segments.index(text, 1) - 1]
            return names[before].keys
        return NO_KEYS


def _value(
    part: str, steps: tuple[Step, ...], text: str, keys: Keys, *, is_weak: bool = False
) -> Value | None:
    """Return a value if it can be known again: by its keys, by itself, or by its mark."""
    if not text:
        return None
    if "{h1:" in text:
        marks = list(PATTERN.finditer(text))
        if len(marks) != 1:
            return None
        mark = marks[0]
        return Value(
            part,
            steps,
            (UNMISTAKABLE, *keys),
            mark[0],
            is_weak=is_weak,
            around=(text[: mark.start()], text[mark.end() :]),
        )
    if is_unmistakable(text):
        return Value(part, steps, (UNMISTAKABLE, *keys), text, is_weak=is_weak)
    if not keys or len(text) > 256:
        return None
    return Value(part, steps, keys, text, is_weak=is_weak)


def _scalar(node: object) -> str | None:
    if isinstance(node, str):
        return node
    return str(node) if type(node) is int else None


def cookies_of(headers: HeaderList) -> dict[str, str]:
    """Return the cookies that an answer sets, by name; those that it takes away are empty."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name.lower() == "set-cookie":
            key, _, text = value.partition(";")[0].partition("=")
            found[key.strip()] = text.strip().removeprefix('"').removesuffix('"')
    return found


def etag_of(text: str) -> str:
    """Return an entity tag without its quotes and its weakness."""
    return text.strip().removeprefix("W/").removeprefix('"').removesuffix('"')
