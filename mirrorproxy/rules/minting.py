"""Minting: a JWT of the captured claims, signed with the target's own key.

Pure: the time is handed in. The library is an extra, loaded when a rule file asks for it.
Errors never hold the key.
"""

from __future__ import annotations

import contextlib
import importlib
import uuid
from typing import Any

from msgspec import UNSET

from mirrorproxy.record import Credential
from mirrorproxy.rules.schema_auth import Minted

_TIMES = frozenset({"exp", "iat", "nbf", "auth_time", "jti"})
"""What says when and for how long: never the captured one."""

_MIN_HMAC_BYTES = 32  # RFC 7518, 3.2: a key of the size of the hash or larger


class KeyFault(Exception):
    """Why a key cannot sign."""


def signing_key(algorithm: str, key: str) -> Any:
    """Return the key as the library takes it. Raises KeyFault."""
    # Raised outside of any handler: what the library says may hold the key, and a context stays.
    algorithms: dict[str, Any] = {}
    with contextlib.suppress(ImportError):
        importlib.import_module("jwt")
        algorithms = importlib.import_module("jwt.algorithms").get_default_algorithms()
    if algorithm not in algorithms:
        raise KeyFault(f"{algorithm} needs the extra: pip install 'mirrorproxy[jwt]'")
    if algorithm == "HS256":
        if len(key.encode()) < _MIN_HMAC_BYTES:
            raise KeyFault(f"a key of {algorithm} has {_MIN_HMAC_BYTES} bytes or more")
        return key.encode()
    prepared: Any = None
    with contextlib.suppress(Exception):
        prepared = algorithms[algorithm].prepare_key(key)
    is_good = hasattr(prepared, "sign") and (
        algorithm != "ES256" or prepared.curve.name == "secp256r1"
    )
    if not is_good:
        raise KeyFault(f"not a private key of {algorithm} in PEM")
    return prepared


def claims_of(
    spec: Minted, credential: Credential, subject: str | None, now_s: float
) -> dict[str, Any]:
    """Return the claims of a token: the captured ones, those the rules set, fresh times.

    subject: of the target's own, None for the captured one's fingerprint. now_s: wall
    clock, seconds since 1970.
    """
    captured = credential.claims
    kept = captured.keys() if spec.keep is UNSET else spec.keep
    claims: dict[str, Any] = {
        name: captured[name] for name in kept if name in captured and name not in _TIMES
    }
    claims["sub"] = subject or credential.subject or credential.fingerprint
    claims |= spec.claims
    now = int(now_s)
    # A clock that is a little behind must not find the token too young.
    claims |= {"iat": now - 1, "nbf": now - 1, "exp": now + int(spec.lifetime)}
    claims["jti"] = uuid.uuid4().hex
    return claims


def mint(spec: Minted, key: Any, claims: dict[str, Any]) -> str:
    """Return the token. key: see `signing_key`."""
    headers = None if spec.key_id is UNSET else {"kid": spec.key_id}
    token: str = importlib.import_module("jwt").encode(
        claims, key, algorithm=spec.algorithm, headers=headers
    )
    return token
