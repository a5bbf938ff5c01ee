"""The production guard: nothing is sent back to where it was captured.

Pure. Compares scheme, host and port of every target with every authority that
clients asked for and every upstream in the capture. Equal addresses alone are
no proof (load balancers are shared): whoever can resolve names warns of them.
Where credentials are fetched may be shared too, so that is only warned of.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from mirrorproxy.errors import ConfigError
from mirrorproxy.headers import first
from mirrorproxy.http1.origin import Origin, parse_origin
from mirrorproxy.record import Exchange

MAX_KNOWN = 4096
"""So many captured places are remembered; hostile Host headers must not cost memory."""


class ProductionGuard:
    """Refuses targets that are production.

    targets: by name, those that are not allowed to be production (without
    ``allow_production: true``). logins: where credentials are fetched for them,
    by the name of their entry in the rule file. warn: takes a line.
    """

    def __init__(
        self,
        targets: Mapping[str, Origin],
        logins: Mapping[str, Origin] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._targets = {_normal(origin): name for name, origin in targets.items()}
        self._logins = {_normal(origin): name for name, origin in (logins or {}).items()}
        self._warn = warn
        self._known: set[tuple[str, str | None, str]] = set()
        self.places: set[Origin] = set()
        """Captured places so far, for a warning by address."""

    def check(self, exchange: Exchange) -> None:
        """Look at one captured exchange.

        Raises ConfigError if one of the targets is where it was captured.
        """
        headers = exchange.request.headers
        # Clients send it first (RFC 9110, 7.2).
        if headers and headers[0][0] == "Host":
            host: str | None = headers[0][1]
        else:
            host = first(headers, "host")
        key = (exchange.scheme, host, exchange.upstream)
        if key in self._known:
            return
        authority = f"{exchange.scheme}://{host}" if host else ""
        for url in (authority, exchange.upstream):
            origin = _origin(url)
            if origin is None:
                continue
            name = self._targets.get(origin)
            if name is not None:
                raise ConfigError(
                    f"target {name} is {origin}, where this traffic was captured: nothing more is "
                    "sent; name another target, or allow it with allow_production in the rules or "
                    "--allow-production"
                )
            login = self._logins.pop(origin, None)
            if login is not None and self._warn is not None:
                self._warn(
                    f"{login} fetches credentials from {origin}, where this traffic was captured: "
                    "production gives them out, and counts the logins"
                )
            if len(self.places) < MAX_KNOWN:
                self.places.add(origin)
        if len(self._known) < MAX_KNOWN:
            self._known.add(key)


def _origin(url: str) -> Origin | None:
    # What is no origin (a malformed Host, a log without an upstream) can be no target either.
    if not url:
        return None
    try:
        return _normal(parse_origin(url)[0])
    except ValueError:
        return None


def _normal(origin: Origin) -> Origin:
    host = origin.host.lower().rstrip(".")
    # This machine has many names, and each of them reaches the same listener.
    if host.endswith(".localhost") or _is_loopback(host):
        host = "localhost"
    return Origin(origin.scheme, host, origin.port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
