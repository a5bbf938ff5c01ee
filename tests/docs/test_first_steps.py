"""The README's first capture and replay, run as they stand there (addresses aside)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pages import ROOT, blocks, commands

PRODUCTION_TOKEN = "production-token-4711"
STAGING_TOKEN = "staging-token-0815"


class Application(ThreadingHTTPServer):
    """An application that answers everything with 201 and remembers what came."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, str | None, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers["Authorization"]
        self.server.requests.append((self.command, self.path, token, body))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture
def applications():
    """Production and staging."""
    running = [Application(), Application()]
    threads = [threading.Thread(target=one.serve_forever) for one in running]
    for thread in threads:
        thread.start()
    yield running
    for one, thread in zip(running, threads, strict=True):
        one.shutdown()
        thread.join()
        one.server_close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def readme_commands(replacements: dict[str, str]) -> dict[str, list[str]]:
    """Return the README's commands by name, as arguments with other addresses in them."""
    found = {}
    for block in blocks(ROOT / "README.md"):
        for command in commands(block):
            words = shlex.split(command, comments=True)
            found[words[1]] = [replacements.get(word, word) for word in words[1:]]
    return found


def run(arguments, directory, **environment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mirrorproxy", *arguments],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextlib.contextmanager
def capturing(arguments, directory, port):
    """Run the capture until the block ends, then drain it and expect status 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "mirrorproxy", *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            wait_for(port, process)
            yield
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors.decode()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1].decode()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("capture does not listen")


def post(port: int, path: str, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {PRODUCTION_TOKEN}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_first_steps_of_the_readme(tmp_path, applications):
    """Requests reach production, are recorded, and reach staging with staging's token."""
    production, staging = applications
    port = free_port()
    steps = readme_commands(
        {
            "127.0.0.1:8000": f"127.0.0.1:{port}",
            "http://127.0.0.1:8080": production.url,
            "https://staging.example.com": staging.url,
        }
    )
    with capturing([*steps["capture"], "--admin", "off"], tmp_path, port):
        bodies = [json.dumps({"sku": f"A-{number}"}).encode() for number in range(3)]
        assert [post(port, f"/orders?n={n}", body) for n, body in enumerate(bodies)] == [201] * 3

    inspected = run(steps["inspect"], tmp_path)
    assert (inspected.returncode, inspected.stderr) == (0, "")
    assert "/orders" in inspected.stdout

    replayed = run(steps["replay"], tmp_path, STAGING_TOKEN=STAGING_TOKEN)
    assert replayed.returncode == 0, replayed.stderr
    sent = [("POST", f"/orders?n={n}", body) for n, body in enumerate(bodies)]
    assert production.requests == [(m, p, f"Bearer {PRODUCTION_TOKEN}", b) for m, p, b in sent]
    assert staging.requests == [(m, p, f"Bearer {STAGING_TOKEN}", b) for m, p, b in sent]
    everything = inspected.stdout + replayed.stdout + replayed.stderr
    assert PRODUCTION_TOKEN not in everything
    assert STAGING_TOKEN not in everything


def test_production_is_refused_as_a_target(tmp_path, applications):
    """The first mistake that everybody makes sends nothing."""
    production, _ = applications
    port = free_port()
    replacements = {"127.0.0.1:8000": f"127.0.0.1:{port}", "http://127.0.0.1:8080": production.url}
    steps = readme_commands({**replacements, "https://staging.example.com": production.url})
    with capturing([*steps["capture"], "--admin", "off"], tmp_path, port):
        post(port, "/orders", b"{}")
    refused = run(steps["replay"], tmp_path, STAGING_TOKEN=STAGING_TOKEN)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert len(production.requests) == 1
