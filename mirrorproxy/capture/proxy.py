"""The proxy: the data plane of one worker, from a new connection to each request's flow.

Owns what the flows of a worker share: routes, pools, counters, and the service
that reads requests. What happens to one request is `flow`'s business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from mirrorproxy.capture.apps import Table
from mirrorproxy.capture.balanced import BalancedFlow
from mirrorproxy.capture.copies import Copy
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
_UNKNOWN_APP = INDEX["failed_unknown_app"]
_NO_INSTANCE = INDEX["failed_no_instance"]


class Recorder(Protocol):
    """Gives each request its tap; see `capture.recorder`."""

    def begin(
        self,
        head: RequestHead,
        *,
        service: str,
        upstream: Origin | None,
        peer: str,
        started_us: int,
    ) -> Tap:
        """Return the tap of a request. Never raises."""
        ...


class Proxy:
    """The data plane of one worker, to be made inside its loop.

    pool_of: the pool that reaches a route's upstream. slot: counts, see `metrics`.
    active: how many requests (and tunnels) are under way. strict: for clients
    that connect directly; what they say about the app they want is not believed.
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
        self._table = Table(routes)
        self._believes_app = not strict
        self._service = Service(self.loop, limits, self._handler, self._refused, strict=strict)
        self._copies = Service(self.loop, limits, self._copy, self._refused)

    def protocol_factory(self) -> ServerConnection:
        """Return the protocol of a new client's connection, for loop.create_server."""
        return self._service.connect()

    def copies_factory(self) -> ServerConnection:
        """Return the protocol of a new connection that brings copies."""
        return self._copies.connect()

    def use(self, table: Table) -> None:
        """Look requests up here from the next one on."""
        self._table = table

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._service.connections) + len(self._copies.connections)

    def drain(self) -> None:
        """Close idle connections, and the others after the answer under way."""
        self._service.drain()
        self._copies.drain()

    def close(self) -> None:
        """Abort what is still there. Requests under way are told to their taps as failed."""
        self._service.close()
        self._copies.close()

    def update_gauges(self) -> None:
        """Write the numbers that are not counted as they happen; call it now and then."""
        self.slot[_CONNECTIONS] = self._service.accepted + self._copies.accepted
        self.slot[_OPEN_CONNECTIONS] = self.open_connections
        self.slot[_OPEN_REQUESTS] = self.active

    def _handler(self, client: ServerConnection, head: RequestHead, started_us: int) -> Handler:
        table = self._table
        if head.app is None or not self._believes_app:
            route = table.routes.find(head.host, head.target)
        else:
            route = table.named.get(head.app)
        if route is None:
            return self._unknown(client, head, named=self._believes_app and head.app is not None)
        balance = table.balances.get(route.service) if table.balances else None
        member = None
        if balance is not None:
            member = balance.pick(time.monotonic())
            if member is None:
                self.slot[_NO_INSTANCE] += 1
                return _Refusing(client, head, 503, "no instance of this app is healthy")
            route = member.route
        tap = self.recorder.begin(
            head,
            service=route.service,
            upstream=route.upstream,
            peer=client.peer,
            started_us=started_us,
        )
        if balance is None or member is None:
            return Flow(self, client, head, route, tap)
        return BalancedFlow(self, client, head, balance, member, tap)

    def _copy(self, client: ServerConnection, head: RequestHead, started_us: int) -> Handler:
        table = self._table
        if head.app is None:
            route = table.routes.find(head.host, head.target)
        else:
            route = table.named.get(head.app)
        if route is None:
            return self._unknown(client, head, named=head.app is not None)
        tap = self.recorder.begin(
            head, service=route.service, upstream=None, peer=client.peer, started_us=started_us
        )
        return Copy(self, client, head, tap)

    def _unknown(self, client: ServerConnection, head: RequestHead, *, named: bool) -> Handler:
        if named:
            self.slot[_UNKNOWN_APP] += 1
            return _Refusing(client, head, 421, "no app has the name in X-Mirrorproxy-App")
        self.slot[_NO_ROUTE] += 1
        return _Refusing(client, head, 404, "no service takes this host and path")

    def _refused(self, status: int) -> None:
        self.slot[_REFUSED] += 1


class _Refusing(Handler):
    """Answers what goes nowhere. reason: our words, one line."""

    __slots__ = ("_client", "_head", "_reason", "_status")

    def __init__(
        self, client: ServerConnection, head: RequestHead, status: int, reason: str
    ) -> None:
        self._client = client
        self._head = head
        self._status = status
        self._reason = reason

    def start(self, body: bytes | None) -> None:
        # Keeps the connection if the request is complete: a load balancer shares it.
        client = self._client
        client.refuse(
            self._status,
            self._reason,
            keep=client.may_keep and self._head.keep_alive,
            to_head=self._head.method == b"HEAD",
        )
