"""The server side of one connection: reads requests, one at a time, and writes answers.

Owns the transport, the requests' framing, pipelining, the connection's deadlines
and its end. What a request is for is the handler's business. Requests that come
ahead of the answer under way wait in a bounded buffer; then the client waits.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from typing import TYPE_CHECKING, cast

from mirrorproxy.clock import wall_us
from mirrorproxy.errors import PeerError
from mirrorproxy.http1.body import BodyDecoder, decoder
from mirrorproxy.http1.deadlines import NEVER
from mirrorproxy.http1.handler import Handler
from mirrorproxy.http1.heads import parse_request
from mirrorproxy.http1.refusal import refusal

if TYPE_CHECKING:
    from mirrorproxy.http1.service import Service

_EMPTY_LINES = re.compile(rb"\A(?:\r\n)++")
_RESET = struct.pack("ii", 1, 0)  # linger for 0 s: a close is a reset
_LINGER_S = 2.0  # how long a refused client may go on sending; nginx lingers 5 s
_LINGER_BYTES = 4 * 1024 * 1024


class ServerConnection(asyncio.Protocol):
    """One client's connection.

    peer: its address, "" where there is none. started_s: time.monotonic() at the
    first byte of the request under way. answer_started: whether a byte of
    the final answer was written, set by the handler; from then on an error of ours
    can only cut the connection.
    """

    __slots__ = (
        "_buffer", "_decoder", "_discarded", "_discarding", "_eof", "_handler", "_head_begun",
        "_held_back", "_is_blocked", "_loop", "_reading", "_searched", "_service", "_started_us",
        "_transport", "_tunnel", "answer_started", "deadline", "peer", "started_s",
    )  # fmt: skip

    def __init__(self, service: Service) -> None:
        self.peer = ""
        self.started_s = 0.0
        self.deadline = NEVER
        self.answer_started = False
        self._service = service
        self._loop = service.loop
        self._transport: asyncio.Transport | None = None
        self._handler: Handler | None = None
        self._decoder: BodyDecoder | None = None
        self._buffer = bytearray()  # an unfinished head, or requests ahead of their turn
        self._searched = 0  # how much of an unfinished head holds no end
        self._head_begun = False
        self._started_us = 0
        self._reading = False  # _read is on the stack
        self._held_back = False  # reading is paused because of requests ahead of their turn
        self._is_blocked = False
        self._tunnel = False
        self._eof = False
        self._discarding = False
        self._discarded = 0

    # -- what the handler calls -----------------------------------------------

    @property
    def may_keep(self) -> bool:
        """Whether the connection can take another request after this one."""
        return self._decoder is None and not self._eof and not self._service.draining

    def write(self, data: bytes) -> None:
        """Send bytes of the answer, framing included."""
        transport = self._transport
        # A transport that found its socket broken raises until it has said so.
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def finish(self, *, keep: bool) -> None:
        """Say that the answer is complete. keep: read the next request, else close."""
        incomplete = self._decoder is not None
        self._handler = None
        self._decoder = None
        self.answer_started = False
        if incomplete:
            self._linger()
        elif not keep or self._eof:
            self._close()
        elif self._is_blocked:
            # Answers that nobody takes would pile up: the next request waits for this one's.
            self.deadline = self._loop.time() + self._service.limits.send_timeout_s
        else:
            self._go_on()

    def refuse(
        self, status: int, reason: str, *, keep: bool = False, to_head: bool = False
    ) -> None:
        """Answer with an error of our own, and finish. reason: our words, one line.

        to_head: the request was a HEAD, so that no body may follow.
        """
        self.write(refusal(status, reason, keep=keep, to_head=to_head))
        if keep:
            self.finish(keep=True)
        else:
            self._handler = None
            self._decoder = None
            self._linger()

    def start_tunnel(self) -> None:
        """Hand every further byte to the handler as it comes."""
        self._tunnel = True
        self.deadline = NEVER
        if self._held_back:
            self._held_back = False
            self.resume_reading()
        if self._buffer and self._handler is not None:
            self._handler.request_data(self._taken())

    def pause_reading(self) -> None:
        """Let the client wait; that is not its fault, so no deadline runs."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            if self._decoder is not None:
                self.deadline = NEVER

    def resume_reading(self) -> None:
        """Read on, unless there is too much already that has to wait its turn."""
        if self._transport is not None and not (self._held_back or self._transport.is_closing()):
            self._transport.resume_reading()
            if self._decoder is not None:
                self.deadline = self._loop.time() + self._service.limits.body_timeout_s

    def close(self) -> None:
        """Close after what was written has been sent; the handler hears nothing more."""
        self._handler = None
        self._close()

    def abort(self) -> None:
        """Drop the connection; the handler hears nothing more."""
        self._handler = None
        if self._transport is not None:
            self._transport.abort()

    def cut(self) -> None:
        """Reset the connection, so that what was sent is not taken for the whole answer.

        Only a reset says so where the end of the connection ends the answer.
        """
        transport = self._transport
        if transport is not None and not transport.is_closing():
            socket_ = transport.get_extra_info("socket")
            if socket_ is not None:
                socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()

    def close_if_idle(self, by: float) -> None:
        """Close it then, by the loop's clock, unless a request is read or answered by then."""
        if self._handler is None and not self._head_begun and not self._is_blocked:
            self.deadline = min(self.deadline, by)

    # -- what the transport calls ---------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = str(peer[0])
        service = self._service
        service.accepted += 1
        service.connections.add(self)
        service.deadlines.add(self)
        self.deadline = self._loop.time() + service.limits.head_timeout_s

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._tunnel:
            if self._handler is not None:
                self._handler.request_data(data)
        elif self._discarding:
            self._discarded += len(data)
            if self._discarded > _LINGER_BYTES:
                self.abort()
        elif not self._buffer:
            self._read(data)
        else:
            # Appending costs what came; joining anew would cost what is there.
            self._buffer += data
            if self._handler is not None or self._is_blocked:
                self._hold_back()
            elif not self._is_unfinished():
                self._read(self._taken())

    def eof_received(self) -> bool:
        """See asyncio.Protocol. Returns whether to keep the connection for the answer."""
        handler = self._handler
        if handler is None or self._discarding:
            return False
        if self._decoder is not None:
            self._handler = None
            handler.client_gone("client_aborted")
            return False
        self._eof = True
        handler.client_half_closed()
        return self._handler is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self.deadline = NEVER
        self._service.connections.discard(self)
        self._service.deadlines.discard(self)
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.client_gone("client_aborted")

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_blocked = True
        self.deadline = self._loop.time() + self._service.limits.send_timeout_s
        if self._handler is not None:
            self._handler.client_blocked()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_blocked = False
        if self._discarding:
            return
        if self._handler is None:
            self._go_on()
            return
        body_timeout_s = self._service.limits.body_timeout_s
        self.deadline = NEVER if self._decoder is None else self._loop.time() + body_timeout_s
        self._handler.client_unblocked()

    def on_deadline(self, now: float) -> None:
        """See `deadlines.HasDeadline`."""
        self.deadline = NEVER
        if self._discarding or self._is_blocked:
            handler, self._handler = self._handler, None
            self.cut()
            if handler is not None:
                handler.client_gone("client_stalled")
        elif self._handler is not None:
            self._break_off(PeerError(408, "the request's body did not come in time"))
        elif self._head_begun:
            self._break_off(PeerError(408, "the request's head did not come in time"))
        else:
            self._close()

    # -- reading --------------------------------------------------------------

    def _go_on(self) -> None:
        """Read the next request."""
        self.deadline = self._loop.time() + self._service.idle_timeout_s
        if self._held_back:
            self._held_back = False
            self.resume_reading()
        if self._buffer and not self._reading:
            self._read(self._taken())

    def _read(self, data: bytes) -> None:
        # One loop, never recursion: a client may pipeline any number of requests
        # that are answered at once.
        self._reading = True
        try:
            while data and self._transport is not None and not self._discarding:
                if self._decoder is not None:
                    data = self._read_body(self._decoder, data)
                elif self._handler is not None or self._is_blocked:
                    self._buffer += data
                    self._hold_back()
                    break
                else:
                    data = self._read_head(data)
        except PeerError as error:
            self._break_off(error)
        finally:
            self._reading = False

    def _read_head(self, data: bytes) -> bytes:
        limits = self._service.limits
        if data[0] == 13:  # a CR. RFC 9112, 2.2: ignore empty lines before a request
            data = _EMPTY_LINES.sub(b"", data, 1)
            if not data:
                return data
        if not self._head_begun:
            self._head_begun = True
            self._started_us = wall_us()
            self.started_s = time.monotonic()  # the loop's own clock may be as coarse as 1 ms
        head = parse_request(data, strict=self._service.strict)
        if head is None or len(head.raw) > limits.max_head_bytes:
            self._buffer += data
            if head is not None or not self._is_unfinished():
                raise self._too_long()
            return b""
        self._searched = 0
        self._head_begun = False
        size, framing = len(head.raw), head.framing
        body = None
        if framing == len(data) - size:  # nearly every request: whole, in one read
            body = data[size:]
            rest = b""
        elif framing == 0:
            body = b""
            rest = data[size:]
        else:
            rest = data[size:]
        if body is None:
            self._decoder = decoder(framing, 400)
            self.deadline = self._loop.time() + limits.body_timeout_s
        else:
            self.deadline = NEVER
        handler = self._handler = self._service.handler(self, head, self._started_us)
        handler.start(body)
        return rest

    def _is_unfinished(self) -> bool:
        """Tell whether the head in the buffer goes on and may; its end is looked for once."""
        if self._searched == 0:
            self.deadline = self._loop.time() + self._service.limits.head_timeout_s
        if self._buffer.find(b"\r\n\r\n", self._searched) >= 0:
            return False
        self._searched = max(1, len(self._buffer) - 3)
        return len(self._buffer) <= self._service.limits.max_head_bytes

    def _too_long(self) -> PeerError:
        in_target = self._buffer.find(b"\r\n", 0, self._service.limits.max_head_bytes) < 0
        return PeerError(414 if in_target else 431, "a request head that is too long")

    def _taken(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _read_body(self, body: BodyDecoder, data: bytes) -> bytes:
        pieces: list[bytes] = []
        taken = body.feed(data, pieces)
        handler = self._handler
        if handler is None:
            return b""
        if not body.done:
            self.deadline = self._loop.time() + self._service.limits.body_timeout_s
        for piece in pieces:
            handler.request_data(piece)
            if self._handler is not handler:
                return b""
        if not body.done:
            return b""
        self._decoder = None
        self.deadline = NEVER
        handler.request_end(body.trailers)
        return data[taken:]

    def _hold_back(self) -> None:
        if len(self._buffer) > self._service.limits.max_pipelined_bytes and not self._held_back:
            self._held_back = True
            self.pause_reading()

    # -- ending ---------------------------------------------------------------

    def _break_off(self, error: PeerError) -> None:
        handler, self._handler = self._handler, None
        if handler is None:
            self._service.refused(error.status)
        else:
            handler.client_gone("client_stalled" if error.status == 408 else "bad_request")
        if self.answer_started:
            self.cut()
        else:
            self.refuse(error.status, error.reason)

    def _linger(self) -> None:
        # Closing with unread bytes waiting makes the kernel reset the connection,
        # and the answer may be lost on its way: read on for a moment.
        transport = self._transport
        if transport is None or self._discarding:
            return
        self._discarding = True
        self._buffer.clear()
        self.deadline = self._loop.time() + _LINGER_S
        try:
            if transport.can_write_eof():
                transport.write_eof()
            transport.resume_reading()
        except OSError:  # the client is gone already
            transport.abort()

    def _close(self) -> None:
        self._buffer.clear()  # what was asked for behind the last request is not answered
        if self._transport is not None:
            self._transport.close()
