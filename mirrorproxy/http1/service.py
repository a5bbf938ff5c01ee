"""A listener's service: what its connections have in common, and how they end together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mirrorproxy.http1.deadlines import Deadlines
from mirrorproxy.http1.handler import Handler
from mirrorproxy.http1.heads import RequestHead
from mirrorproxy.http1.limits import ServerLimits
from mirrorproxy.http1.server import ServerConnection


class Service:
    """What the connections of one listener have in common.

    handler(connection, head, started_us) returns the handler of a request.
    refused(status) is called for each request that was refused before it had one.
    strict: also refuse what is merely ugly, see `grammar`. draining: answer, then close.
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
        self.accepted = 0
        self.deadlines = Deadlines(loop)
        self.connections: set[ServerConnection] = set()

    def connect(self) -> ServerConnection:
        """Return the protocol of a new connection; the factory for create_server."""
        return ServerConnection(self)

    def drain(self) -> None:
        """Close idle connections now and the others after their answer."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    def close(self) -> None:
        """Abort all connections."""
        for connection in tuple(self.connections):
            connection.abort()
        self.deadlines.close()
