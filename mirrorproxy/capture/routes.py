"""Routes: which service a request is for, by its host and path.

Pure. The first route that fits decides, in the order given. Compiled once; a
host's routes are remembered, bounded, because hosts come from clients.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mirrorproxy.capture.paths import compile_paths, path_of
from mirrorproxy.http1.origin import Origin

_HOST_PATTERN = re.compile(r"(?:\*\.)?[A-Za-z0-9._\-]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?")
_HOSTS_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Route:
    """One service behind the proxy.

    upstream, base_path: where its requests go, and what is put before their
    paths ("" for nothing; no final slash). hosts: ``api.example.com``,
    ``*.example.com`` (any name below it), with a port to ask for that port.
    paths: globs, see `compile_paths`. Empty takes all.
    """

    service: str
    upstream: Origin
    base_path: str = ""
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


_Compiled = tuple[re.Pattern[str] | None, Route]


class Routes:
    """All routes of a proxy, compiled. named: the same by their lower-case names.

    Raises ValueError with one line that names the service and the bad pattern.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: list[tuple[Route, re.Pattern[str] | None]] = []
        for route in routes:
            for host in route.hosts:
                if not _HOST_PATTERN.fullmatch(host):
                    raise ValueError(
                        f"service {route.service}: a host is a name, or *. and a name: {host!r}"
                    )
            try:
                self._routes.append((route, compile_paths(route.paths)))
            except ValueError as error:
                raise ValueError(f"service {route.service}: {error}") from None
        self.named = {route.service.lower().encode(): route for route, _ in self._routes}
        first = self._routes[0] if self._routes else None
        self._only = first[0] if first and not first[0].hosts and not first[0].paths else None
        self._of_host = functools.lru_cache(_HOSTS_REMEMBERED)(self._select)

    def find(self, host: bytes, target: bytes) -> Route | None:
        """Return the route of a request, or None.

        host: as in `RequestHead.host`: lower-case, with its port; b"" for none.
        target: as received.
        """
        if self._only is not None:
            return self._only
        path: str | None = None
        for paths, route in self._of_host(host):
            if paths is None:
                return route
            if path is None:
                path = path_of(target.decode("latin-1"))
            if paths.fullmatch(path):
                return route
        return None

    def _select(self, host: bytes) -> tuple[_Compiled, ...]:
        text = host.decode("latin-1").lower()
        name, port = _split_port(text)
        return tuple(
            (paths, route)
            for route, paths in self._routes
            if not route.hosts or any(_fits(pattern.lower(), name, port) for pattern in route.hosts)
        )


def _split_port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    # A name's final dot only says that it is complete.
    return name.removesuffix("."), port


def _fits(pattern: str, name: str, port: str) -> bool:
    wanted_name, wanted_port = _split_port(pattern)
    if wanted_port and wanted_port != port:
        return False
    if wanted_name.startswith("*."):
        return name.endswith(wanted_name[1:]) and len(name) > len(wanted_name) - 1
    return name == wanted_name
