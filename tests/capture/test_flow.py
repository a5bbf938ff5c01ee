"""A flow between two connections that are told what to do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "http1"))

from wire_fakes import FakeLoop, FakeTransport, Server

from mirrorproxy.capture.flow import Flow
from mirrorproxy.capture.routes import Route
from mirrorproxy.capture.tap import IGNORED
from mirrorproxy.http1.client import ClientConnection
from mirrorproxy.http1.limits import ClientLimits
from mirrorproxy.http1.origin import Origin
from mirrorproxy.http1.pool import Pool
from mirrorproxy.metrics import volatile_slot

UPSTREAM = Origin("http", "10.0.3.7", 8080)


class LatePool(Pool):
    """A pool whose connection comes when the test says so."""

    def __init__(self):
        """No loop is needed."""

    def take(self, origin, method):
        return None

    def connect(self, origin, on_connected):
        self.on_connected = on_connected


class Plane:
    def __init__(self):
        self.active = 0
        self.slot = volatile_slot()
        self.pool = LatePool()
        self.pool_of = lambda _route: self.pool


def test_a_client_that_leaves_while_the_upstream_is_connected_to():
    """The upstream sees the request and the end behind it, as it would without us."""
    plane, server = Plane(), Server()
    route = Route("orders", UPSTREAM)
    server.service.handler = lambda client, head, _us: Flow(plane, client, head, route, IGNORED)
    server.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert server.connection.eof_received()
    upstream, transport = (
        ClientConnection(FakeLoop(), UPSTREAM, ClientLimits(), lambda *_: None),
        FakeTransport(),
    )
    upstream.connection_made(transport)
    plane.pool.on_connected(upstream)
    assert transport.written == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert transport.eof
