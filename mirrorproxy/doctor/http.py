"""Fetching JSON over HTTP: from a mirror's admin server and from Traefik's API.

Owns nothing that lasts. What comes back is bounded, and is whatever the peer said.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mirrorproxy.errors import ConfigError

TIMEOUT_S = 10.0
_MAX_BYTES = 16 << 20


class Unanswered(NamedTuple):
    """Why there is no answer, in words."""

    reason: str


class Fetched(NamedTuple):
    """An answer. ahead_s: our clock before the peer's, to a second; None if it has none."""

    value: Any
    ahead_s: float | None


def check_url(text: str, option: str) -> str:
    """Return a URL without its last slash. Raises ConfigError if it is none."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in text:
        raise ConfigError("expected a URL such as http://127.0.0.1:9808", file=option)
    return text.rstrip("/")


def fetch(url: str, path: str) -> Fetched | Unanswered:
    """Return the JSON below a URL that `check_url` has taken, or why there is none."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path + path)
        response = connection.getresponse()
        content = response.read(_MAX_BYTES)
        if response.status != http.client.OK:
            return Unanswered(f"answers {response.status} for {path}")
        return Fetched(json.loads(content), ahead_of(response.headers.get("Date")))
    except OSError as error:
        return Unanswered(f"no answer: {error.strerror or 'in time'}")
    except (http.client.HTTPException, ValueError):
        return Unanswered(f"no JSON for {path}")
    finally:
        connection.close()


def ahead_of(date: str | None, now_s: Callable[[], float] = time.time) -> float | None:
    """Return how many seconds our clock is ahead of a Date header, None where it says none.

    The header has whole seconds: half of one is what it is wrong by on average.
    """
    try:
        return now_s() - parsedate_to_datetime(date).timestamp() - 0.5 if date else None
    except (ValueError, TypeError):
        return None
