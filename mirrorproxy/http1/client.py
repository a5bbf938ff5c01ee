"""The client side of one connection: sends a request, reads its answer, calls back.

Owns the transport, the response's framing and the connection's deadlines. It
never retries, never chooses a connection (see `pool`) and never keeps a body:
pieces are handed on as they come. One exchange at a time; no task, future or
timer per request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

from mypy_extensions import mypyc_attr

from mirrorproxy.errors import PeerError
from mirrorproxy.http1.body import BodyDecoder, CloseDecoder, decoder
from mirrorproxy.http1.deadlines import NEVER
from mirrorproxy.http1.grammar import UNTIL_CLOSE
from mirrorproxy.http1.heads import ResponseHead, parse_response
from mirrorproxy.http1.limits import ClientLimits
from mirrorproxy.http1.origin import Origin


class Failure(NamedTuple):
    """Why there is no complete answer.

    kind: connect_refused, connect_timeout, connect_error, tls_error, reset,
    closed_early, response_timeout or bad_response. detail: for people.
    """

    kind: str
    detail: str


@mypyc_attr(allow_interpreted_subclasses=True)
class Receiver:
    """What a connection tells whoever sent the request. All are plain callbacks in the loop.

    Exactly one of on_complete and on_failure is called, last. The others that do
    nothing here are for those who stream.
    """

    __slots__ = ()

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx answer other than 101 came."""

    def on_head(self, head: ResponseHead) -> None:
        """The final answer's head came (101 included: a tunnel follows)."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body came, out of its framing."""

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        """The final answer came in one read; instead of on_head, on_data and on_complete."""
        self.on_head(head)
        if body:
            self.on_data(body)
        self.on_complete(b"")

    def on_flush(self) -> None:
        """All that was read so far has been handed over; more will come."""

    def on_complete(self, trailers: bytes) -> None:
        """The answer is complete. trailers: raw lines or b"". The connection is given back."""

    def on_failure(self, failure: Failure) -> None:
        """There will be no (further) answer. The connection is gone."""

    def on_blocked(self) -> None:
        """The peer reads too slowly: send no more of the request for now."""

    def on_unblocked(self) -> None:
        """Go on sending."""


class ClientConnection(asyncio.Protocol):
    """One connection to an origin.

    reused: whether it carried an exchange before this one. answered: whether a
    byte of this exchange's answer has come. idle_since: the loop's clock.
    """

    __slots__ = (
        "_buffer", "_decoder", "_half_closed", "_head", "_last", "_limits", "_loop", "_paused",
        "_release", "_request_sent", "_searched", "_to_head", "_total_deadline", "_transport",
        "_tunnel", "_upgradable", "answered", "deadline", "idle_since", "origin", "receiver",
        "reused",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        limits: ClientLimits,
        release: Callable[[ClientConnection, bool], None],
    ) -> None:
        """release(connection, reusable) is called when an exchange or the connection ends."""
        self.origin = origin
        self.receiver: Receiver | None = None
        self.deadline = NEVER
        self.idle_since = 0.0
        self.reused = False
        self.answered = False
        self._loop = loop
        self._limits = limits
        self._release = release
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()  # an unfinished head
        self._searched = 0
        self._head: ResponseHead | None = None
        self._last: ResponseHead | None = None
        self._decoder: BodyDecoder | None = None
        self._to_head = False
        self._upgradable = False
        self._tunnel = False
        self._request_sent = False
        self._half_closed = False
        self._paused = False
        self._total_deadline = NEVER

    # -- what the owner of the exchange calls ---------------------------------

    def begin(
        self, receiver: Receiver, method: bytes, *, upgradable: bool = False, total_s: float = NEVER
    ) -> None:
        """Start an exchange.

        upgradable: whether the request asks for an upgrade, so that 101 is an
        answer. total_s: seconds until the answer must be complete.
        """
        self.receiver = receiver
        self.answered = False
        self._head = None
        self._decoder = None
        self._to_head = method == b"HEAD"
        self._upgradable = upgradable
        self._request_sent = False
        self._total_deadline = NEVER if total_s == NEVER else self._loop.time() + total_s
        self.deadline = self._total_deadline

    def write(self, data: bytes) -> None:
        """Send bytes of the request, framing included."""
        transport = self._transport
        # A transport that found its socket broken raises until it has said so.
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def request_sent(self) -> None:
        """Say that the request is complete: from here on the answer's head is waited for.

        A connection whose request was not sent to the end carries no other.
        """
        self._request_sent = True
        if self._limits.response_timeout_s is not None and self._head is None:
            limit = self._loop.time() + self._limits.response_timeout_s
            self.deadline = min(self.deadline, limit)

    def write_eof(self) -> None:
        """Pass a client's half-close on: whether it means an abort is the upstream's to say."""
        self._half_closed = True
        if self._transport is not None and self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:  # it is gone already, and will say so
                self._transport.abort()

    def pause_reading(self) -> None:
        """Let the peer wait."""
        if self.is_open and not self._paused:
            self._paused = True
            cast(asyncio.Transport, self._transport).pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.is_open and self._paused:
            self._paused = False
            cast(asyncio.Transport, self._transport).resume_reading()

    def abort(self) -> None:
        """Drop the connection; the receiver hears nothing more."""
        self.receiver = None
        if self._transport is not None:
            self._transport.abort()

    def end_tunnel(self) -> None:
        """Close after what was written has been sent; the receiver hears nothing more."""
        self.receiver = None
        self.close()

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport is not None:
            self._transport.close()

    @property
    def is_open(self) -> bool:
        """Whether nothing is known to have ended the connection."""
        return self._transport is not None and not self._transport.is_closing()

    # -- what the transport calls ---------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        receiver = self.receiver
        if receiver is None:
            # Bytes nobody asked for would be taken for the next answer.
            self._end(reusable=False)
            return
        self.answered = True
        if self._tunnel:
            receiver.on_data(data)
            receiver.on_flush()
            return
        if self._buffer:
            # Appending costs what came; joining anew would cost what is there.
            self._buffer += data
            if self._is_unfinished():
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        try:
            self._read(data, receiver)
        except PeerError as error:
            self._fail(Failure("bad_response", error.reason))
            return
        if self.receiver is receiver:
            receiver.on_flush()

    def _read(self, data: bytes, receiver: Receiver) -> None:
        while self._head is None:
            last = self._last
            # Within a second an origin often answers with the same head, its Date included.
            if last is not None and not self._to_head and data.startswith(last.raw):
                head: ResponseHead | None = last
            else:
                head = parse_response(data, to_head=self._to_head)
            if head is None or len(head.raw) > self._limits.max_head_bytes:
                self._buffer += data
                if head is not None or not self._is_unfinished():
                    raise PeerError(502, "a response head that is too long")
                return
            self._searched = 0
            size = len(head.raw)
            if head.status >= 200:
                self._last = None if self._to_head else head
                if head.framing == len(data) - size:  # nearly every answer: whole, in one read
                    self._head = head
                    self._given_back(leftover=False)
                    receiver.on_whole(head, data[size:])
                    return
                self._head = head
                self.deadline = self._total_deadline
                self._decoder = decoder(head.framing, 502)
                receiver.on_head(head)
            elif head.status == 101:
                self._start_tunnel(head, data[size:], receiver)
                return
            else:
                receiver.on_informational(head)
            data = data[size:]
            if self.receiver is not receiver or (not data and self._decoder is None):
                return
        body = self._decoder
        if body is None:
            return
        pieces: list[bytes] = []
        taken = body.feed(data, pieces) if data and not body.done else 0
        for piece in pieces:
            receiver.on_data(piece)
            if self.receiver is not receiver:
                return
        if body.done:
            self._given_back(leftover=taken < len(data))
            receiver.on_complete(body.trailers)

    def _is_unfinished(self) -> bool:
        """Tell whether the head in the buffer goes on and may; its end is looked for once."""
        if self._buffer.find(b"\r\n\r\n", self._searched) >= 0:
            return False
        self._searched = max(1, len(self._buffer) - 3)
        return len(self._buffer) <= self._limits.max_head_bytes

    def _start_tunnel(self, head: ResponseHead, data: bytes, receiver: Receiver) -> None:
        if not self._upgradable:
            raise PeerError(502, "a 101 that nobody asked for")
        self._head = head
        self._tunnel = True
        self.deadline = NEVER
        receiver.on_head(head)
        if data and self.receiver is receiver:
            receiver.on_data(data)

    def _given_back(self, *, leftover: bool) -> None:
        """End the exchange before its receiver is told, who then finds the connection warm."""
        head = self._head
        self.receiver = None
        self._head = None
        self._decoder = None
        self._end(
            reusable=head is not None
            and head.keep_alive
            and head.framing != UNTIL_CLOSE
            and self._request_sent
            and not (leftover or self._half_closed)
        )

    def _end(self, *, reusable: bool) -> None:
        transport = self._transport
        if reusable and transport is not None and not transport.is_closing():
            self.reused = True
            self.idle_since = self._loop.time()
            self.deadline = self.idle_since + self._limits.idle_timeout_s
            self.resume_reading()
            self._release(self, True)
            return
        self.deadline = NEVER
        if transport is not None:
            transport.abort()

    def eof_received(self) -> None:
        """See asyncio.Protocol."""
        receiver = self.receiver
        if receiver is not None and isinstance(self._decoder, CloseDecoder):
            self._given_back(leftover=False)
            receiver.on_complete(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self.deadline = NEVER
        self._release(self, False)
        receiver = self.receiver
        if receiver is None:
            return
        self.receiver = None
        if self._tunnel:
            receiver.on_complete(b"")
        elif exc is not None:
            receiver.on_failure(Failure("reset", "the upstream reset the connection"))
        else:
            receiver.on_failure(Failure("closed_early", "the upstream closed before its answer"))

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self.receiver is not None:
            self.receiver.on_blocked()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self.receiver is not None:
            self.receiver.on_unblocked()

    def on_deadline(self, now: float) -> None:
        """See `deadlines.HasDeadline`."""
        self.deadline = NEVER
        if self.receiver is None:
            self.close()
        else:
            self._fail(Failure("response_timeout", "no answer in time"))

    def _fail(self, failure: Failure) -> None:
        receiver, self.receiver = self.receiver, None
        self._end(reusable=False)
        if receiver is not None:
            receiver.on_failure(failure)
