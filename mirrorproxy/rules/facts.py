"""What rules look at in an exchange, worked out at most once each.

Pure. Everything is as captured: percent-escapes stay, nothing is rewritten yet.
"""

from __future__ import annotations

from urllib.parse import unquote_plus, urlsplit

from mirrorproxy.headers import first
from mirrorproxy.record import Exchange


def split_target(target: str) -> tuple[str, str]:
    """Return (path, query) of a request target as received.

    query is "" or begins with "?". The scheme and authority of an absolute
    target are left out; ``*`` is a path of its own.
    """
    if not target.startswith("/") and "://" in target:
        _, _, rest = target.partition("://")
        ends = [at for at in (rest.find("/"), rest.find("?")) if at >= 0]
        target = rest[min(ends) :] if ends else ""
        target = target if target.startswith("/") else f"/{target}"
    path, mark, query = target.partition("?")
    return path, mark + query


class Facts:
    """One exchange, taken apart as rules need it."""

    __slots__ = ("_headers", "_host", "_query", "exchange", "path", "query_text")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.path, self.query_text = split_target(exchange.request.target)
        self._host: str | None = None
        self._headers: dict[str, list[str]] | None = None
        self._query: dict[str, list[str]] | None = None

    @property
    def host(self) -> str:
        """The host in lower case without its port; "" if the request names none."""
        if self._host is None:
            request = self.exchange.request
            authority = first(request.headers, "host") or ""
            if "://" in request.target[:9]:
                authority = request.target.partition("://")[2].partition("/")[0]
            self._host = host_of(authority)
        return self._host

    @property
    def headers(self) -> dict[str, list[str]]:
        """The values of each header, by its name in lower case."""
        if self._headers is None:
            self._headers = {}
            for name, value in self.exchange.request.headers:
                self._headers.setdefault(name.lower(), []).append(value)
        return self._headers

    @property
    def query(self) -> dict[str, list[str]]:
        """The values of each key of the query, both decoded."""
        if self._query is None:
            self._query = {}
            for pair in self.query_text[1:].split("&"):
                if pair:
                    key, _, value = pair.partition("=")
                    self._query.setdefault(unquote_plus(key), []).append(unquote_plus(value))
        return self._query


def host_of(authority: str) -> str:
    """Return the host of ``host[:port]``, in lower case, brackets taken off; "" if malformed."""
    try:
        return urlsplit(f"//{authority.strip()}").hostname or ""
    except ValueError:
        return ""
