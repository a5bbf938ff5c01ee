"""A real Consul agent, alone and on free ports of the loopback address.

Owns its process, ports, data and configuration. Everything is asked for over
its HTTP interface with urllib, so that no test judges our client by itself.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from support.commands import free_port

INSTALLER = Path(__file__).resolve().parents[1] / "tools" / "install-consul"
START_TIMEOUT_S = 30


class ConsulMissing(Exception):
    """Why there is no Consul to test with."""


def find_consul() -> str:
    """Return the path of a real Consul, fetched if need be. Raises ConsulMissing."""
    found = subprocess.run(
        [sys.executable, str(INSTALLER)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise ConsulMissing(found.stderr.strip())
    return found.stdout.strip()


class ConsulAgent:
    """One agent that is its own server; starts and ends with the block, or by its methods.

    folder: an empty one of its own. keeps: whether it remembers over a restart
    (a server with data on disk); otherwise it forgets everything, as an agent
    with a fresh disk does. services: definitions in its configuration files, which it
    knows after every start. acl: whether tokens count, with everything denied to those
    who have none; `token` then is the one that may do everything.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        *,
        keeps: bool = False,
        acl: bool = False,
        services: Sequence[Mapping[str, Any]] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._program = program
        self._folder = folder
        self._keeps = keeps
        self.token = secrets.token_hex(16) if acl else None
        if acl:
            # Consul wants a UUID.
            value = self.token or ""
            self.token = "-".join((value[:8], value[8:12], value[12:16], value[16:20], value[20:]))
        ports: set[int] = set()
        while len(ports) < 3:  # a port that was free is given out again
            ports.add(free_port())
        self._ports = dict(zip(("http", "server", "serf_lan"), ports, strict=True))
        self.port = self._ports["http"]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "conf").mkdir()
        (folder / "conf" / "agent.json").write_text(json.dumps(self._settings(settings or {})))
        if services:
            self.define(services)

    def __enter__(self) -> ConsulAgent:
        try:
            self.start()
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

    def define(self, services: Sequence[Mapping[str, Any]]) -> None:
        """Write service definitions into the configuration; `reload` or a start reads them."""
        text = json.dumps({"services": list(services)})
        (self._folder / "conf" / "services.json").write_text(text)

    def start(self) -> None:
        """Start it, and wait until it has a leader and knows its own node."""
        argv = [self._program, "agent", f"-config-dir={self._folder / 'conf'}"]
        argv += ["-server", "-bootstrap-expect=1"] if self._keeps else ["-dev"]
        if self._keeps:
            argv.append(f"-data-dir={self._folder / 'data'}")
        with (self._folder / "out.log").open("ab") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={key: value for key, value in os.environ.items() if "CONSUL" not in key},
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "out.log").read_text(errors="replace")
                raise RuntimeError(f"consul did not start: {log[-1000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; its port refuses from then on."""
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it without a goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang: it takes connections and answers nothing, until `resume`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop, and start on the same ports."""
        self.stop()
        self.start()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        timeout_s: float = 10,
    ) -> Any:
        """Ask its HTTP interface ("/v1/..."); return the JSON, None for an empty answer.

        token: the agent's own where None. Raises OSError (an HTTPError for a status from 400).
        """
        data = None if body is None else body if isinstance(body, bytes) else _encoded(body)
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if token or self.token:
            request.add_header("X-Consul-Token", token or self.token or "")
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def register(self, definition: Mapping[str, Any]) -> None:
        """Register a service as its own process would: Name, ID, Address, Port, Tags, Check."""
        self.call("PUT", "/v1/agent/service/register", definition)

    def deregister(self, service_id: str) -> None:
        """Take a service away."""
        self.call("PUT", f"/v1/agent/service/deregister/{service_id}")

    def registered(self) -> dict[str, Any]:
        """Return the agent's services by their IDs."""
        found: dict[str, Any] = self.call("GET", "/v1/agent/services")
        return found

    def healthy(self, service: str) -> list[dict[str, Any]]:
        """Return the passing entries of a service, as its catalog says."""
        found: list[dict[str, Any]] = self.call("GET", f"/v1/health/service/{service}?passing=1")
        return found

    def reload(self) -> None:
        """Read the configuration files again."""
        self.call("PUT", "/v1/agent/reload")

    def policy_token(self, rules: str) -> str:
        """Make a policy and a token that has only this policy; return the token's secret."""
        name = f"test-{secrets.token_hex(4)}"
        self.call("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        made = self.call("PUT", "/v1/acl/token", {"Policies": [{"Name": name}]})
        secret: str = made["SecretID"]
        return secret

    def _is_ready(self) -> bool:
        try:
            if not self.call("GET", "/v1/status/leader", timeout_s=2):
                return False
            return bool(self.call("GET", "/v1/catalog/service/consul", timeout_s=2))
        except OSError:
            return False

    def _settings(self, more: Mapping[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "node_name": "test",
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            # A port below zero is off.
            "ports": {**self._ports, "serf_wan": -1, "dns": -1, "grpc": -1, "https": -1},
            # Elections as fast as they can be: this server has no peers.
            "performance": {"raft_multiplier": 1},
            "disable_update_check": True,
            "enable_debug": False,
            "log_level": "info",
        }
        if self.token is not None:
            settings["acl"] = {
                "enabled": True,
                "default_policy": "deny",
                "tokens": {"master": self.token, "agent": self.token},
            }
        return {**settings, **more}


def _encoded(body: object) -> bytes:
    return json.dumps(body).encode()
