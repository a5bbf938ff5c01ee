"""The orders application's tokens: JSON Web Tokens signed with its own key (HS256).

Only for the demo's two applications. mirrorproxy itself never verifies a token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json


def issue(user: str, *, issuer: str, key: bytes) -> str:
    """Return a token that names a user, signed with the application's key."""
    head = _part({"alg": "HS256", "typ": "JWT"})
    claims = _part({"iss": issuer, "sub": user, "client_id": "web-shop"})
    return f"{head}.{claims}.{_signature(f'{head}.{claims}', key)}"


def user_of(token: str, *, issuer: str, key: bytes) -> str | None:
    """Return the user that a token names, or None if another application signed it."""
    signed, _, signature = token.rpartition(".")
    # As bytes: compare_digest refuses text that is not ASCII, and a token is a stranger's text.
    if not hmac.compare_digest(
        signature.encode("utf-8", "replace"), _signature(signed, key).encode()
    ):
        return None
    try:
        claims = json.loads(_decode(signed.partition(".")[2]))
    except (ValueError, binascii.Error):
        return None
    return claims["sub"] if claims.get("iss") == issuer else None


def _part(value: dict[str, str]) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _signature(signed: str, key: bytes) -> str:
    return _encode(hmac.new(key, signed.encode("utf-8", "replace"), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
