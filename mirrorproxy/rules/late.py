"""Late values: credentials that are only known when a shot is sent, such as tokens that expire.

Pure. Decides which value a request wants and by what key it is kept; what stands in a
shot until then is a placeholder. Fetching is `replay.credentials`'. Values never appear
in errors.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from mirrorproxy.marks import mark_of
from mirrorproxy.record import Credential, Exchange
from mirrorproxy.rules.minting import KeyFault, signing_key
from mirrorproxy.rules.named import NameFault, named_function
from mirrorproxy.rules.offers import (
    Entries,
    Offer,
    ReadTable,
    Replacement,
    TableKey,
    checked_header,
    read_entries,
)
from mirrorproxy.rules.patterns import Fault, KeyPath
from mirrorproxy.rules.schema_auth import (
    Basic,
    ClientCredentials,
    Login,
    Minted,
    PasswordGrant,
    RefreshGrant,
    Table,
    Use,
)
from mirrorproxy.shot import Want

LATE = ("client_credentials", "password", "refresh_token", "jwt", "login", "call")

Spec = ClientCredentials | PasswordGrant | RefreshGrant | Minted | Login | str

_REMEMBERED = 4096
_PROCESS = secrets.token_hex(8)  # no text of a capture can be a placeholder by intent


class Source(NamedTuple):
    """Where late values come from.

    name: the path of its entry in the rule file. spec: what the file says; a text
    names a function. users: what the file says of each key, secret; "" is the key when
    everybody gets the same.
    """

    name: str
    spec: Spec
    users: Entries

    @property
    def server(self) -> str | None:
        """The URL of who gives the values out, without a path; None if they are made here."""
        if isinstance(self.spec, (str, Minted)):
            return None
        parts = urlsplit(self.spec.url if isinstance(self.spec, Login) else self.spec.token_url)
        return f"{parts.scheme}://{parts.netloc}"


KeyOf = Callable[[Credential, Exchange], str | None]
"""Returns what a credential's value is kept by, None if there is none for it."""


def compile_late(
    use: Use, at: KeyPath, read_table: ReadTable, *, is_named: bool
) -> tuple[Offer, Source]:
    """Return the offer of a ``use`` whose value is fetched, and its source. Raises Fault.

    is_named: whether ``when`` says which cookie it is for.
    """
    name = ".".join(map(str, at[:-1]))
    if use.client_credentials is not UNSET:
        grant = use.client_credentials
        _check_url(grant.token_url, (*at, "client_credentials", "token_url"))
        return _bearer_offer(name, _everybody), Source(name, grant, {})
    if use.password is not UNSET:
        password = use.password
        where = (*at, "password")
        _check_url(password.token_url, (*where, "token_url"))
        key, users = _users(password.user, password.password, password.users, where, read_table)
        return _bearer_offer(name, key), Source(name, password, users)
    if use.refresh_token is not UNSET:
        refresh = use.refresh_token
        where = (*at, "refresh_token")
        _check_url(refresh.token_url, (*where, "token_url"))
        key, users = _tokens(refresh, where, read_table)
        return _bearer_offer(name, key), Source(name, refresh, users)
    if use.jwt is not UNSET:
        return _minted(use.jwt, name, (*at, "jwt"), read_table)
    if use.login is not UNSET:
        return _login(use.login, name, (*at, "login"), read_table, is_named=is_named)
    assert use.call is not UNSET  # noqa: S101 - the one that is left
    try:
        named_function(use.call)
    except NameFault as fault:
        raise Fault(str(fault), (*at, "call")) from fault
    return _in_place_offer(name, _of_secret, None), Source(name, use.call, {})


def _everybody(_credential: Credential, _exchange: Exchange) -> str | None:
    return ""


def _of_secret(credential: Credential, _exchange: Exchange) -> str | None:
    who = credential.subject or credential.fingerprint
    return f"{credential.place} {credential.name} {who}"


def _users(
    user: str | UnsetType,
    password: str | UnsetType,
    table: Table | UnsetType,
    at: KeyPath,
    read_table: ReadTable,
    *,
    is_needed: bool = True,
) -> tuple[KeyOf, Entries]:
    """Return the users whose passwords are given: one for everybody, or a table."""
    if (user is UNSET) != (password is UNSET):
        raise Fault("user and password go together", at)
    if table is not UNSET:
        if user is not UNSET:
            raise Fault("expected either users, or user and password", at)
        entries, key, place = read_entries(table, (*at, "users"), read_table)
        for name, value in entries.items():
            if not isinstance(value, Basic):
                raise Fault("expected {user, password}", place(name))
        return _of_table(key, entries), entries
    if user is UNSET or password is UNSET:
        if is_needed:
            raise Fault("expected either users, or user and password", at)
        return _everybody, {}
    return _everybody, {"": Basic(user, password)}


def _tokens(grant: RefreshGrant, at: KeyPath, read_table: ReadTable) -> tuple[KeyOf, Entries]:
    if (grant.token is UNSET) == (grant.tokens is UNSET):
        raise Fault("expected either token or tokens", at)
    if grant.tokens is UNSET:
        assert grant.token is not UNSET  # noqa: S101 - one of them is given
        return _everybody, {"": grant.token}
    return _texts(grant.tokens, (*at, "tokens"), read_table)


def _texts(table: Table, at: KeyPath, read_table: ReadTable) -> tuple[KeyOf, Entries]:
    entries, key, place = read_entries(table, at, read_table)
    for name, value in entries.items():
        if not isinstance(value, str) or not value:
            raise Fault("expected a text", place(name))
    return _of_table(key, entries), entries


def _of_table(key: TableKey, entries: Entries) -> KeyOf:
    def key_of(credential: Credential, exchange: Exchange) -> str | None:
        return next((one for one in key(credential, exchange) if one in entries), None)

    return key_of


def _minted(spec: Minted, name: str, at: KeyPath, read_table: ReadTable) -> tuple[Offer, Source]:
    try:
        signing_key(spec.algorithm, spec.key)
    except KeyFault as fault:
        raise Fault(str(fault), (*at, "key")) from fault
    if not spec.lifetime > 1:
        raise Fault("expected a duration above 1s", (*at, "lifetime"))
    subject_of: KeyOf = _everybody
    subjects: Entries = {}
    if spec.subjects is not UNSET:
        subject_of, subjects = _texts(spec.subjects, (*at, "subjects"), read_table)

    def key_of(credential: Credential, exchange: Exchange) -> str | None:
        subject = subject_of(credential, exchange)
        if subject is None:
            return None
        # What was captured of the user makes the token: other claims, another token.
        facts = (subject, credential.subject, credential.user, credential.claims)
        return msgspec.json.encode(facts, order="deterministic").decode()

    return _bearer_offer(name, key_of), Source(name, spec, subjects)


def _login(
    spec: Login, name: str, at: KeyPath, read_table: ReadTable, *, is_named: bool
) -> tuple[Offer, Source]:
    _check_url(spec.url, (*at, "url"))
    if (spec.cookie is UNSET) == (spec.token is UNSET):
        raise Fault("expected either cookie or token: what of the answer is used", at)
    if spec.form is not UNSET and spec.json is not UNSET:
        raise Fault("expected either form or json", at)
    for header, value in spec.headers.items():
        checked_header(header, value, (*at, "headers", header))
    key_of, users = _users(spec.user, spec.password, spec.users, at, read_table, is_needed=False)
    source = Source(name, spec, users)
    if spec.cookie is UNSET:
        return _bearer_offer(name, key_of), source
    return _in_place_offer(name, key_of, None if is_named else spec.cookie), source


def _check_url(url: str, at: KeyPath) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise Fault("not a URL such as https://login.example.com/token", at)
    if parts.username is not None or parts.password is not None:
        raise Fault("the URL must not hold a user or a password", at)


def _want(source: str, key: str, credential: Credential) -> Want:
    digest = hashlib.blake2b(f"{source}\n{key}".encode(), digest_size=12).hexdigest()
    return Want(f"LateValue{_PROCESS}{digest}", source, key, credential)


_Memory = dict[tuple[str, str, str, str], Replacement]


def _bearer_offer(source: str, key_of: KeyOf) -> Offer:
    """Return an offer of ``Authorization: Bearer``; in a query the value stands by itself."""
    memory: _Memory = {}

    def offer(credentials: Sequence[Credential], exchange: Exchange) -> Replacement | None:
        for chosen in credentials:
            key = key_of(chosen, exchange)
            if key is not None:
                return _remembered(memory, source, key, chosen, _as_bearer)
        return None

    return offer


def _in_place_offer(source: str, key_of: KeyOf, name: str | None) -> Offer:
    """Return an offer of the bare value where the sealed one stands. name: only for this cookie."""
    memory: _Memory = {}

    def offer(credentials: Sequence[Credential], exchange: Exchange) -> Replacement | None:
        found: Replacement | None = None
        for one in credentials:
            key = key_of(one, exchange) if name is None or one.name == name else None
            if key is not None:
                more = _remembered(memory, source, key, one, _in_place)
                found = more if found is None else found.joined(more)
        return found

    return offer


def _remembered(
    memory: _Memory,
    source: str,
    key: str,
    credential: Credential,
    make: Callable[[Want, Credential], Replacement],
) -> Replacement:
    place = (credential.place, credential.name, credential.fingerprint, key)
    found = memory.get(place)
    if found is None:
        if len(memory) >= _REMEMBERED:
            memory.clear()
        found = memory[place] = make(_want(source, key, credential), credential)
    return found


def _as_bearer(want: Want, credential: Credential) -> Replacement:
    values = {mark_of(credential.fingerprint): want.placeholder}
    if credential.place != "header":
        return Replacement(values, wants=(want,))
    lower = credential.name.lower()
    headers = {"authorization": ("Authorization", f"Bearer {want.placeholder}")}
    removed = frozenset(() if lower in headers else (lower,))
    return Replacement(values, headers, removed, wants=(want,))


def _in_place(want: Want, credential: Credential) -> Replacement:
    return Replacement({mark_of(credential.fingerprint): want.placeholder}, wants=(want,))


def user_of(users: Mapping[str, str | Basic], key: str) -> Basic | None:
    """Return the user and password that a table holds for a key."""
    found = users.get(key)
    return found if isinstance(found, Basic) else None
