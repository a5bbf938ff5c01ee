"""The proxy: the data plane of one worker, from a new connection to each request's flow.

Owns what the flows of a worker share: routes, pools, counters, and the service
that reads requests. What happens to one request is `flow`'s business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from mirrorproxy.capture.flow import Flow
from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.capture.tap import Tap
from mirrorproxy.http1.handler import Handler
from mirrorproxy.http1.heads import RequestHead
from mirrorproxy.http1.limits import ServerLimits
from mirrorproxy.http1.origin import Origin
from mirrorproxy.http1.pool import Pool
from mirrorproxy.http1.server import ServerConnection
from mirrorproxy.http1.service import Service
from mirrorproxy.metrics import INDEX, Slot

_CONNECTIONS = INDEX["connections"]
_OPEN_CONNECTIONS = INDEX["open_connections"]
_OPEN_REQUESTS = INDEX["open_requests"]
_REFUSED = INDEX["refused"]
_NO_ROUTE = INDEX["failed_no_route"]


class Recorder(Protocol):
    """Gives each request its tap; see `capture.recorder`."""

    def begin(
        self, head: RequestHead, *, service: str, upstream: Origin, peer: str, started_us: int
    ) -> Tap:
        """Return the tap of a request. Never raises."""
        ...


class Proxy:
    """The data plane of one worker, to be made inside its loop.

    pool_of: the pool that reaches a route's upstream. slot: counts, see `metrics`.
    active: how many requests (and tunnels) are under way.
    """

    def __init__(
        self,
        routes: Routes,
        recorder: Recorder,
        pool_of: Callable[[Route], Pool],
        limits: ServerLimits,
        slot: Slot,
        *,
        strict: bool = False,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.recorder = recorder
        self.pool_of = pool_of
        self.slot = slot
        self.active = 0
        self._routes = routes
        self._service = Service(self.loop, limits, self._handler, self._refused, strict=strict)

    def protocol_factory(self) -> ServerConnection:
        """Return the protocol of a new client's connection, for loop.create_server."""
        return self._service.connect()

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._service.connections)

    def drain(self) -> None:
        """Close idle connections, and the others after the answer under way."""
        self._service.drain()

    def close(self) -> None:
        """Abort what is still there. Requests under way are told to their taps as failed."""
        self._service.close()

    def update_gauges(self) -> None:
        """Write the numbers that are not counted as they happen; call it now and then."""
        self.slot[_CONNECTIONS] = self._service.accepted
        self.slot[_OPEN_CONNECTIONS] = len(self._service.connections)
        self.slot[_OPEN_REQUESTS] = self.active

    def _handler(self, client: ServerConnection, head: RequestHead, started_us: int) -> Handler:
        route = self._routes.find(head.host, head.target)
        if route is None:
            self.slot[_NO_ROUTE] += 1
            return _NoRoute(client, head)
        tap = self.recorder.begin(
            head,
            service=route.service,
            upstream=route.upstream,
            peer=client.peer,
            started_us=started_us,
        )
        return Flow(self, client, head, route, tap)

    def _refused(self, status: int) -> None:
        self.slot[_REFUSED] += 1


class _NoRoute(Handler):
    """Answers what no service takes."""

    __slots__ = ("_client", "_head")

    def __init__(self, client: ServerConnection, head: RequestHead) -> None:
        self._client = client
        self._head = head

    def start(self, body: bytes | None) -> None:
        # Keeps the connection if the request is complete: a load balancer shares it.
        client = self._client
        client.refuse(
            404,
            "no service takes this host and path",
            keep=client.may_keep and self._head.keep_alive,
            to_head=self._head.method == b"HEAD",
        )
