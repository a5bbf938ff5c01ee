"""What answers one request: called back by the connection that read it.

A server's counterpart of `client.Receiver`. Owns nothing.
"""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from mirrorproxy.http1.client import Receiver


@mypyc_attr(allow_interpreted_subclasses=True)
class Handler(Receiver):
    """Answers one request. All methods are plain callbacks in the loop.

    A proxy's handler asks another server and hands its answer on, so that it is
    a receiver too; compiled classes have one base.
    """

    __slots__ = ()

    def start(self, body: bytes | None) -> None:
        """Begin; the answer may be given at once.

        body: the whole body where the request is complete already; request_data
        and request_end are then not called. None: they will be.
        """

    def request_data(self, data: bytes) -> None:
        """A piece of the body came, out of its framing (in a tunnel: any bytes)."""

    def request_end(self, trailers: bytes) -> None:
        """The request is complete. trailers: raw lines or b""."""

    def client_half_closed(self) -> None:
        """The client sends no more, but may still read."""

    def client_gone(self, reason: str) -> None:
        """Nobody is left to answer: the client left, stalled, or broke the protocol."""

    def client_blocked(self) -> None:
        """The client reads too slowly: write no more for now."""

    def client_unblocked(self) -> None:
        """Go on writing."""
