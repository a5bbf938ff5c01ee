"""Credentials: what takes the place of a sealed one, per target.

Pure: tables are read before, values come expanded. Decides what to use;
`unseal` puts it in. Values never appear in errors.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET

from mirrorproxy.marks import mark_of
from mirrorproxy.record import Credential, Exchange
from mirrorproxy.rules.match import compile_presence
from mirrorproxy.rules.patterns import Fault, KeyPath, Kind, compile_patterns
from mirrorproxy.rules.schema import AuthEntry, Basic, Table, Use, When

Entries = Mapping[str, str | Basic]
ReadTable = Callable[[str, KeyPath], Entries]
"""Reads the table file that a rule file names; raises an error of its own."""

_NO_VALUES: Mapping[str, str] = {}
_NO_HEADERS: Mapping[str, tuple[str, str]] = {}
_REMEMBERED = 4096
TABLE_KEYS = "fingerprint, subject, user or claim:<name>"


class Replacement(NamedTuple):
    """What to put in the place of an exchange's credentials.

    values: the bare value for a mark, braces included, wherever it stands.
    headers: to set, by their names in lower case. removed: names, in lower
    case, of other headers to take out. anonymous: every sealed header and cookie is
    taken out too.
    """

    values: Mapping[str, str] = _NO_VALUES
    headers: Mapping[str, tuple[str, str]] = _NO_HEADERS
    removed: frozenset[str] = frozenset()
    anonymous: bool = False


Offer = Callable[[Sequence[Credential]], Replacement | None]


class _Entry(NamedTuple):
    service: Callable[[str], bool] | None
    is_narrowed: bool
    fits: Callable[[Credential], bool]
    offer: Offer


class Auth:
    """A target's ``auth``, ready to use."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self._entries = entries

    def replacement(self, exchange: Exchange) -> Replacement | None:
        """Return what the first entry that fits offers, or None if none does."""
        for entry in self._entries:
            if entry.service is not None and not entry.service(exchange.service):
                continue
            fitting = [one for one in exchange.credentials if entry.fits(one)]
            if (fitting or not entry.is_narrowed) and (found := entry.offer(fitting)):
                return found
        return None


def compile_auth(
    auth: Sequence[AuthEntry] | Literal["none"], at: KeyPath, read_table: ReadTable
) -> Auth:
    """Return a target's ``auth`` ready to use. Raises Fault."""
    if isinstance(auth, str):
        return Auth([_Entry(None, False, lambda _credential: True, _anonymous)])
    return Auth(
        [_compile_entry(entry, (*at, index), read_table) for index, entry in enumerate(auth)]
    )


def _compile_entry(entry: AuthEntry, at: KeyPath, read_table: ReadTable) -> _Entry:
    when = When() if entry.when is UNSET else entry.when
    use = entry.use
    # A table names each secret that it replaces. Anything else speaks for the user of the
    # request: not for a cookie or a login's body, unless the entry says so.
    is_table = isinstance(use, Use) and use.table is not UNSET
    places = None if is_table or isinstance(use, str) else frozenset({"header", "query"})
    fits, narrowed = _compile_when(when, places, (*at, "when"))
    service = (
        None
        if when.service is UNSET
        else compile_patterns(when.service, Kind.TEXT, (*at, "when", "service"))
    )
    if isinstance(use, str):
        return _Entry(service, narrowed, fits, _anonymous)
    return _Entry(service, True, fits, _compile_use(use, (*at, "use"), read_table))


def _compile_when(
    when: When, places: frozenset[str] | None, at: KeyPath
) -> tuple[Callable[[Credential], bool], bool]:
    """Return a test of credentials, and whether ``when`` asks for anything of them."""
    tests: list[Callable[[Credential], bool]] = []
    narrowed = when.in_ is not UNSET
    allowed = frozenset({when.in_}) if when.in_ is not UNSET else places
    for key in ("name", "scheme", "fingerprint", "subject", "user"):
        patterns = getattr(when, key)
        if patterns is not UNSET:
            kind = Kind.FOLDED if key in ("name", "scheme") else Kind.TEXT
            tests.append(_attribute(key, kind, compile_patterns(patterns, kind, (*at, key))))
    if when.claim is not UNSET:
        for name, wanted in when.claim.items():
            tests.append(_claim(name, compile_presence(wanted, (*at, "claim", name))))
    narrowed = narrowed or bool(tests)

    def is_placed(credential: Credential) -> bool:
        return allowed is None or credential.place in allowed

    def fits(credential: Credential) -> bool:
        return is_placed(credential) and all(test(credential) for test in tests)

    return (fits if tests else is_placed), narrowed


def _attribute(key: str, kind: Kind, test: Callable[[str], bool]) -> Callable[[Credential], bool]:
    def fits(credential: Credential) -> bool:
        value = getattr(credential, key)
        if value is None:
            return False
        return test(value.lower() if kind is Kind.FOLDED else value)

    return fits


def _claim(name: str, test: Callable[[list[str]], bool]) -> Callable[[Credential], bool]:
    return lambda credential: test(claim_texts(credential, name))


def claim_texts(credential: Credential, name: str) -> list[str]:
    """Return a claim as text, each item of a list apart; [] if there is none."""
    claim = credential.claims.get(name)
    if claim is None:
        return []
    items = claim if isinstance(claim, list) else [claim]
    return [item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in items]


_ANONYMOUS = Replacement(
    removed=frozenset({"authorization", "proxy-authorization"}), anonymous=True
)


def _anonymous(_credentials: Sequence[Credential]) -> Replacement:
    return _ANONYMOUS


def _compile_use(use: Use, at: KeyPath, read_table: ReadTable) -> Offer:
    given = [
        key for key in ("bearer", "basic", "headers", "table") if getattr(use, key) is not UNSET
    ]
    if len(given) != 1:
        raise Fault("expected exactly one of bearer, basic, headers and table", at)
    if use.bearer is not UNSET:
        token = checked(use.bearer, (*at, "bearer"))
        return _header_offer((("Authorization", f"Bearer {token}"),), token)
    if use.basic is not UNSET:
        value = basic_value(use.basic, (*at, "basic"))
        return _header_offer((("Authorization", f"Basic {value}"),), None)
    if use.headers is not UNSET:
        if not use.headers:
            raise Fault("names no header", (*at, "headers"))
        for name, value in use.headers.items():
            checked_header(name, value, (*at, "headers", name))
        return _header_offer(tuple(use.headers.items()), None)
    assert use.table is not UNSET  # noqa: S101 - the one that is left
    return _compile_table(use.table, (*at, "table"), read_table)


def _header_offer(headers: Sequence[tuple[str, str]], token: str | None) -> Offer:
    """Return an offer of headers; a bare token also replaces the same secret elsewhere."""
    given = {name.lower(): (name, value) for name, value in headers}

    def replacement(place: str, name: str, fingerprint: str) -> Replacement:
        values = {mark_of(fingerprint): token} if token is not None else _NO_VALUES
        if place != "header" and token is not None:
            return Replacement(values)
        lower = name.lower()
        is_removed = place == "header" and lower not in given
        return Replacement(values, given, frozenset({lower} if is_removed else ()))

    remembered = functools.lru_cache(_REMEMBERED)(replacement)  # users come again

    def offer(credentials: Sequence[Credential]) -> Replacement:
        chosen = credentials[0]
        return remembered(chosen.place, chosen.name, chosen.fingerprint)

    return offer


def _compile_table(table: Table, at: KeyPath, read_table: ReadTable) -> Offer:
    by = table.by
    if by not in ("fingerprint", "subject", "user") and not re.fullmatch(r"claim:\S+", by):
        raise Fault(f"expected {TABLE_KEYS}", (*at, "by"))
    if (table.file is UNSET) == (table.entries is UNSET):
        raise Fault("expected either file or entries", at)
    place = (*at, "entries")
    if table.file is not UNSET:
        place = (*at, "file")
        entries = read_table(table.file, place)
    else:
        assert table.entries is not UNSET  # noqa: S101 - one of them is given
        entries = table.entries
    known = {
        _bare(key) if by in ("fingerprint", "subject") else key: _table_value(
            value, (*place, key) if table.file is UNSET else place
        )
        for key, value in entries.items()
    }
    return _table_offer(known, _table_key(by))


def _bare(fingerprint: str) -> str:
    return fingerprint.removeprefix("{").removesuffix("}")


def _table_key(by: str) -> Callable[[Credential], list[str]]:
    if by.startswith("claim:"):
        name = by.removeprefix("claim:")
        return lambda credential: claim_texts(credential, name)

    def key(credential: Credential) -> list[str]:
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


def _table_offer(known: Mapping[str, _Value], keys: Callable[[Credential], list[str]]) -> Offer:
    def offer(credentials: Sequence[Credential]) -> Replacement | None:
        values: dict[str, str] = {}
        headers: dict[str, tuple[str, str]] = {}
        for credential in credentials:
            found = next((known[key] for key in keys(credential) if key in known), None)
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
