"""What rules look at in an exchange, worked out at most once each.

Pure. Everything is as captured: percent-escapes stay, nothing is rewritten yet.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_plus, urlsplit

from mirrorproxy.codec import body_of
from mirrorproxy.headers import first
from mirrorproxy.record import Exchange
from mirrorproxy.remembered import Remembered
from mirrorproxy.rules.coding import CannotRewriteError, media_type, plain_body

ReadBody = Callable[[str], bytes]
"""Reads the body object that a record refers to. Blocks; raises BodyUnreadError."""


class BodyUnreadError(Exception):
    """A body object that rules have to look at, and that cannot be read."""


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
    """One exchange, taken apart as rules need it.

    read_body: for a body that lies apart; without it such a request has none.
    """

    __slots__ = (
        "_body",
        "_headers",
        "_host",
        "_is_body_known",
        "_media",
        "_query",
        "_read_body",
        "exchange",
        "path",
        "query_text",
    )

    def __init__(self, exchange: Exchange, read_body: ReadBody | None = None) -> None:
        self.exchange = exchange
        self._read_body = read_body
        self._body: bytes | None = None
        self._is_body_known = False
        self._media: str | None = None
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
            self._host = _hosts[authority]
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

    @property
    def media(self) -> str:
        """The media type of the body, without parameters, in lower case; "" without one."""
        if self._media is None:
            self._media = media_type(first(self.exchange.request.headers, "content-type"))
        return self._media

    @property
    def body(self) -> bytes | None:
        """The body without its content coding; None if there is none that can be looked into.

        Raises BodyUnreadError, and codec.MalformedRecord if the record's cannot be decoded.
        """
        if not self._is_body_known:
            self._body = self._plain_body()
            self._is_body_known = True
        return self._body

    def _plain_body(self) -> bytes | None:
        request = self.exchange.request
        if request.body_ref is None:
            body = body_of(request)
        elif self._read_body is None:
            return None
        else:
            body = self._read_body(request.body_ref)
        try:
            return plain_body(body, first(request.headers, "content-encoding")) or None
        except CannotRewriteError:
            return None


def host_of(authority: str) -> str:
    """Return the host of ``host[:port]``, in lower case, brackets taken off; "" if malformed."""
    try:
        return urlsplit(f"//{authority.strip()}").hostname or ""
    except ValueError:
        return ""


_hosts = Remembered(host_of)
