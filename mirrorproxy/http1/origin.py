"""An origin: scheme, host and port, as in a URL."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Where connections go. scheme: "http" or "https". host: without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """What a Host header says: the port is left out where the scheme implies it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse_origin(url: str) -> tuple[Origin, str]:
    """Return the origin of a URL, and its path without a final slash ("" for none).

    Raises ValueError with one line that says what is wrong; it never repeats
    user information, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError as error:
        raise ValueError("not a URL such as http://10.0.3.7:8080") from error
    if parts.scheme not in _PORTS:
        raise ValueError("a URL here begins with http:// or https://")
    if not host or any(c.isspace() or c < " " for c in host):
        raise ValueError("the URL names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL must not hold a user or a password")
    if parts.query or parts.fragment:
        raise ValueError("the URL must not hold a query or a fragment")
    if port == 0:
        raise ValueError("port 0 is not one to connect to")
    return Origin(parts.scheme, host, port or _PORTS[parts.scheme]), parts.path.rstrip("/")
