"""An answer's body and headers, read for the values that stand in them.

Pure. Whatever is not what it says it is holds no values: nothing here fails. Bodies are
undone once, when a value of theirs is asked for.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mirrorproxy.correlation.affinity import Keys
from mirrorproxy.correlation.links import parts_of
from mirrorproxy.correlation.markup import fields_of, texts_of
from mirrorproxy.headers import first
from mirrorproxy.record import HeaderList
from mirrorproxy.remembered import Remembered
from mirrorproxy.rules.bodies import is_json
from mirrorproxy.rules.coding import CannotRewriteError, media_type, plain_body
from mirrorproxy.rules.declared import Learn
from mirrorproxy.rules.jsonpath import NotJsonError, find_texts

MAX_TEXT: Final = 4_096

Step = str | tuple[int, int]
"""Into an object by name; into an array by (index, how many it has)."""

JSON, LINK, ETAG, COOKIE, HEADER, FIELD, TEXT, DECLARED = (
    "json", "location", "etag", "cookie", "header", "field", "text", "declared",
)  # fmt: skip

_FORM: Final = "application/x-www-form-urlencoded"
_NOT_READ: Final = object()

_medias = Remembered(media_type)
_decoded = msgspec.json.Decoder().decode


class Value:
    """One value of production's answer.

    part: JSON, LINK and so on; steps: where in it; label: where in the link that stands
    there, "" for the whole. before, after: what stands around it, the same in both answers.
    keys: by which it is learned. text: the value; a mark if it was sealed. is_weak: it
    stands in one item of several, which may come in another order elsewhere. learn: what
    the rule file says of it, None where it says nothing.
    """

    __slots__ = ("after", "before", "is_weak", "keys", "label", "learn", "part", "steps", "text")

    def __init__(
        self,
        part: str,
        steps: tuple[Step, ...],
        keys: Keys,
        text: str,
        is_weak: bool,
        label: str = "",
        before: str = "",
        after: str = "",
        learn: Learn | None = None,
    ) -> None:
        self.part = part
        self.steps = steps
        self.keys = keys
        self.text = text
        self.is_weak = is_weak
        self.label = label
        self.before = before
        self.after = after
        self.learn = learn


def _place(where: tuple[str, tuple[Step, ...]]) -> str:
    part, steps = where
    if part == JSON:
        texts = [f".{one}" if isinstance(one, str) else f"[{one[0]}]" for one in steps]
        return f"json ${''.join(texts)}"
    return " ".join([part, *(one for one in steps if isinstance(one, str))])


places = Remembered(_place)
"""Where a value of a part and steps stands, for people; holds names, never values."""


class Body:
    """An answer's body and headers, read when they are asked for."""

    def __init__(self, headers: HeaderList, body: str | bytes) -> None:
        self.headers = headers
        self.media = _medias[first(headers, "content-type")]
        self._body = body
        self._document: object = _NOT_READ
        self._fields: dict[str, str] | None = None

    @property
    def plain(self) -> bytes:
        """The body without its coding, b"" where that cannot be undone."""
        body = self._body.encode() if isinstance(self._body, str) else self._body
        try:
            return plain_body(body, first(self.headers, "content-encoding"))
        except CannotRewriteError:
            return b""

    @property
    def document(self) -> object:
        """The body as JSON, None if it is none."""
        if self._document is _NOT_READ:
            self._document = None
            if self._body and (
                "json" in self.media or (self.media in ("", "text/plain") and self._is_braced())
            ):
                body = self._body
                if not isinstance(body, str):
                    body = self.plain
                try:
                    self._document = _decoded(body)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self._document = None
        return self._document

    def _is_braced(self) -> bool:
        return is_json(self.plain, self.media)

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
        if self.media != "text/plain" or len(self._body) > MAX_TEXT:
            return ""
        text = self.plain.decode("utf-8", "replace").strip()
        return "" if " " in text or text[:1] in ("{", "[") else text

    def declared(self, learn: Learn) -> list[str]:
        """Return what the rule file says is to be learned of this answer, in order."""
        if learn.path is not None:
            try:
                return find_texts(self.plain, learn.path)
            except NotJsonError:
                return []
        if learn.source == "response.cookie":
            texts = [cookies_of(self.headers).get(learn.name, "")]
        elif learn.source == "response.header":
            lower = learn.name.lower()
            texts = [value for name, value in self.headers if name.lower() == lower]
        else:
            texts = [self.plain[: 16 * MAX_TEXT].decode("utf-8", "replace")]
        return [found for text in texts for found in learn.found_in(text)]

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
                    if not isinstance(found, dict):
                        return None
                    found = found.get(step)
                else:
                    if not isinstance(found, list) or len(found) != step[1]:
                        return None
                    found = found[step[0]]
            if isinstance(found, str):
                return found
            return str(found) if type(found) is int else None
        if value.learn is not None:
            step = steps[0]
            assert isinstance(step, tuple)  # noqa: S101 - see what makes them
            texts = self.declared(value.learn)
            return texts[step[0]] if len(texts) == step[1] else None
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
