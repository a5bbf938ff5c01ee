"""mirrorproxy's commands as a user runs them, and applications to run them against."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from mirrorproxy.demo.processes import free_port  # noqa: F401 - asked for with the captures it is for

START_TIMEOUT_S = 30
COMMAND_TIMEOUT_S = 90


class Received(NamedTuple):
    """A request as an application got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Answer(NamedTuple):
    status: int = 201
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


class Application(ThreadingHTTPServer):
    """An application that remembers what came. answer: what it says to a request."""

    daemon_threads = True
    # socketserver's 5 drop the SYNs of those who connect at once: a second's wait nobody caused.
    request_queue_size = 512

    def __init__(self, answer: Callable[[Received], Answer] = lambda _request: Answer()) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests: list[Received] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Application

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        request = Received(self.command, self.path, self.headers.items(), body)
        self.server.requests.append(request)
        answer = self.server.answer(request)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(*applications: Application) -> Iterator[None]:
    """Let applications answer while the block lasts."""
    threads = [threading.Thread(target=one.serve_forever) for one in applications]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for one, thread in zip(applications, threads, strict=True):
            one.shutdown()
            thread.join()
            one.server_close()


def run(
    arguments: Sequence[str], directory: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "mirrorproxy", *arguments],
        cwd=directory,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


@contextlib.contextmanager
def capturing(arguments: Sequence[str], directory: Path, port: int) -> Iterator[list[str]]:
    """Run a capture until the block ends, then drain it and expect status 0.

    Its standard error is in the list from the end of the block on.
    """
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "mirrorproxy", *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            _wait_until_listening(port, process)
            yield said
            process.send_signal(signal.SIGINT)
            said.append(process.communicate(timeout=COMMAND_TIMEOUT_S)[1])
        finally:
            if process.poll() is None:
                process.kill()
    assert process.returncode == 0, said[0]


def _wait_until_listening(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing listens on {port}")
