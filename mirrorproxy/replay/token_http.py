"""Requests for tokens: one HTTP request, and an answer of bounded size.

Owns the translation of what goes wrong into TokenError. A message names the host and a
status, never an address with its path and query, a body or a header: each may hold a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from mirrorproxy.replay.tokens import TokenError

MAX_ANSWER_BYTES = 1 << 20
_MAX_RETRY_AFTER_S = 300.0


class Answer(NamedTuple):
    """What was answered. set_cookies: the values of Set-Cookie, in order."""

    status: int
    set_cookies: list[str]
    body: bytes
    retry_after_s: float


def open_session(tls: Any) -> aiohttp.ClientSession:
    """Return a session for token requests; tls: a context, None for the usual authorities."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=True if tls is None else tls, limit=64),
        # Nobody's cookies are sent for somebody else.
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    timeout_s: float,
    headers: Mapping[str, str],
    data: bytes | None = None,
) -> Answer:
    """Send one request and return its whole answer, whatever its status.

    Raises TokenError if there is none.
    """
    problem = ""
    try:
        async with session.request(
            method,
            url,
            data=data,
            headers=headers,
            # A redirect would hand the secret to whoever is named there.
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    problem = "an answer of over 1 MiB"
                    break
            else:
                return Answer(
                    response.status,
                    response.headers.getall("Set-Cookie", []),
                    bytes(body),
                    _retry_after_s(response.headers.get("Retry-After", "")),
                )
    except TimeoutError:
        problem = f"no answer within {timeout_s:g}s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        problem = type(error).__name__
    # Outside of the handlers: an error's context would keep what they say.
    raise TokenError(f"{host_of(url)}: {problem}")


def refusal(url: str, answer: Answer, detail: str = "") -> TokenError:
    """Return the error for an answer that is a refusal or a failure."""
    is_passing = answer.status >= 500 or answer.status in (408, 425, 429)
    return TokenError(
        f"{host_of(url)}: HTTP {answer.status}{detail}",
        is_final=not is_passing,
        retry_after_s=answer.retry_after_s,
    )


def host_of(url: str) -> str:
    """Return the host of a URL."""
    return urlsplit(url).hostname or "?"


def _retry_after_s(text: str) -> float:
    return min(float(text), _MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() else 0.0
