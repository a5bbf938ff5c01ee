"""A stand-in of the Kubernetes API: as much as Traefik's provider lists and watches.

Owns a listening socket on loopback and its threads. Serves the objects that a
test gives it, and tells watchers of those that change. Endpoints of services
are given by the test: there are no pods.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

_KINDS = {
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "ingressclasses": ("networking.k8s.io/v1", "IngressClass"),
    "services": ("v1", "Service"),
    "nodes": ("v1", "Node"),
    "secrets": ("v1", "Secret"),
    "configmaps": ("v1", "ConfigMap"),
}
_TRAEFIK = {
    name.lower() + "s": ("traefik.io/v1alpha1", name)
    for name in (
        "IngressRoute",
        "IngressRouteTCP",
        "IngressRouteUDP",
        "Middleware",
        "MiddlewareTCP",
        "ServersTransport",
        "ServersTransportTCP",
        "TLSOption",
        "TLSStore",
        "TraefikService",
    )
}
KINDS = _KINDS | _TRAEFIK


def endpoints(service: str, ports: Mapping[str, int], *, ready: bool = True) -> Object:
    """Return the endpoints of a service: one on 127.0.0.1, by port name; not ready: none."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}] if ready else [],
        "ports": [{"name": name, "port": port} for name, port in ports.items()],
    }


class KubeApi:
    """The API; a context manager. objects: all of one namespace, ``default``."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self._lock = threading.Lock()
        self._version = 1
        self._objects: dict[tuple[str, str], Object] = {}
        self._watchers: list[tuple[str, queue.Queue[bytes | None]]] = []
        for one in objects:
            self.put(one)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> KubeApi:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            for _, watcher in self._watchers:
                watcher.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def put(self, one: Object) -> None:
        """Add an object, or replace the one of its kind and name."""
        kind, name = one["kind"], one["metadata"]["name"]
        with self._lock:
            self._version += 1
            metadata = {
                "namespace": "default",
                "uid": f"{kind}-{name}",
                "resourceVersion": str(self._version),
                **one["metadata"],
            }
            stored = {**one, "metadata": metadata}
            known = (kind, name) in self._objects
            self._objects[kind, name] = stored
            line = _event("MODIFIED" if known else "ADDED", stored)
            for wanted, watcher in self._watchers:
                if wanted == kind:
                    watcher.put(line)

    def listed(self, kind: str) -> tuple[str, list[Object]]:
        """Return the resource version, and the objects of a kind."""
        with self._lock:
            found = [one for (each, _), one in self._objects.items() if each == kind]
            return str(self._version), found

    def watch(self, kind: str, *, from_start: bool) -> queue.Queue[bytes | None]:
        """Return a queue of events; from_start: what is there comes first, then a bookmark."""
        watcher: queue.Queue[bytes | None] = queue.Queue()
        with self._lock:
            if from_start:
                for (each, _), one in self._objects.items():
                    if each == kind:
                        watcher.put(_event("ADDED", one))
                watcher.put(_event("BOOKMARK", _bookmark(kind, self._version)))
            self._watchers.append((kind, watcher))
        return watcher


def _event(kind: str, one: Object) -> bytes:
    return json.dumps({"type": kind, "object": one}).encode() + b"\n"


def _bookmark(kind: str, version: int) -> Object:
    group = next(group for group, each in KINDS.values() if each == kind)
    metadata = {
        "resourceVersion": str(version),
        "annotations": {"k8s.io/initial-events-end": "true"},
    }
    return {"apiVersion": group, "kind": kind, "metadata": metadata}


def _handler(api: KubeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            group, kind = KINDS.get(parts.path.rsplit("/", 1)[1], ("v1", "Status"))
            if "watch" in query:
                self._watch(kind, from_start="sendInitialEvents" in query)
                return
            version, found = api.listed(kind)
            answer: Object = {
                "apiVersion": group,
                "kind": f"{kind}List",
                "metadata": {"resourceVersion": version},
                "items": found,
            }
            if parts.path == "/version":
                answer = {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _watch(self, kind: str, *, from_start: bool) -> None:
            watcher = api.watch(kind, from_start=from_start)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.flush()
            while (event := watcher.get()) is not None:
                try:
                    self.wfile.write(event)
                    self.wfile.flush()
                except OSError:
                    return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
