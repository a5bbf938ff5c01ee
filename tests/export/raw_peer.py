"""A server that keeps the bytes of every request, and answers each with nothing."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from typing import NamedTuple


class Got(NamedTuple):
    """A request as it came, its head cut at the line ends."""

    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class RawPeer(socketserver.ThreadingTCPServer):
    """On a port of its own, at authority."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Got] = []
        self.authority = f"127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.StreamRequestHandler):
    server: RawPeer

    def handle(self) -> None:
        line = self.rfile.readline()
        headers = []
        while (read := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = read.removesuffix(b"\r\n").partition(b":")
            headers.append((name, value.strip(b" \t")))
        length = next((int(v) for n, v in headers if n.lower() == b"content-length"), 0)
        body = self.rfile.read(length)
        self.server.got.append(Got(line.removesuffix(b"\r\n"), headers, body))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@contextlib.contextmanager
def listening() -> Iterator[RawPeer]:
    """Serve while the block lasts."""
    with RawPeer() as peer:
        thread = threading.Thread(target=peer.serve_forever)
        thread.start()
        try:
            yield peer
        finally:
            peer.shutdown()
            thread.join()
