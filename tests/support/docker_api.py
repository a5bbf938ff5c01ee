"""A stand-in of the Docker API that serves the services and labels of a Compose file.

Owns a listening socket on loopback and its threads. Each service is one
container with the address 127.0.0.1; a test starts, stops and marks it
unhealthy, and listeners of events are told. Only what Traefik's provider asks
for is here.
"""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

_VERSION = re.compile(r"/v[0-9.]+(?=/)")
_PROJECT = "stand"


@dataclass
class Container:
    """One running service of the file. health: "" for none, healthy, unhealthy."""

    name: str
    labels: Mapping[str, str]
    health: str = ""
    running: bool = True


class DockerApi:
    """The API; a context manager. compose: the file as read from YAML, labels as a mapping."""

    def __init__(self, compose: Mapping[str, Any]) -> None:
        self.containers = {
            name: Container(
                name,
                {key: str(value) for key, value in service.get("labels", {}).items()},
                "healthy" if "healthcheck" in service else "",
            )
            for name, service in compose["services"].items()
        }
        self._listeners: list[queue.Queue[bytes | None]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """Its address as Traefik takes it."""
        return f"tcp://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> DockerApi:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            for listener in self._listeners:
                listener.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def die(self, name: str) -> None:
        """Let a container end."""
        self.containers[name].running = False
        self._tell("die", name)

    def start(self, name: str) -> None:
        """Let a container run again."""
        self.containers[name].running = True
        self._tell("start", name)

    def set_health(self, name: str, health: str) -> None:
        """Let a container's health check say something else."""
        self.containers[name].health = health
        self._tell(f"health_status: {health}", name)

    def listen(self) -> queue.Queue[bytes | None]:
        """Return a queue of events to come, None for the end."""
        listener: queue.Queue[bytes | None] = queue.Queue()
        with self._lock:
            self._listeners.append(listener)
        return listener

    def answer(self, path: str) -> object | None:
        """Return what the API answers for a path without its version, None for 404."""
        if path == "/version":
            return {"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24"}
        if path == "/containers/json":
            return [
                {"Id": one.name, "Names": [f"/{_PROJECT}-{one.name}-1"]}
                for one in self.containers.values()
                if one.running
            ]
        found = re.fullmatch(r"/containers/([^/]+)/json", path)
        one = self.containers.get(found[1]) if found else None
        return _inspected(one) if one is not None and one.running else None

    def _tell(self, action: str, name: str) -> None:
        event = {"Type": "container", "Action": action, "Actor": {"ID": name}}
        with self._lock:
            for listener in self._listeners:
                listener.put(json.dumps(event).encode() + b"\n")


def _inspected(one: Container) -> object:
    state: dict[str, object] = {"Status": "running", "Running": True}
    if one.health:
        state["Health"] = {"Status": one.health}
    labels = {
        **one.labels,
        "com.docker.compose.project": _PROJECT,
        "com.docker.compose.service": one.name,
    }
    return {
        "Id": one.name,
        "Name": f"/{_PROJECT}-{one.name}-1",
        "State": state,
        "HostConfig": {"NetworkMode": f"{_PROJECT}_default"},
        "Config": {"Labels": labels},
        "NetworkSettings": {
            "Ports": {},
            "Networks": {f"{_PROJECT}_default": {"IPAddress": "127.0.0.1"}},
        },
    }


def _handler(api: DockerApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = _VERSION.sub("", urlsplit(self.path).path)
            if path == "/events":
                self._events()
                return
            found = "OK" if path == "/_ping" else api.answer(path)
            answer = json.dumps(found).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Api-Version", "1.48")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        def _events(self) -> None:
            listener = api.listen()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.flush()
            while (event := listener.get()) is not None:
                try:
                    self.wfile.write(event)
                    self.wfile.flush()
                except OSError:
                    return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
