"""Free ports for servers that are told their port before they start."""

from __future__ import annotations

import random
import socket

# Below the ports that systems hand out by themselves (Linux from 32768, IANA from
# 49152): there, any outgoing connection might take one before its server does.
_FROM, _TO = 12_000, 32_000


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at this moment."""
    choose = random.SystemRandom()
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", choose.randrange(_FROM, _TO)))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
