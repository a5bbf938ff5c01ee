"""Offers: what an entry of ``auth`` can put in the place of a credential, known beforehand.

Pure. Owns replacements, tables, and what a header may hold. `late` has the offers whose
value is only known when the shot is sent. Values never appear in errors.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from mirrorproxy.marks import mark_of
from mirrorproxy.record import Credential, Exchange
from mirrorproxy.rules.patterns import Fault, KeyPath
from mirrorproxy.rules.schema_auth import Basic, Table, Use
from mirrorproxy.rules.user_field import field_text
from mirrorproxy.shot import Want

Entries = Mapping[str, str | Basic]
ReadTable = Callable[[str, KeyPath], Entries]
"""Reads the table file that a rule file names; raises an error of its own."""

_NO_VALUES: Mapping[str, str] = {}
_NO_HEADERS: Mapping[str, tuple[str, str]] = {}
_REMEMBERED = 4096
TABLE_KEYS = "fingerprint, subject, user, claim:<name> or field:<name>"


class Replacement(NamedTuple):
    """What to put in the place of an exchange's credentials.

    values: the bare value for a mark, braces included, wherever it stands.
    headers: to set, by their names in lower case. removed: names, in lower
    case, of other headers to take out. anonymous: every sealed header and cookie is
    taken out too. query: keys to set. wants: what is only known when the shot is sent;
    their placeholders stand in the values until then.
    """

    values: Mapping[str, str] = _NO_VALUES
    headers: Mapping[str, tuple[str, str]] = _NO_HEADERS
    removed: frozenset[str] = frozenset()
    anonymous: bool = False
    query: Mapping[str, str] = _NO_VALUES
    wants: tuple[Want, ...] = ()

    def covers(self, credential: Credential) -> bool:
        """Tell whether this takes the place of a credential."""
        if mark_of(credential.fingerprint) in self.values:
            return True
        if credential.place == "header":
            lower = credential.name.lower()
            return lower in self.headers or lower in self.removed
        return credential.place == "query" and credential.name in self.query

    def joined(self, other: Replacement) -> Replacement:
        """Return both; where they say different things, this one holds."""
        headers = {**other.headers, **self.headers}
        return Replacement(
            {**other.values, **self.values},
            headers,
            (self.removed | other.removed).difference(headers),
            self.anonymous or other.anonymous,
            {**other.query, **self.query},
            self.wants + other.wants,
        )


Offer = Callable[[Sequence[Credential], Exchange], Replacement | None]
TableKey = Callable[[Credential, Exchange], list[str]]


def claim_texts(credential: Credential, name: str) -> list[str]:
    """Return a claim as text, each item of a list apart; [] if there is none."""
    claim = credential.claims.get(name)
    if claim is None:
        return []
    items = claim if isinstance(claim, list) else [claim]
    return [item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in items]


def compile_static(use: Use, at: KeyPath, read_table: ReadTable) -> Offer:
    """Return the offer of a ``use`` whose value is known. Raises Fault."""
    if use.bearer is not UNSET:
        token = checked(use.bearer, (*at, "bearer"))
        return _header_offer((("Authorization", f"Bearer {token}"),), token)
    if use.basic is not UNSET:
        value = basic_value(use.basic, (*at, "basic"))
        return _header_offer((("Authorization", f"Basic {value}"),), None)
    if use.table is UNSET:
        return _keys_offer(use, at)
    return _compile_table(use.table, (*at, "table"), read_table)


def _keys_offer(use: Use, at: KeyPath) -> Offer:
    headers = {} if use.headers is UNSET else use.headers
    query = {} if use.query is UNSET else use.query
    for key, given in (("headers", use.headers), ("query", use.query)):
        if given is not UNSET and not given:
            raise Fault("names nothing", (*at, key))
    for name, value in headers.items():
        checked_header(name, value, (*at, "headers", name))
    for name, value in query.items():
        if not name or not value:
            raise Fault("is empty", (*at, "query", name))
    return _header_offer(tuple(headers.items()), None, query)


def _header_offer(
    headers: Sequence[tuple[str, str]], token: str | None, query: Mapping[str, str] = _NO_VALUES
) -> Offer:
    """Return an offer of headers; a bare token also replaces the same secret elsewhere."""
    given = {name.lower(): (name, value) for name, value in headers}

    def replacement(place: str, name: str, fingerprint: str) -> Replacement:
        values = {mark_of(fingerprint): token} if token is not None else _NO_VALUES
        if place != "header" and token is not None:
            return Replacement(values)
        lower = name.lower()
        is_removed = place == "header" and lower not in given
        removed = frozenset({lower} if is_removed else ())
        return Replacement(values, given, removed, query=query)

    remembered = functools.lru_cache(_REMEMBERED)(replacement)  # users come again

    def offer(credentials: Sequence[Credential], _exchange: Exchange) -> Replacement:
        chosen = credentials[0]
        return remembered(chosen.place, chosen.name, chosen.fingerprint)

    return offer


def _compile_table(table: Table, at: KeyPath, read_table: ReadTable) -> Offer:
    entries, key, place = read_entries(table, at, read_table)
    known = {name: _table_value(value, place(name)) for name, value in entries.items()}
    return _table_offer(known, key)


def read_entries(
    table: Table, at: KeyPath, read_table: ReadTable
) -> tuple[Entries, TableKey, Callable[[str], KeyPath]]:
    """Return a table's entries, what a credential's are looked up by, and where each stands.

    Raises Fault.
    """
    by = table.by
    if by not in ("fingerprint", "subject", "user") and not re.fullmatch(r"(claim|field):\S+", by):
        raise Fault(f"expected {TABLE_KEYS}", (*at, "by"))
    if (table.file is UNSET) == (table.entries is UNSET):
        raise Fault("expected either file or entries", at)
    is_file = table.file is not UNSET
    entries = _entries_of(table, at, read_table)
    if by in ("fingerprint", "subject"):
        entries = {_bare(key): value for key, value in entries.items()}
    return (
        entries,
        _table_key(by),
        lambda name: (*at, "file") if is_file else (*at, "entries", name),
    )


def _entries_of(table: Table, at: KeyPath, read_table: ReadTable) -> Entries:
    if table.file is not UNSET:
        return read_table(table.file, (*at, "file"))
    assert table.entries is not UNSET  # noqa: S101 - one of them is given
    return table.entries


def _bare(fingerprint: str) -> str:
    return fingerprint.removeprefix("{").removesuffix("}")


def _table_key(by: str) -> TableKey:
    kind, _, name = by.partition(":")
    if kind == "claim":
        return lambda credential, _exchange: claim_texts(credential, name)
    if kind == "field":
        return lambda _credential, exchange: field_text(exchange, name)

    def key(credential: Credential, _exchange: Exchange) -> list[str]:
        value = getattr(credential, by)
        return [] if value is None else [value]

    return key


class _Value(NamedTuple):
    """One entry of a table. basic: what stands after ``Basic``, if it can be said."""

    bare: str | None
    basic: str


def _table_value(value: str | Basic, at: KeyPath) -> _Value:
    if isinstance(value, Basic):
        return _Value(None, basic_value(value, at))
    checked(value, at)
    encoded = base64.b64encode(value.encode()).decode() if ":" in value else value
    return _Value(value, encoded)


def _table_offer(known: Mapping[str, _Value], keys: TableKey) -> Offer:
    def offer(credentials: Sequence[Credential], exchange: Exchange) -> Replacement | None:
        values: dict[str, str] = {}
        headers: dict[str, tuple[str, str]] = {}
        for credential in credentials:
            found = next((known[key] for key in keys(credential, exchange) if key in known), None)
            if found is None:
                continue
            is_header = credential.place == "header"
            if found.bare is None:
                if not is_header:
                    continue
                headers[credential.name.lower()] = (credential.name, f"Basic {found.basic}")
            elif is_header and (credential.scheme or "").lower() == "basic":
                values[mark_of(credential.fingerprint)] = found.basic
            else:
                values[mark_of(credential.fingerprint)] = found.bare
        return Replacement(values, headers) if values or headers else None

    return offer


def basic_value(basic: Basic, at: KeyPath) -> str:
    """Return what stands after ``Basic`` (RFC 7617). Raises Fault for a colon in the user."""
    if ":" in basic.user:
        raise Fault("the user of Basic must not hold a colon", (*at, "user"))
    return base64.b64encode(f"{basic.user}:{basic.password}".encode()).decode()


def checked(value: str, at: KeyPath) -> str:
    """Return a secret that can stand in a header. Raises Fault, without the value."""
    if not value:
        raise Fault("is empty", at)
    if value != value.strip() or any(ord(c) < 0x20 or ord(c) > 0xFF or c == "\x7f" for c in value):
        raise Fault("holds a character that a header can't, or a space around it", at)
    return value


_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-mirrorproxy-replay",
    }
)


def checked_header(name: str, value: str, at: KeyPath) -> None:
    """Raise Fault if a header can't be set by a rule: bad name or value, framing, Host."""
    if not name or not _TOKEN.issuperset(name):
        raise Fault("not a header name", at)
    if name.lower() in _RESERVED:
        raise Fault("this header is not for rules to set (for Host: rewrite.host)", at)
    if value:
        checked(value, at)
