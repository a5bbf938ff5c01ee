"""OAuth 2 grants: client credentials, password and refresh token (RFC 6749).

Owns the requests and the reading of their answers; `credentials` says when.
"""

from __future__ import annotations

import base64
from typing import Literal
from urllib.parse import quote_plus, urlencode

import aiohttp
import msgspec
from msgspec import UNSET

from mirrorproxy.replay.token_http import Answer, ask, host_of, refusal
from mirrorproxy.replay.tokens import Token, TokenError
from mirrorproxy.rules.late import Source, user_of
from mirrorproxy.rules.schema_auth import ClientCredentials, PasswordGrant, RefreshGrant
from mirrorproxy.shot import Want

# RFC 6749, 5.2. Other text of an answer is not repeated: it may hold anything.
_ERRORS = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
        "unsupported_grant_type", "invalid_scope",
    }
)  # fmt: skip


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float | None = None
    refresh_token: str | None = None


class _Refused(msgspec.Struct):
    error: str = ""


Grant = ClientCredentials | PasswordGrant | RefreshGrant


class GrantFetch:
    """Fetches tokens by one entry's grant."""

    def __init__(self, source: Source, grant: Grant, session: aiohttp.ClientSession) -> None:
        self._grant = grant
        self._users = source.users
        self._session = session

    async def __call__(self, want: Want, before: Token | None) -> Token:
        """Return a token. Raises TokenError."""
        grant = self._grant
        if isinstance(grant, ClientCredentials):
            return await self._ask({"grant_type": "client_credentials"})
        renewal = None if before is None else before.renewal
        if isinstance(grant, RefreshGrant):
            given = self._users[want.key]
            assert isinstance(given, str)  # noqa: S101 - so it was compiled
            return await self._refresh(renewal or given)
        if renewal is not None:
            try:
                return await self._refresh(renewal)
            except TokenError as error:
                if not error.is_final:
                    raise
        user = user_of(self._users, want.key)
        assert user is not None  # noqa: S101 - so it was compiled
        return await self._ask(
            {"grant_type": "password", "username": user.user, "password": user.password}
        )

    async def _refresh(self, renewal: str) -> Token:
        token = await self._ask({"grant_type": "refresh_token", "refresh_token": renewal})
        # Without a new one the old one stays good (RFC 6749, 6).
        return token if token.renewal else msgspec.structs.replace(token, renewal=renewal)

    async def _ask(self, fields: dict[str, str]) -> Token:
        grant = self._grant
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        if grant.scope is not UNSET:
            fields["scope"] = grant.scope
        if grant.client_id is not UNSET:
            secret = "" if grant.client_secret is UNSET else grant.client_secret
            how: Literal["basic", "post"] = grant.client_auth
            if how == "post" or grant.client_secret is UNSET:
                fields["client_id"] = grant.client_id
                if grant.client_secret is not UNSET:
                    fields["client_secret"] = secret
            else:
                # RFC 6749, 2.3.1: both are encoded as in a form first.
                pair = f"{quote_plus(grant.client_id)}:{quote_plus(secret)}"
                encoded = base64.b64encode(pair.encode()).decode()
                headers["Authorization"] = f"Basic {encoded}"
        answer = await ask(
            self._session,
            "POST",
            grant.token_url,
            timeout_s=float(grant.timeout),
            headers=headers,
            data=urlencode({**fields, **grant.params}).encode(),
        )
        return _token(grant.token_url, answer)


def _token(url: str, answer: Answer) -> Token:
    if answer.status != 200:
        raise refusal(url, answer, _error_of(answer.body))
    granted = _decoded(answer.body)
    if granted is None:
        raise TokenError(f"{host_of(url)}: the answer holds no access_token", is_final=True)
    return Token(granted.access_token, granted.expires_in, granted.refresh_token)


def _decoded(body: bytes) -> _Granted | None:
    try:
        return msgspec.json.decode(body, type=_Granted, strict=False)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _error_of(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=_Refused).error
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return f" {error}" if error in _ERRORS else ""
