"""Rewrites: what a rule changes in a request on its way.

Pure. Compiled once; works on the parts of a request after credentials were
put in, so that what the user sets by hand has the last word. `fields` and
`bodies` do the changing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import UNSET, UnsetType

from mirrorproxy.http1.origin import Origin
from mirrorproxy.rules.bodies import NO_EDITOR, BodyEditor, JsonEdit, Moment, Places, rewritten
from mirrorproxy.rules.facts import host_of
from mirrorproxy.rules.fields import (
    FieldEdit,
    compile_cookies,
    compile_headers,
    compile_pairs,
    convert_headers,
    convert_pairs,
    edit_cookies,
    edit_headers,
    edit_pairs,
)
from mirrorproxy.rules.heads import Header
from mirrorproxy.rules.jsonpath import parse_path
from mirrorproxy.rules.offers import checked_header
from mirrorproxy.rules.patterns import Fault, KeyPath, compile_regex, compile_template
from mirrorproxy.rules.schema import BodyRewrite, Declared, JsonRewrite, PathRewrite, Rewrite

_PATH_TEXT = re.compile(r"[!-\"$->@-~\x80-\xff]*")
"""What may stand in a path: visible characters, neither ``?`` nor ``#``."""

_PORTS: Final = {"http": 80, "https": 443}
IDEMPOTENCY_KEY: Final = "idempotency-key"
_IDEMPOTENCY_KEYS: Final = frozenset({IDEMPOTENCY_KEY})
_NO_NAMES: Final = frozenset[str]()


class Rewriter(NamedTuple):
    """A compiled rewrite.

    scheme: of the connection, None for the target's. host: the Host header,
    None to leave it to the target. shifted_*, unique_*: names of values that are
    times, or that every copy has for its own; of headers in lower case. changes:
    what it is about, for people.
    """

    scheme: str | None = None
    host: str | None = None
    paths: tuple[Callable[[str], str], ...] = ()
    query_edit: FieldEdit | None = None
    header_edit: FieldEdit | None = None
    cookie_edit: FieldEdit | None = None
    body: BodyEditor = NO_EDITOR
    shifted_headers: frozenset[str] = _NO_NAMES
    shifted_query: frozenset[str] = _NO_NAMES
    unique_headers: frozenset[str] = _IDEMPOTENCY_KEYS
    unique_query: frozenset[str] = _NO_NAMES
    changes: tuple[str, ...] = ()

    def origin(self, origin: Origin) -> Origin:
        """Return where connections go: with another scheme, the default port becomes its own."""
        if self.scheme is None or self.scheme == origin.scheme:
            return origin
        is_default = origin.port == _PORTS[origin.scheme]
        return Origin(self.scheme, origin.host, _PORTS[self.scheme] if is_default else origin.port)

    def path(self, path: str) -> str:
        """Return the path as it is to be sent; it always begins with a slash."""
        for change in self.paths:
            path = change(path)
        return path if path.startswith("/") or path == "*" else f"/{path}"

    def query(self, query: str, moment: Moment) -> str:
        """Return a query, which is "" or begins with "?", as it is to be sent."""
        if self.query_edit is not None:
            edited = edit_pairs(query[1:], self.query_edit)
            query = f"?{edited}" if edited else ""
        if self.shifted_query and query:
            query = f"?{convert_pairs(query[1:], self.shifted_query, moment.shift)}"
        return query

    def headers(self, headers: list[Header], moment: Moment) -> list[Header]:
        """Return headers as they are to be sent."""
        if self.header_edit is not None:
            headers = edit_headers(headers, self.header_edit)
        if self.cookie_edit is not None:
            headers = edit_cookies(headers, self.cookie_edit)
        if self.shifted_headers:
            headers = convert_headers(headers, self.shifted_headers, moment.shift)
        return headers

    @property
    def changes_bodies(self) -> bool:
        """Whether it looks at bodies at all."""
        return self.body is not NO_EDITOR

    @property
    def repeats_bodies(self) -> bool:
        """Whether each copy has the same body."""
        unique = self.body.unique
        return not unique.form and not unique.json

    def copy_headers(self, headers: list[tuple[str, str]], moment: Moment) -> list[tuple[str, str]]:
        """Return the headers of the first copy as those of another."""
        unique = self.unique_headers
        return [
            (name, moment.fresh(value)) if name.lower() in unique else (name, value)
            for name, value in headers
        ]

    def copy_path(self, path: str, moment: Moment) -> str:
        """Return the path and query of the first copy as those of another."""
        if not self.unique_query or "?" not in path:
            return path
        before, _, query = path.partition("?")
        return f"{before}?{convert_pairs(query, self.unique_query, moment.fresh)}"


class BodyChange(NamedTuple):
    """What becomes of one shot's body, at once or when it is read.

    content_type, content_encoding: as captured.
    """

    editor: BodyEditor
    content_type: str | None
    content_encoding: str | None
    moment: Moment

    def apply(self, body: bytes) -> bytes:
        """Return the body as it is to be sent. Raises coding.CannotRewriteError."""
        return rewritten(body, self.content_type, self.content_encoding, self.editor, self.moment)


KEEP = Rewriter()
"""Changes nothing."""


def compile_rewrite(rewrite: Rewrite | UnsetType, at: KeyPath) -> Rewriter:
    """Return a rewrite ready to use. Raises Fault."""
    if rewrite is UNSET:
        return KEEP
    host = None
    if rewrite.host is not UNSET:
        host = rewrite.host
        if not host_of(host) or not re.fullmatch(r"[!-.0-~]+", host) or "@" in host:
            raise Fault(
                "expected a host such as api.example.com or api.example.com:8443", (*at, "host")
            )
    paths: list[Callable[[str], str]] = []
    if rewrite.path is not UNSET:
        changes = rewrite.path if isinstance(rewrite.path, list) else [rewrite.path]
        for index, change in enumerate(changes):
            where = (*at, "path", index) if isinstance(rewrite.path, list) else (*at, "path")
            paths.append(_compile_path(change, where))
    shifted = Declared() if rewrite.shift is UNSET else rewrite.shift
    unique = Declared() if rewrite.unique is UNSET else rewrite.unique
    for key, names in (("shift", shifted.headers), ("unique", unique.headers)):
        for index, name in enumerate(names):
            checked_header(name, "", (*at, key, "headers", index))
    return Rewriter(
        scheme=None if rewrite.scheme is UNSET else rewrite.scheme,
        host=host,
        paths=tuple(paths),
        query_edit=compile_pairs(rewrite.query, (*at, "query")),
        header_edit=compile_headers(rewrite.headers, (*at, "headers")),
        cookie_edit=compile_cookies(rewrite.cookies, (*at, "cookies")),
        body=_compile_body(rewrite, shifted, unique, at),
        shifted_headers=_folded(shifted.headers),
        shifted_query=frozenset(shifted.query),
        unique_headers=_folded(unique.headers) | _IDEMPOTENCY_KEYS,
        unique_query=frozenset(unique.query),
        changes=tuple(
            key for key in rewrite.__struct_fields__ if getattr(rewrite, key) is not UNSET
        ),
    )


def _folded(names: list[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _compile_path(change: PathRewrite, at: KeyPath) -> Callable[[str], str]:
    pattern = compile_regex(change.from_, (*at, "from"), capture=True)
    if not _PATH_TEXT.fullmatch(change.to):
        raise Fault("holds a character that a path can't: a space, ?, # or control", (*at, "to"))
    fill = compile_template(change.to, pattern.groups, (*at, "to"))

    def rewrite(path: str) -> str:
        text = path.encode("utf-8", "replace")
        if pattern.search(text) is None:
            return path
        return pattern.subn(fill, text)[0].decode("utf-8", "replace")

    return rewrite


def _compile_body(rewrite: Rewrite, shifted: Declared, unique: Declared, at: KeyPath) -> BodyEditor:
    edits: list[JsonEdit] = []
    if rewrite.json is not UNSET:
        changes = rewrite.json if isinstance(rewrite.json, list) else [rewrite.json]
        for index, change in enumerate(changes):
            where = (*at, "json", index) if isinstance(rewrite.json, list) else (*at, "json")
            edits.append(_compile_json(change, where))
    texts: list[Callable[[bytes], bytes]] = []
    if rewrite.body is not UNSET:
        replaced = rewrite.body if isinstance(rewrite.body, list) else [rewrite.body]
        for index, one in enumerate(replaced):
            where = (*at, "body", index) if isinstance(rewrite.body, list) else (*at, "body")
            texts.append(_compile_text(one, where))
    editor = BodyEditor(
        tuple(edits),
        compile_pairs(rewrite.form, (*at, "form")),
        tuple(texts),
        _places(shifted, (*at, "shift")),
        _places(unique, (*at, "unique")),
    )
    return NO_EDITOR if editor == NO_EDITOR else editor


def _compile_json(change: JsonRewrite, at: KeyPath) -> JsonEdit:
    path = parse_path(change.path, (*at, "path"))
    if change.remove == (change.set is not UNSET):
        raise Fault("expected either set or remove: true", at)
    if change.remove:
        if change.create:
            raise Fault("nothing is added where something is taken out", (*at, "create"))
        if not path.steps:
            raise Fault("$ is the whole body: it cannot be taken out", (*at, "path"))
        return JsonEdit(path, lambda _value: None, None)
    if change.create and not path.names_a_member:
        raise Fault("create needs a path that ends with a name", (*at, "create"))
    try:
        # Unlike msgspec it has no largest number.
        value = json.dumps(change.set, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise Fault("holds what JSON can't", (*at, "set")) from error
    return JsonEdit(path, lambda _value: value, value if change.create else None)


def _compile_text(change: BodyRewrite, at: KeyPath) -> Callable[[bytes], bytes]:
    pattern = compile_regex(change.from_, (*at, "from"), capture=True)
    fill = compile_template(change.to, pattern.groups, (*at, "to"))

    def rewrite(body: bytes) -> bytes:
        return body if pattern.search(body) is None else pattern.subn(fill, body)[0]

    return rewrite


def _places(declared: Declared, at: KeyPath) -> Places:
    paths = [parse_path(text, (*at, "json", index)) for index, text in enumerate(declared.json)]
    return Places(frozenset(declared.form), tuple(paths))
