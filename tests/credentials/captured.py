"""Captured requests with sealed credentials, made in one line."""

from __future__ import annotations

from server import exchange

from mirrorproxy.record import Credential, Exchange


def fingerprint(number: int) -> str:
    return f"h1:3f9a:{number:032x}"


def subject(user: str) -> str:
    return f"h1:3f9a:{user.encode().hex():0>32}"


def bearer(number: int, user: str = "ann", token: int = 1, **fields: object) -> Exchange:
    """A request of a user with a JWT; token: which of the user's."""
    sealed = fingerprint(int.from_bytes(user.encode(), "big") * 1000 + token)
    return exchange(
        number,
        headers=[("Host", "api.example.com"), ("Authorization", f"Bearer {{{sealed}}}")],
        credentials=[
            Credential(
                "header",
                "Authorization",
                sealed,
                scheme="Bearer",
                subject=subject(user),
                claims={"iss": "https://login", "aud": "orders", "exp": 1_700_000_000},
            )
        ],
        **fields,
    )


def cookie(number: int, name: str = "sid", user: int = 1) -> Exchange:
    sealed = fingerprint(user)
    return exchange(
        number,
        headers=[("Host", "api.example.com"), ("Cookie", f"theme=dark; {name}={{{sealed}}}")],
        credentials=[Credential("cookie", name, sealed)],
    )
