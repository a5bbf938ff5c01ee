"""A stage for dialogues: the proxy, the raw origin behind it, and clients before it."""

from __future__ import annotations

import itertools

from support.messages import Message
from support.mirror import ListTap, Mirror
from support.origin import RawOrigin, Script
from support.peer import Peer

_keys = itertools.count(1)


class Stage:
    """A proxy, the origin behind it and a scripted target of its own for each dialogue."""

    def __init__(self, origin: RawOrigin, mirror: Mirror, *, strict: bool = False) -> None:
        self.origin = origin
        self.mirror = mirror
        self.strict = strict

    def client(self) -> Peer:
        """Return a new connection to the proxy."""
        return Peer.connect(self.mirror.address)

    def target(self, script: Script | None = None) -> bytes:
        """Return a target of its own, answered by the script where there is one."""
        key = b"stage%d" % next(_keys)
        if script is not None:
            self.origin.script(key, script)
        return b"/case/" + key

    def assert_sound(self) -> None:
        """Check that the proxy logged no error, and that every tap heard one end."""
        self.mirror.settle_taps()
        for tap in self.mirror.recorder.taps:
            assert len(tap.ends) == 1, (tap.head.method, tap.head.target[:60], tap.ends)
        assert self.mirror.errors == []
        assert self.origin.faults == []

    def assert_clean(self) -> None:
        """Check that a request on a fresh connection gets the answer that is its own."""
        target = self.target()
        with self.client() as client:
            assert ask(client, target).body == b"GET " + target + b" HTTP/1.1"

    def tap(self, target: bytes) -> ListTap:
        """Return the newest tap of that target, ended."""
        self.mirror.settle_taps()
        return self.mirror.tap_of(target)


def request(target: bytes, *fields: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """Return a raw request with a Host, a length where there is a body, and these lines."""
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: a.test", *fields]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def ask(client: Peer, target: bytes, *fields: bytes, method: bytes = b"GET") -> Message:
    """Send a request without a body and return the final answer."""
    client.send(request(target, *fields, method=method))
    return client.read_final(method)[0]
