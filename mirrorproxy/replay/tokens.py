"""Tokens: what a source of credentials gives, and how it says that it cannot.

Values only. A token's text is never shown: not in a representation, not in an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from mirrorproxy.shot import Want

NO_TOKEN = "no token"  # noqa: S105 - a reason
"""Why a shot is not sent whose credential cannot be had."""


class Token(msgspec.Struct, frozen=True):
    """A credential of the target's.

    value: the bare text. lifetime_s: from the moment it was asked for; None if it
    holds until the target refuses it. renewal: what it can be renewed with, secret.
    """

    value: str
    lifetime_s: float | None = None
    renewal: str | None = None

    def __repr__(self) -> str:
        return f"Token(lifetime_s={self.lifetime_s})"


class TokenError(Exception):
    """A credential that could not be had; the message holds nothing secret.

    is_final: asking again for the same user gives the same answer. retry_after_s: what
    the other side asked to wait.
    """

    def __init__(self, message: str, *, is_final: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.is_final = is_final
        self.retry_after_s = retry_after_s


Fetch = Callable[[Want, Token | None], Awaitable[Token]]
"""Fetches a credential; is given the one before it, if there was one. Raises TokenError."""


def is_usable(value: str) -> bool:
    """Tell whether a text can stand in a header, and is one."""
    return (
        bool(value)
        and value == value.strip()
        and all(" " <= character <= "\xff" and character != "\x7f" for character in value)
    )
