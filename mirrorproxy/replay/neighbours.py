"""Neighbours: targets that share an address with where traffic was captured.

Owns the resolving of names for one warning. An equal address is no proof of a
mistake (load balancers are shared), so nothing is ever refused for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping

from mirrorproxy.http1.origin import Origin

MAX_RESOLVED = 32
"""So many captured hosts are looked up at most: their names come from strangers."""


async def resolve(host: str) -> list[str]:
    """Return the addresses of a host; none if it has none or is no name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return sorted({str(info[4][0]) for info in found})


class Neighbours:
    """Warns once for each target that has the address of a captured place.

    targets: by name. places: captured so far; grows while the replay runs.
    resolve: host -> addresses.
    """

    def __init__(
        self,
        targets: Mapping[str, Origin],
        places: set[Origin],
        warn: Callable[[str], None],
        resolve: Callable[[str], Awaitable[list[str]]] = resolve,
    ) -> None:
        self._targets = targets
        self._places = places
        self._warn = warn
        self._resolve = resolve
        self._target_addresses: dict[str, str] | None = None
        self._resolved: set[str] = set()

    async def look(self) -> None:
        """Resolve what is new, and warn of what it shows."""
        if self._target_addresses is None:
            self._target_addresses = {
                address: name
                for name, origin in self._targets.items()
                for address in await self._resolve(origin.host)
                # On this machine itself everything is at one address.
                if not _is_loopback(address)
            }
        if not self._target_addresses:
            return
        for host in {place.host for place in tuple(self._places)} - self._resolved:
            if len(self._resolved) >= MAX_RESOLVED:
                return
            self._resolved.add(host)
            for address in await self._resolve(host):
                name = self._target_addresses.pop(address, None)
                if name is not None:
                    self._warn(
                        f"target {name} has the address {address} of {host}, where traffic was "
                        "captured; fine behind a shared load balancer"
                    )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
