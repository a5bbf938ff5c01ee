"""Tokens that are made here: signed with the target's key, or by a function of the user's.

Owns where that work is done: not in the event loop when it may take a while.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mirrorproxy.replay.tokens import Token, TokenError
from mirrorproxy.rules.late import Source
from mirrorproxy.rules.minting import claims_of, mint, signing_key
from mirrorproxy.rules.schema_auth import Minted
from mirrorproxy.shot import Want


class MintFetch:
    """Signs a JWT of the captured claims."""

    def __init__(self, source: Source, spec: Minted) -> None:
        self._spec = spec
        self._subjects = source.users
        self._key = signing_key(spec.algorithm, spec.key)

    async def __call__(self, want: Want, _before: Token | None) -> Token:
        """Return a token."""
        subject: str | None = None
        if self._subjects:
            # See `rules.late`: what a minted token is kept by begins with the table's key.
            key = msgspec.json.decode(want.key)[0]
            found = self._subjects[key]
            subject = found if isinstance(found, str) else None
        claims = claims_of(self._spec, want.credential, subject, time.time())
        # A signature of RSA takes a millisecond, as long as 50 shots.
        token = await asyncio.to_thread(mint, self._spec, self._key, claims)
        return Token(token, float(int(self._spec.lifetime)))


class CallFetch:
    """Calls a function of the user's, in a thread unless it is async.

    It is given one mapping with what was captured: place, name, scheme, fingerprint,
    subject, user, claims. It returns the bare credential, or a mapping of ``value``
    and ``expires_in`` in seconds; None refuses.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._is_async = inspect.iscoroutinefunction(function)

    async def __call__(self, want: Want, _before: Token | None) -> Token:
        """Return what the function gives. Raises TokenError."""
        one = want.credential
        asked: dict[str, object] = {
            "place": one.place,
            "name": one.name,
            "scheme": one.scheme,
            "fingerprint": one.fingerprint,
            "subject": one.subject,
            "user": one.user,
            "claims": dict(one.claims),
        }
        result, problem = await self._call(asked)
        if problem:
            raise TokenError(problem)
        if isinstance(result, Mapping):
            value, lifetime_s = result.get("value"), result.get("expires_in")
        else:
            value, lifetime_s = result, None
        if not isinstance(value, str):
            raise TokenError("the function gave none", is_final=True)
        if lifetime_s is not None and not isinstance(lifetime_s, (int, float)):
            raise TokenError("the function's expires_in is no number", is_final=True)
        return Token(value, lifetime_s)

    async def _call(self, asked: dict[str, object]) -> tuple[Any, str]:
        try:
            if self._is_async:
                return await self._function(asked), ""
            return await asyncio.to_thread(self._function, asked), ""
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            # Its kind alone: its text may hold a secret.
            return None, f"the function raised {type(error).__name__}"
