"""A listener's service: what its connections have in common, and how they end together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mirrorproxy.http1.deadlines import Deadlines
from mirrorproxy.http1.handler import Handler
from mirrorproxy.http1.heads import RequestHead
from mirrorproxy.http1.limits import ServerLimits
from mirrorproxy.http1.server import ServerConnection

_LAST_IDLE_S = 1.0
"""What an idle connection has left when draining begins: a request may be on its way.

nginx's keepalive_min_timeout is for the same. Closed at once, the client could
not know whether its request was acted on.
"""


class Service:
    """What the connections of one listener have in common.

    handler(connection, head, started_us) returns the handler of a request.
    refused(status) is called for each request that was refused before it had one.
    strict: also refuse what is merely ugly, see `grammar`. draining: answer, then close.
    idle_timeout_s: how long a connection may be kept without a request.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: ServerLimits,
        handler: Callable[[ServerConnection, RequestHead, int], Handler],
        refused: Callable[[int], None],
        *,
        strict: bool = False,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.handler = handler
        self.refused = refused
        self.strict = strict
        self.draining = False
        self.idle_timeout_s = limits.idle_timeout_s
        self.accepted = 0
        self.deadlines = Deadlines(loop)
        self.connections: set[ServerConnection] = set()

    def connect(self) -> ServerConnection:
        """Return the protocol of a new connection; the factory for create_server."""
        return ServerConnection(self)

    def drain(self) -> None:
        """Close each connection after the answer under way or to come, idle ones in a moment."""
        self.draining = True
        self.idle_timeout_s = min(self.idle_timeout_s, _LAST_IDLE_S)
        by = self.loop.time() + self.idle_timeout_s
        for connection in self.connections:
            connection.close_if_idle(by)

    def close(self) -> None:
        """Abort all connections."""
        for connection in tuple(self.connections):
            connection.abort()
        self.deadlines.close()
