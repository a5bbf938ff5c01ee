"""A flow: one request on its way to its upstream, and the answer on its way back.

Owns the pairing of a client's connection with an upstream's, the framing of what
is passed on, back-pressure both ways, the one retry, and the answers to failures.
What is recorded, and how, is the tap's business: nothing it does can reach the
request. Bodies are streamed; at most `_MAX_HELD_BYTES` of one wait for a connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from mirrorproxy.capture.routes import Route
from mirrorproxy.capture.tap import IGNORED, Tap
from mirrorproxy.http1.body import last_chunk
from mirrorproxy.http1.client import ClientConnection, Failure
from mirrorproxy.http1.grammar import CHUNKED, fields
from mirrorproxy.http1.handler import Handler
from mirrorproxy.http1.heads import RequestHead, ResponseHead
from mirrorproxy.http1.messages import IDEMPOTENT
from mirrorproxy.http1.pool import Pool
from mirrorproxy.http1.server import ServerConnection
from mirrorproxy.metrics import INDEX, Slot

_MAX_HELD_BYTES = 64 * 1024  # of a body: while connecting, and for one retry

_UPSTREAM_CONNECTIONS = INDEX["upstream_connections"]
_RETRIES = INDEX["upstream_retries"]
_RESPONSES = [0] + [INDEX[f"responses_{digit}xx"] for digit in range(1, 6)]
_REQUEST_BYTES = INDEX["request_bytes"]
_RESPONSE_BYTES = INDEX["response_bytes"]
_TUNNELS = INDEX["tunnels"]


class Plane(Protocol):
    """What flows share. active: how many there are. pool_of, slot: as in `proxy.Proxy`."""

    active: int
    slot: Slot
    pool_of: Callable[[Route], Pool]


class Flow(Handler):
    """One request on its way: the handler of the client's side, the receiver of the upstream's."""

    # Defaults, so that making a flow stores only what differs.
    _connection: ClientConnection | None = None
    _attempt: asyncio.Task[None] | None = None
    _held: list[bytes] | None = None  # what waits for a connection
    _held_bytes = 0
    _sent: list[bytes] | None = None  # what a retry would send again
    _request_ended = False
    _chunked_answer = False
    _keep = False
    _tunnel = False
    _paused_client = False
    _paused_upstream = False
    _half_closed = False

    def __init__(
        self, plane: Plane, client: ServerConnection, head: RequestHead, route: Route, tap: Tap
    ) -> None:
        self._plane = plane
        self._client = client
        self._head = head
        self._route = route
        self._tap = tap
        self._started_s = client.started_s
        self._out: list[bytes] = []  # of the answer, until it is flushed

    # -- the client's side ----------------------------------------------------

    def start(self, body: bytes | None) -> None:
        """See `Handler`: send the request on."""
        plane, head, route = self._plane, self._head, self._route
        plane.active += 1
        upstream = route.upstream
        onward = head.onward(upstream, route.base_path)
        if body is not None:
            self._request_ended = True
            if body:
                self._tap.request_data(body)
                plane.slot[_REQUEST_BYTES] += len(body)
                onward += body
            self._tap.request_end()
        connection = plane.pool_of(route).take(upstream, head.method)
        if connection is None:
            self._hold(onward)
            self._connect()
            return
        self._connection = connection
        connection.begin(self, head.method, upgradable=head.upgrade is not None)
        if head.method in IDEMPOTENT:
            self._sent = []
            self._send(onward)
        else:
            connection.write(onward)
        if body is not None:
            connection.request_sent()

    def request_data(self, data: bytes) -> None:
        """See `Handler`."""
        if self._tunnel:
            if self._connection is not None:
                self._connection.write(data)
            return
        self._tap.request_data(data)
        self._plane.slot[_REQUEST_BYTES] += len(data)
        if self._head.framing == CHUNKED:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._send(data)

    def request_end(self, trailers: bytes) -> None:
        """See `Handler`."""
        self._request_ended = True
        self._tap.request_end(fields(trailers) if trailers else None)
        if self._head.framing == CHUNKED:
            self._send(last_chunk(trailers))
        if self._connection is not None:
            self._connection.request_sent()

    def client_half_closed(self) -> None:
        """See `Handler`: the upstream sees what it would see without us, once it is connected."""
        self._half_closed = True
        if self._connection is not None:
            self._connection.write_eof()

    def client_gone(self, reason: str) -> None:
        """See `Handler`."""
        self._plane.active -= 1
        if self._request_ended:
            # Production saw the whole request, so it is recorded, with what became of it.
            self._tap.fail(reason, self._duration_us())
        else:
            self._tap.abandon(reason)
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connection is not None:
            if self._tunnel:
                self._connection.end_tunnel()
            else:
                self._connection.abort()

    def client_blocked(self) -> None:
        """See `Handler`."""
        if self._connection is not None and not self._paused_upstream:
            self._paused_upstream = True
            self._connection.pause_reading()

    def client_unblocked(self) -> None:
        """See `Handler`."""
        if self._connection is not None and self._paused_upstream:
            self._paused_upstream = False
            self._connection.resume_reading()

    # -- the upstream's side --------------------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        """See `Receiver`."""
        self._plane.slot[_RESPONSES[1]] += 1
        if self._head.version == 1:  # RFC 9110, 15.2: never to an HTTP/1.0 client
            self._out.append(head.onward(chunked=False, connection=b""))

    def on_head(self, head: ResponseHead) -> None:
        """See `Receiver`."""
        self._begin_answer(head)
        if head.status == 101:
            self._start_tunnel(head)
        else:
            self._out.append(self._answer_head(head))
            self._client.answer_started = True

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        """See `Receiver`."""
        self._begin_answer(head)
        answer = self._answer_head(head)
        if self._out:  # informational answers that came in the same read
            answer = b"".join((*self._out, answer))
        if body:
            self._tap.response_data(body)
            self._plane.slot[_RESPONSE_BYTES] += len(body)
            answer += body
        self._end_answer(answer)

    def _begin_answer(self, head: ResponseHead) -> None:
        self._sent = None
        self._plane.slot[_RESPONSES[min(head.status // 100, 5)]] += 1
        self._tap.response_head(head)

    def _answer_head(self, head: ResponseHead) -> bytes:
        keep = self._head.keep_alive and self._client.may_keep
        chunked = head.framing < 0  # CHUNKED or UNTIL_CLOSE
        connection = b""
        if self._head.version == 0:
            keep = keep and not chunked
            announced = chunked = False
            if keep:
                connection = b"keep-alive"
        else:
            # A HEAD's answer and a 304 say how the body would have been framed.
            announced = chunked or (head.is_chunked and head.status != 204)
        if not keep:
            connection = b"close"
        self._chunked_answer = chunked
        self._keep = keep
        return head.onward(chunked=announced, connection=connection)

    def on_data(self, data: bytes) -> None:
        """See `Receiver`."""
        if self._tunnel:
            self._client.write(data)
            return
        self._tap.response_data(data)
        self._plane.slot[_RESPONSE_BYTES] += len(data)
        if self._chunked_answer:
            self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._out.append(data)

    def on_flush(self) -> None:
        """See `Receiver`."""
        if self._out:
            self._client.write(b"".join(self._out))
            self._out.clear()

    def on_complete(self, trailers: bytes) -> None:
        """See `Receiver`."""
        if self._tunnel:
            self._plane.active -= 1
            self._client.close()
            return
        if self._chunked_answer:
            self._out.append(last_chunk(trailers))
        if trailers:
            self._tap.response_end(fields(trailers))
        self._end_answer(b"".join(self._out))

    def _end_answer(self, last: bytes) -> None:
        self._connection = None
        self._plane.active -= 1
        # The record goes first: what a client saw the end of is never missing, even
        # if this process is killed now. The stamp stands before both, so that no
        # later request of the same client can seem to overlap this one.
        if self._request_ended:
            self._tap.finish(self._duration_us())
        else:
            # Answered before the request was read: what was read is no whole request.
            self._tap.abandon("answered_early")
        client = self._client
        client.write(last)
        if self._paused_client:
            client.resume_reading()
        client.finish(keep=self._keep)

    def on_failure(self, failure: Failure) -> None:
        """See `Receiver`."""
        connection, self._connection = self._connection, None
        if (
            self._sent is not None
            and connection is not None
            and not connection.answered
            and failure.kind in ("reset", "closed_early")
        ):
            # The kept connection was dead already; the upstream cannot have acted twice.
            self._plane.slot[_RETRIES] += 1
            self._held, self._sent = self._sent, None
            self._connect()
            return
        self._plane.active -= 1
        self.on_unblocked()  # whatever the upstream did not take, it never will
        self._plane.slot[INDEX[f"failed_{failure.kind}"]] += 1
        if self._request_ended:
            self._tap.fail(failure.kind, self._duration_us())
        else:
            self._tap.abandon("upstream_failed")
        self._answer_failure(failure)

    def on_blocked(self) -> None:
        """See `Receiver`."""
        self._paused_client = True
        self._client.pause_reading()

    def on_unblocked(self) -> None:
        """See `Receiver`."""
        if self._paused_client:
            self._paused_client = False
            self._client.resume_reading()

    # -- between the two ------------------------------------------------------

    def _connect(self) -> None:
        plane, route = self._plane, self._route
        self._attempt = plane.pool_of(route).connect(route.upstream, self._on_connected)

    def _on_connected(self, result: ClientConnection | Failure) -> None:
        self._attempt = None
        if isinstance(result, Failure):
            self.on_failure(result)
            return
        self._plane.slot[_UPSTREAM_CONNECTIONS] += 1
        self._connection = result
        self._paused_upstream = False
        held, self._held = self._held or [], None
        result.begin(self, self._head.method, upgradable=self._head.upgrade is not None)
        self.on_unblocked()  # first, because the upstream may be too slow for what is held
        result.write(b"".join(held))
        if self._request_ended:
            result.request_sent()
        if self._half_closed:
            result.write_eof()

    def _send(self, data: bytes) -> None:
        connection = self._connection
        if connection is None:
            self._hold(data)
            return
        if self._sent is not None:
            self._held_bytes += len(data)
            if self._held_bytes <= _MAX_HELD_BYTES:
                self._sent.append(data)
            else:
                self._sent = None
        connection.write(data)

    def _hold(self, data: bytes) -> None:
        if self._held is None:
            self._held = []
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _MAX_HELD_BYTES and not self._paused_client:
            self.on_blocked()

    def _start_tunnel(self, head: ResponseHead) -> None:
        self._tunnel = True
        self._plane.slot[_TUNNELS] += 1
        # The exchange is complete; the bytes of a tunnel are not recorded.
        self._tap.finish(self._duration_us())
        self._tap = IGNORED
        client = self._client
        client.answer_started = True
        self._out.append(head.onward(chunked=False, connection=b""))
        self.on_flush()
        client.start_tunnel()

    def _answer_failure(self, failure: Failure) -> None:
        client = self._client
        if client.answer_started:
            client.cut()  # a cut answer must look cut
            return
        status = 504 if failure.kind in ("response_timeout", "connect_timeout") else 502
        self._plane.slot[_RESPONSES[5]] += 1
        client.refuse(
            status,
            failure.kind.replace("_", " "),
            keep=client.may_keep and self._head.keep_alive and self._head.version == 1,
            to_head=self._head.method == b"HEAD",
        )

    def _duration_us(self) -> int:
        return round((time.monotonic() - self._started_s) * 1e6)
