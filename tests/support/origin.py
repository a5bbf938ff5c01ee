"""An origin that keeps the raw truth: what reached it, byte for byte.

Owns a listening socket on a port of the system's choice and one thread per
connection. Answers every request with its own request line, unless a script is
registered for the key that stands in the target as ``/case/<key>``.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from support.messages import Ambiguous, Message
from support.peer import Closed, Peer, Silent

Script = Callable[[Peer, Message], bool]
"""Speaks for the origin after a request's head; returns whether to keep the connection."""

_KEY = re.compile(rb"/case/([0-9a-z]+)")


def answer_for(message: Message) -> bytes:
    """Return the default answer: 200, with the request line as the body."""
    body = message.start
    if message.method == b"HEAD":
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Origin: 1\r\n\r\n" % len(body)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Origin: 1\r\n\r\n%s" % (len(body), body)


class RawOrigin:
    """The origin behind a proxy under test; a context manager.

    seen: complete requests in order. partial: bytes of requests that were cut
    off. faults: what could be read in two ways, or not at all.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.seen: list[Message] = []
        self.partial: list[bytes] = []
        self.faults: list[str] = []
        self.scripts: dict[bytes, Script] = {}
        self.connections = 0
        self._open: set[Peer] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name="raw origin", daemon=True)

    def __enter__(self) -> RawOrigin:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        # A close alone would leave the accepting thread asleep.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            peers = list(self._open)
        for peer in peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._thread.join(5)

    @property
    def authority(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Start a new page: nothing seen so far."""
        with self._changed:
            self.seen, self.partial, self.faults = [], [], []

    def script(self, key: bytes, script: Script) -> None:
        """Let script answer requests whose target carries ``/case/<key>``."""
        self.scripts[key] = script

    def wait_for(self, condition: Callable[[RawOrigin], bool], timeout_s: float = 5.0) -> bool:
        """Wait until condition holds, looking whenever something was seen."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout_s)

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                number = self.connections
                peer = Peer(sock, 30.0)
                self._open.add(peer)
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=(peer, number), daemon=True).start()

    def _note(self, kind: str, entry: object) -> None:
        with self._changed:
            getattr(self, kind).append(entry)
            self._changed.notify_all()

    def _serve(self, peer: Peer, number: int) -> None:
        try:
            while self._one(peer, number):
                continue
        except Closed as closed:
            if closed.rest:
                self._note("partial", closed.rest)
        except Ambiguous as fault:
            self._note("faults", str(fault))
        except (Silent, OSError) as error:
            if not self._closing:
                self._note("faults", f"{type(error).__name__}: {error}")
        finally:
            with self._changed:
                self._open.discard(peer)
                self._changed.notify_all()
            peer.close()

    def _one(self, peer: Peer, number: int) -> bool:
        head = replace(peer.read_request_head(), connection=number)
        try:
            key = _KEY.search(head.target)
            script = self.scripts.get(key[1]) if key else None
            if script is not None:
                return script(_Noting(peer, self, head), head)
            message = peer.read_body(head)
        except Closed as closed:
            self._note("partial", head.start + b"\r\n...\r\n\r\n" + closed.rest)
            return False
        self._note("seen", message)
        peer.send(answer_for(message))
        return message.values(b"connection") != [b"close"]


class _Noting(Peer):
    """The peer as a script sees it: what it reads whole is noted as seen."""

    def __init__(self, peer: Peer, origin: RawOrigin, head: Message) -> None:
        self.sock = peer.sock
        self._buffer = peer._buffer
        self._origin = origin
        self._head = head

    def read_body(self, message: Message) -> Message:
        whole = super().read_body(message)
        self._origin._note("seen", whole)
        return whole


def send_raw(data: bytes, *, then: str = "keep", read_body: bool = True) -> Script:
    """Return a script that sends these bytes; then: "keep", "close" or "reset"."""

    def script(peer: Peer, head: Message) -> bool:
        if read_body:
            peer.read_body(head)
        peer.send(data)
        if then == "reset":
            peer.reset()
        return then == "keep"

    return script
