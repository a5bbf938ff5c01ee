"""Listening sockets: the addresses a mirror answers at, bound before anything is started.

Owns parsing and binding. It never accepts: workers do, on the sockets that the
supervisor keeps open for them.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import NamedTuple

from mirrorproxy.errors import ConfigError

BACKLOG = 4096
"""Connections that wait while a worker is restarted; the kernel caps it at net.core.somaxconn."""


class Address(NamedTuple):
    """Where to listen. host: a name or an address without brackets; port: 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> Address:
    """Return the address of ``HOST:PORT``, ``[IPv6]:PORT`` or ``:PORT`` (every interface).

    Raises ValueError with one line that says what is expected.
    """
    host, colon, port = text.strip().rpartition(":")
    expected = f"expected HOST:PORT, such as 127.0.0.1:8080, not {text!r}"
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(expected)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(expected) from None
    elif ":" in host or any(character.isspace() for character in host) or "/" in host:
        raise ValueError(expected)
    return Address(host or "0.0.0.0", int(port))  # noqa: S104 - what `:PORT` means everywhere


def bind_shared(
    address: Address, count: int, *, beside_others: bool = False
) -> list[socket.socket]:
    """Return count listening sockets on one address, among which the kernel spreads connections.

    beside_others: whether another process may be listening there already, as
    the workers of a supervisor that was killed still do. Without it a port in
    use is refused: SO_REUSEPORT alone would silently share the traffic.
    Raises ConfigError if the address cannot be used.
    """
    if not beside_others:
        probe = _bind(address, shared=False)
        # Port 0 is decided by the first real socket, not by the probe.
        probe.close()
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_bind(address, shared=True))
            address = Address(address.host, sockets[0].getsockname()[1])
    except ConfigError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def bind_alone(address: Address) -> socket.socket:
    """Return one listening socket that nobody shares. Raises ConfigError like `bind_shared`."""
    return _bind(address, shared=False)


def address_of(listening: socket.socket) -> Address:
    """Return the address a socket is bound to."""
    host, port = listening.getsockname()[:2]
    return Address(host, port)


def _bind(address: Address, *, shared: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {address}: the host name is not known") from error
    family, kind, protocol, _, target = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(target)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {address}: {_reason(error)}") from error
    return listening


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    if error.errno == errno.EACCES:
        return "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE)"
    return os.strerror(error.errno) if error.errno else str(error)
