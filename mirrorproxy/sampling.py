"""Sampling: how many copies of a record to send, or whether to keep one.

Every percent decision lives here. No clock and no randomness: the same key and
salt always give the same answer, on every machine.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable

from mirrorproxy.headers import SESSION_COOKIE
from mirrorproxy.record import Credential

CAPTURE_SALT = "mirrorproxy capture"
"""Capture's own salt: with a salt shared by replay, 10 % of a 10 % capture would be all of it."""

_SCALE = 1 << 64


def fraction(key: str, salt: str) -> float:
    """Return a number from 0 (included) to 1 (excluded) that depends on key and salt alone."""
    digest = hashlib.blake2b(
        key.encode("utf-8", "surrogatepass"),
        digest_size=8,
        key=_salt_key(salt),
    ).digest()
    return int.from_bytes(digest, "big") / _SCALE


@functools.lru_cache(maxsize=1024)
def _salt_key(salt: str) -> bytes:
    return hashlib.blake2b(salt.encode(), digest_size=32).digest()


def copies(key: str, percent: float, salt: str) -> int:
    """Return how many times to send a record.

    key: the record's id, or its session key. percent: 0 or more; 100 sends
    once, 250 sends two or three times. salt: the rule's name when sampling by
    id, the run's seed when sampling by session, so that all rules keep or drop
    a session alike.
    Raises ValueError if percent is negative.
    """
    if percent < 0:
        raise ValueError(f"a percentage is 0 or more, not {percent}")
    whole, rest = divmod(percent, 100)
    if not rest:
        return int(whole)
    return int(whole) + (fraction(key, salt) * 100 < rest)


def session_key(credentials: Iterable[Credential], client: str) -> str:
    """Return what stands for a request's session, when sampling and when choosing among streams.

    The subject of its Authorization, so that a refreshed token stays in its
    session; else that value's fingerprint; else the first cookie that is named
    like a session's; else the client's address.
    """
    cookie = None
    for credential in credentials:
        if credential.place == "header" and credential.name.lower() == "authorization":
            return credential.subject or credential.fingerprint
        is_cookie = credential.place == "cookie"
        if is_cookie and cookie is None and SESSION_COOKIE.search(credential.name):
            cookie = credential.fingerprint
    return cookie or client
