"""A stand-in of Consul's catalog, as much of it as Traefik's consulCatalog provider asks for.

Owns a listening socket on loopback and a thread. Holds what a test puts in:
no health checks run, nothing blocks. What needs Consul's own behaviour is
tested with Consul itself.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Registered:
    """One instance. status: passing, warning or critical."""

    port: int
    tags: Sequence[str]
    address: str = "127.0.0.1"
    status: str = "passing"


class Catalog:
    """The catalog; a context manager. services: instances by name, replaced as a whole."""

    def __init__(self, services: Mapping[str, Sequence[Registered]]) -> None:
        self.services = services
        catalog = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = json.dumps(catalog.answer(urlsplit(self.path).path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.send_header("X-Consul-Index", "1")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Catalog:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, path: str) -> object:
        """Return what Consul's HTTP API answers for a path."""
        services = self.services
        if path == "/v1/catalog/services":
            return {
                name: sorted({tag for one in instances for tag in one.tags})
                for name, instances in services.items()
            }
        _, _, kind, what, name = path.split("/")
        instances = list(enumerate(services.get(name, ())))
        if (kind, what) == ("health", "service"):
            return [
                {
                    "Node": {"Node": "node-1", "Address": one.address, "Datacenter": "dc1"},
                    "Service": {
                        "ID": f"{name}-{number}",
                        "Service": name,
                        "Address": one.address,
                        "Port": one.port,
                        "Tags": list(one.tags),
                    },
                    "Checks": [{"CheckID": "c", "Status": one.status, "ServiceName": name}],
                }
                for number, one in instances
            ]
        return [
            {
                "Node": "node-1",
                "Address": one.address,
                "Datacenter": "dc1",
                "ServiceID": f"{name}-{number}",
                "ServiceName": name,
                "ServiceAddress": one.address,
                "ServicePort": one.port,
                "ServiceTags": list(one.tags),
            }
            for number, one in instances
        ]
