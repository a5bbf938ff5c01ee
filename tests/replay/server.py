"""A target that remembers what it was sent, byte for byte, and records to send to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mirrorproxy.codec import encode_body, encode_line
from mirrorproxy.keys import object_key
from mirrorproxy.members import pack
from mirrorproxy.record import Exchange, HeaderList, Request, Response

T0 = 1_700_000_000_000_000


class Received(NamedTuple):
    """One request as it came: its first line, its other lines, its body."""

    line: bytes
    headers: list[bytes]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value."""
        start = name.lower() + b": "
        return next((h[len(start) :] for h in self.headers if h.lower().startswith(start)), None)


class Target:
    """An origin on a port of its own. answer: what it says to each request."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self.got_one = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Stop serving."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._socket.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while head := _read_head(stream):
                    line, *headers = head
                    received = Received(line, headers, b"")
                    length = int(received.header(b"content-length") or 0)
                    self.requests.append(received._replace(body=stream.read(length)))
                    self.got_one.set()
                    if self.answer:
                        connection.sendall(self.answer)
            except OSError:
                return


def _read_head(stream: BinaryIO) -> list[bytes]:
    lines = []
    while (line := stream.readline()) != b"\r\n":
        if not line.endswith(b"\n"):
            return []
        lines.append(line.removesuffix(b"\r\n"))
    return lines


def exchange(
    number: int,
    method: str = "GET",
    target: str = "/",
    headers: HeaderList | None = None,
    body: bytes = b"",
    **fields: object,
) -> Exchange:
    """Return the number-th exchange of a capture, a millisecond after the one before."""
    text, encoding = encode_body(body)
    values: dict[str, object] = {
        "v": 1, "id": f"{number:032x}", "service": "orders", "via": "inline", "node": "mirror-1/0",
        "started_us": T0 + number * 1000, "duration_us": 10, "client": "203.0.113.7",
        "scheme": "https", "upstream": "http://10.0.3.7:8080",
        "request": Request(
            method, target, "1.1",
            [("Host", "api.example.com")] if headers is None else headers,
            text, encoding, len(body),
        ),
        "response": Response(200),
    }  # fmt: skip
    return Exchange(**(values | fields))


def write_capture(root: Path, exchanges: Iterable[Exchange]) -> Path:
    """Write one object with these exchanges; return the directory."""
    lines = [encode_line(one) for one in exchanges]
    path = root / object_key("", "mirror", T0, "u1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(b"".join(lines), len(lines)))
    return root
