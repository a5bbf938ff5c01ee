"""What the ``use`` of an ``auth`` entry may hold: tables, grants, tokens of one's own, logins.

Values only, like `schema`. Every key is described in docs/credentials.md.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from mirrorproxy.units import Seconds


class Basic(Struct, frozen=True, forbid_unknown_fields=True):
    """HTTP Basic: user and password."""

    user: str
    password: str


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """One replacement per user; entries stand here or in a YAML, JSON or CSV file."""

    by: str
    file: str | UnsetType = UNSET
    entries: dict[str, str | Basic] | UnsetType = UNSET


class Grant(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all grants of OAuth 2 say. refresh_before: the end of a token, so long."""

    token_url: str
    client_id: str | UnsetType = UNSET
    client_secret: str | UnsetType = UNSET
    client_auth: Literal["basic", "post"] = "basic"
    scope: str | UnsetType = UNSET
    params: dict[str, str] = {}
    refresh_before: Seconds = field(default_factory=lambda: Seconds(30))
    timeout: Seconds = field(default_factory=lambda: Seconds(10))


class ClientCredentials(Grant, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grant of RFC 6749, 4.4: one token for everybody."""

    client_id: str


class PasswordGrant(Grant, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grant of RFC 6749, 4.3: a token for each user of a table, or for one user."""

    user: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    users: Table | UnsetType = UNSET


class RefreshGrant(Grant, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grant of RFC 6749, 6: refresh tokens that one has, of a table or one for all."""

    token: str | UnsetType = UNSET
    tokens: Table | UnsetType = UNSET


class Minted(Struct, frozen=True, forbid_unknown_fields=True):
    """A JWT signed with the target's key, of the captured claims."""

    key: str
    algorithm: Literal["HS256", "RS256", "ES256"]
    key_id: str | UnsetType = UNSET
    keep: list[str] | UnsetType = UNSET
    claims: dict[str, str | int | float | bool | list[str]] = {}
    subjects: Table | UnsetType = UNSET
    lifetime: Seconds = field(default_factory=lambda: Seconds(300))


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """A request that logs a user in; a cookie or a token of its answer is used."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    form: dict[str, str] | UnsetType = UNSET
    json: Any = UNSET
    cookie: str | UnsetType = UNSET
    token: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    users: Table | UnsetType = UNSET
    lifetime: Seconds | UnsetType = UNSET
    timeout: Seconds = field(default_factory=lambda: Seconds(10))


class Use(Struct, frozen=True, forbid_unknown_fields=True):
    """What takes the place of a sealed credential: exactly one of these.

    headers and query may stand together.
    """

    bearer: str | UnsetType = UNSET
    basic: Basic | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    query: dict[str, str] | UnsetType = UNSET
    table: Table | UnsetType = UNSET
    client_credentials: ClientCredentials | UnsetType = UNSET
    password: PasswordGrant | UnsetType = UNSET
    refresh_token: RefreshGrant | UnsetType = UNSET
    jwt: Minted | UnsetType = UNSET
    login: Login | UnsetType = UNSET
    call: str | UnsetType = UNSET
