"""Logins: a request of the rules' own, and the cookie or token of its answer.

Owns that request and what is taken from the answer; `credentials` says when.
"""

from __future__ import annotations

from urllib.parse import quote_plus, urlencode

import aiohttp
import msgspec
from msgspec import UNSET

from mirrorproxy.replay.token_http import Answer, ask, host_of, refusal
from mirrorproxy.replay.tokens import Token, TokenError
from mirrorproxy.rules.late import Source, user_of
from mirrorproxy.rules.schema_auth import Basic, Login
from mirrorproxy.shot import Want


class LoginFetch:
    """Logs in as the user of a want."""

    def __init__(self, source: Source, login: Login, session: aiohttp.ClientSession) -> None:
        self._login = login
        self._users = source.users
        self._session = session

    async def __call__(self, want: Want, _before: Token | None) -> Token:
        """Return the cookie's value or the token. Raises TokenError."""
        login = self._login
        user = user_of(self._users, want.key)
        headers = {name: _filled(text, user) for name, text in login.headers.items()}
        data = _data(login, user, headers)
        url = login.url
        if user is not None:
            url = url.replace("{user}", quote_plus(user.user))
        answer = await ask(
            self._session,
            login.method,
            url,
            timeout_s=float(login.timeout),
            headers=headers,
            data=data,
        )
        # A login page often answers with a redirect to where one came from.
        if answer.status >= 400:
            raise refusal(url, answer)
        value = _taken(login, answer)
        if value is None:
            what = "token" if login.cookie is UNSET else "cookie"
            raise TokenError(
                f"{host_of(url)}: HTTP {answer.status}, the answer holds no such {what}",
                is_final=True,
            )
        return Token(value, None if login.lifetime is UNSET else float(login.lifetime))


def _data(login: Login, user: Basic | None, headers: dict[str, str]) -> bytes | None:
    has_type = any(name.lower() == "content-type" for name in headers)
    if login.form is not UNSET:
        if not has_type:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        fields = {name: _filled(text, user) for name, text in login.form.items()}
        return urlencode(fields).encode()
    if login.json is not UNSET:
        if not has_type:
            headers["Content-Type"] = "application/json"
        return msgspec.json.encode(_filled_json(login.json, user))
    return None


def _filled(text: str, user: Basic | None) -> str:
    if user is None:
        return text
    # By parts: a user whose name is {password} stays one.
    return user.user.join(
        part.replace("{password}", user.password) for part in text.split("{user}")
    )


def _filled_json(value: object, user: Basic | None) -> object:
    if isinstance(value, str):
        return _filled(value, user)
    if isinstance(value, list):
        return [_filled_json(one, user) for one in value]
    if isinstance(value, dict):
        return {key: _filled_json(one, user) for key, one in value.items()}
    return value


def _taken(login: Login, answer: Answer) -> str | None:
    if login.cookie is not UNSET:
        return _cookie(login.cookie, answer.set_cookies)
    assert login.token is not UNSET  # noqa: S101 - one of the two is given
    return _json_text(answer.body, login.token)


def _cookie(name: str, set_cookies: list[str]) -> str | None:
    """Return the last value that was set for a name: a login may clear the cookie first."""
    for line in reversed(set_cookies):
        key, _, value = line.partition(";")[0].partition("=")
        if key.strip() == name and value.strip():
            return value.strip()
    return None


def _json_text(body: bytes, path: str) -> str | None:
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    for part in path.removeprefix("$.").split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value if isinstance(value, str) else None
