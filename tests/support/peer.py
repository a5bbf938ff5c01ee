"""One end of a connection that speaks raw bytes: sends anything, reads strictly.

Owns a blocking socket and its buffer. Used by the raw origin and the raw client.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable

from support.messages import (
    Ambiguous,
    Message,
    parse_chunk_size,
    parse_request_head,
    parse_response_head,
    parse_trailers,
)


class Closed(Exception):
    """The other end closed or reset; `rest` is what had come without making a whole."""

    def __init__(self, rest: bytes, *, reset: bool = False) -> None:
        super().__init__(f"closed with {len(rest)} bytes pending")
        self.rest = rest
        self.reset = reset


class Silent(Exception):
    """Nothing came within the time-out."""


class Peer:
    """A connected socket with a read buffer."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self.sock = sock
        sock.settimeout(timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    @classmethod
    def connect(cls, address: tuple[str, int], timeout_s: float = 5.0) -> Peer:
        """Open a connection."""
        return cls(socket.create_connection(address, timeout_s), timeout_s)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send everything; a peer that has closed meanwhile is found out by reading."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def send_in_pieces(self, pieces: Iterable[bytes], pause_s: float = 0.0) -> None:
        """Send each piece in a packet of its own."""
        for piece in pieces:
            self.send(piece)
            if pause_s:
                time.sleep(pause_s)

    def finish(self) -> None:
        """Close the sending half."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """Close both halves."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> None:
        try:
            data = self.sock.recv(262144)
        except TimeoutError as error:
            raise Silent from error
        except OSError as error:
            raise Closed(bytes(self._buffer), reset=True) from error
        if not data:
            raise Closed(bytes(self._buffer))
        self._buffer += data

    def read(self, size: int) -> bytes:
        """Return exactly size bytes."""
        while len(self._buffer) < size:
            self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def read_some(self) -> bytes:
        """Return what is there, waiting for at least one byte."""
        if not self._buffer:
            self._more()
        return self.read(len(self._buffer))

    def read_to_end(self) -> bytes:
        """Return everything until the other end closes."""
        try:
            while True:
                self._more()
        except Closed as closed:
            if closed.reset:
                raise
        return self.read(len(self._buffer))

    def _line(self) -> bytes:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            self._more()
        line = self.read(end + 1)
        if not line.endswith(b"\r\n"):
            raise Ambiguous(f"bare LF after {line[-80:]!r}")
        return line

    def read_head(self) -> bytes:
        """Return the bytes of a head, closing empty line included."""
        lines = [self._line()]
        while lines[-1] != b"\r\n":
            lines.append(self._line())
        return b"".join(lines)

    def read_request_head(self) -> Message:
        """Return the next request, its body still unread."""
        return parse_request_head(self.read_head())

    def read_body(self, message: Message) -> Message:
        """Return the message with the body that its framing announces."""
        if message.framing == "length":
            return message.with_body(self.read(message.length))
        if message.framing == "close":
            return message.with_body(self.read_to_end())
        if message.framing == "none":
            return message.with_body(b"")
        body = bytearray()
        while size := parse_chunk_size(self._line()[:-2]):
            body += self.read(size)
            if self.read(2) != b"\r\n":
                raise Ambiguous("no CRLF after a chunk")
        trailers = []
        while (line := self._line()) != b"\r\n":
            trailers.append(line)
        return message.with_body(bytes(body), parse_trailers(b"".join(trailers)))

    def read_response(self, method: bytes = b"GET") -> Message:
        """Return the next response, an interim (1xx) one included."""
        return self.read_body(parse_response_head(self.read_head(), method))

    def read_final(self, method: bytes = b"GET") -> tuple[Message, list[Message]]:
        """Return the next final response and the interim ones before it."""
        interim: list[Message] = []
        while True:
            response = self.read_response(method)
            if response.status >= 200 or response.status == 101:
                return response, interim
            interim.append(response)

    def is_closed(self, within_s: float) -> bool:
        """Say whether the other end closes within that time, without sending more."""
        self.sock.settimeout(within_s)
        try:
            self._more()
        except Closed:
            return True
        except Silent:
            return False
        return False

    def pending(self) -> bytes:
        """Return what has come and was not asked for, without waiting."""
        self.sock.settimeout(0.001)
        try:
            self._more()
        except (Closed, Silent):
            pass
        return self.read(len(self._buffer))
