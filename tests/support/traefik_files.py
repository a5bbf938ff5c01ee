"""Real Traefik on a configuration file of ``traefik/``, with its addresses exchanged.

Owns the process, its folder and what it writes. A file is taken as it stands:
only whole values that a test names are replaced, each of which must be there,
and what no user would want (an API without a password, on loopback) is added.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from support.commands import free_port
from support.origin import RawOrigin
from support.proxies import find_program

START_TIMEOUT_S = 20.0
_PAUSE_S = 0.02

Swaps = Mapping[object, object]
"""Values as written -> values for this machine."""


def load(path: Path, swaps: Swaps) -> Any:
    """Return what a YAML file holds, with values exchanged; one that is not there is a fault."""
    return exchanged(yaml.safe_load(path.read_text()), swaps)


def exchanged(data: Any, swaps: Swaps) -> Any:
    """Return data with whole values exchanged; AssertionError for one that is not there."""
    left = set(swaps)

    def visit(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: visit(item) for key, item in value.items()}
        if isinstance(value, list):
            return [visit(item) for item in value]
        if value in swaps:
            left.discard(value)
            return swaps[value]
        return value

    changed = visit(data)
    assert not left, f"not in the file: {left}"
    return changed


class Traefik:
    """Traefik with a static configuration; a context manager.

    static: as in a file. dynamic: for a file provider of its own, None for
    none. Entry points that static names must have loopback addresses by now.
    """

    def __init__(
        self, place: Path, static: Mapping[str, Any], dynamic: Mapping[str, Any] | None = None
    ) -> None:
        self._place = place
        self._api = free_port()
        self._dynamic = place / "dynamic.yaml"
        self._log = place / "traefik.log"
        settings = dict(static) | {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "api": {"insecure": True},
        }
        settings["entryPoints"] = {
            **static["entryPoints"],
            "traefik": {"address": f"127.0.0.1:{self._api}"},
        }
        # By default Traefik gathers changes for two seconds.
        settings["providers"] = {"providersThrottleDuration": "50ms", **static["providers"]}
        if dynamic is not None:
            self.write(dynamic)
            settings["providers"]["file"] = {"filename": str(self._dynamic), "watch": True}
        config = place / "traefik.yaml"
        config.write_text(yaml.safe_dump(settings))
        self._argv = [find_program("traefik") or "traefik", f"--configFile={config}"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Traefik:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._argv, stdout=output, stderr=output, cwd=self._place
            )
        self.wait(lambda: self.api("/api/version") is not None, "its API")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def write(self, dynamic: Mapping[str, Any]) -> None:
        """Replace the dynamic configuration of its file provider."""
        new = self._dynamic.with_suffix(".new")
        new.write_text(yaml.safe_dump(dict(dynamic)))
        new.replace(self._dynamic)

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    def api(self, path: str) -> Any:
        """Return what its API answers, None when it does not."""
        try:
            status, body = fetch(self._api, path)
        except OSError:
            return None
        return json.loads(body) if status == 200 else None

    def routers(self) -> dict[str, dict[str, Any]]:
        """Return its routers by name and provider (``orders@docker``)."""
        return {one["name"]: one for one in self.api("/api/http/routers?per_page=1000") or ()}

    def wait_for_router(self, name: str, *, there: bool = True) -> None:
        """Wait until a router is enabled, or gone."""

        def reached() -> bool:
            router = self.routers().get(name)
            return (router is not None and router["status"] == "enabled") is there

        self.wait(reached, f"router {name}")

    def wait(self, reached: Callable[[], bool], what: str) -> None:
        """Wait until something holds, which is looked at again and again."""
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not reached():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"waited for {what}: {self.log[-2000:]}")
            time.sleep(_PAUSE_S)


class Ending(RawOrigin):
    """An origin that may end before its block does."""

    ended = False

    def end(self) -> None:
        """Stop listening, and close what is open."""
        if not self.ended:
            self.ended = True
            super().__exit__(None, None, None)

    def __exit__(self, *_: object) -> None:
        self.end()


def fetch(
    port: int,
    path: str,
    *,
    host: str = "localhost",
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Return status and body of one request to a port of loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, {"Host": host, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
