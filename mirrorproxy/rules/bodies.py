"""Bodies: how they are rewritten, as a whole or not at all.

Pure. A shot whose body can't be rewritten is not sent. Bodies compressed with
gzip or deflate are compressed again when something was changed, so that
Content-Encoding stays true.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from mirrorproxy.rules.coding import (
    SKIP_BINARY,
    SKIP_NOT_FORM,
    SKIP_NOT_JSON,
    CannotRewriteError,
    compressed,
    media_type,
    plain_body,
)
from mirrorproxy.rules.fields import FieldEdit, convert_pairs, edit_pairs
from mirrorproxy.rules.fresh import fresh
from mirrorproxy.rules.jsonpath import Change, JsonPath, NotJsonError, edit
from mirrorproxy.rules.shift import shifted

_FORM: Final = "application/x-www-form-urlencoded"

_encode = msgspec.json.Encoder().encode
_text_in = msgspec.json.Decoder(str).decode


class JsonEdit(NamedTuple):
    """One change at one path. added: what is put under the last name if it is missing."""

    path: JsonPath
    change: Change
    added: bytes | None


class Places(NamedTuple):
    """Values in a body: names of form fields, and paths."""

    form: frozenset[str] = frozenset()
    json: tuple[JsonPath, ...] = ()


NO_PLACES = Places()


class BodyEditor(NamedTuple):
    """A compiled rewrite of bodies. texts: on the whole text, after json or form."""

    json: tuple[JsonEdit, ...] = ()
    form: FieldEdit | None = None
    texts: tuple[Callable[[bytes], bytes], ...] = ()
    shifted: Places = NO_PLACES
    unique: Places = NO_PLACES


NO_EDITOR = BodyEditor()


class Moment(NamedTuple):
    """What depends on the replay. offset_us: None shifts nothing. copy: from 0."""

    run: str = ""
    copy: int = 0
    captured_us: int = 0
    offset_us: int | None = None

    def shift(self, text: str) -> str:
        """Return a time as it is to be sent."""
        if self.offset_us is None:
            return text
        return shifted(text, self.offset_us, self.captured_us)

    def fresh(self, text: str) -> str:
        """Return a value that this copy has for its own."""
        return fresh(text, self.run, self.copy)


def rewritten(
    body: bytes,
    content_type: str | None,
    content_encoding: str | None,
    editor: BodyEditor,
    moment: Moment,
) -> bytes:
    """Return a body as it is to be sent.

    Raises CannotRewriteError; the shot is then not to be sent.
    """
    if not body:
        return body
    plain = plain_body(body, content_encoding)
    result = _edited(plain, media_type(content_type), editor, moment)
    if result == plain:
        return body
    return compressed(result, content_encoding)


def _edited(body: bytes, media: str, editor: BodyEditor, moment: Moment) -> bytes:
    is_form = media == _FORM
    if editor.json or editor.form is not None:
        if is_form and editor.form is not None:
            body = _pairs(body, lambda text: _edit_form(text, editor.form))
        elif editor.json:
            if is_form:
                raise CannotRewriteError(SKIP_NOT_JSON)
            for one in editor.json:
                body = _edit_json(body, one.path, one.change, one.added)
        else:
            raise CannotRewriteError(SKIP_NOT_FORM)
    if editor.texts:
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise CannotRewriteError(SKIP_BINARY) from error
        for change in editor.texts:
            body = change(body)
    body = _converted(body, media, editor.shifted, moment.shift)
    if moment.copy:
        body = _converted(body, media, editor.unique, moment.fresh)
    return body


def _edit_form(text: str, form: FieldEdit | None) -> str:
    return text if form is None else edit_pairs(text, form)


def _edit_json(body: bytes, path: JsonPath, change: Change, added: bytes | None) -> bytes:
    try:
        return edit(body, path, change, added)
    except NotJsonError as error:
        raise CannotRewriteError(SKIP_NOT_JSON) from error


def _pairs(body: bytes, change: Callable[[str], str]) -> bytes:
    return change(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _converted(body: bytes, media: str, places: Places, convert: Callable[[str], str]) -> bytes:
    """Return a body with some values converted; one of another kind has none of them."""
    if media == _FORM:
        if not places.form:
            return body
        return _pairs(body, lambda text: convert_pairs(text, places.form, convert))
    if places.json and is_json(body, media):
        for path in places.json:
            body = _edit_json(body, path, lambda value: _converted_json(value, convert), None)
    return body


def is_json(body: bytes, media: str) -> bool:
    """Tell whether a body says that it is JSON, or looks like it and says nothing else."""
    if media in ("application/json", "text/json") or media.endswith("+json"):
        return True
    return media in ("", "text/plain") and body.lstrip(b" \t\r\n")[:1] in (b"{", b"[")


def _converted_json(value: bytes, convert: Callable[[str], str]) -> bytes:
    token = value.strip(b" \t\r\n")
    if token.startswith(b'"'):
        text = _text_in(token)
        converted = convert(text)
        return value if converted == text else _encode(converted)
    if token[:1] in b"123456789":
        text = token.decode()
        converted = convert(text)
        # A suffix such as a text gets would make it no number.
        return converted.encode() if converted != text and _is_number(converted) else value
    return value


def _is_number(text: str) -> bool:
    try:
        return isinstance(json.loads(text), (int, float))
    except ValueError:
        return False
