"""Connections to origins: which one a request goes out on, and when one is kept.

Owns the idle connections and the attempts to connect. It sends whole requests
for the replay (`request`); the proxy takes connections and streams (`take`, `connect`).
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections import deque
from collections.abc import Callable, Collection

from mypy_extensions import mypyc_attr

from mirrorproxy.http1.client import ClientConnection, Failure, Receiver
from mirrorproxy.http1.deadlines import NEVER, Deadlines
from mirrorproxy.http1.heads import ResponseHead
from mirrorproxy.http1.limits import ClientLimits
from mirrorproxy.http1.messages import IDEMPOTENT
from mirrorproxy.http1.origin import Origin

OnConnected = Callable[[ClientConnection | Failure], None]


@mypyc_attr(allow_interpreted_subclasses=True)
class Pool:
    """Connections to any number of origins, kept while they are warm.

    tls: the context for https origins; by default the system's trust store,
    with verification. Must be made inside the loop that it serves.
    """

    def __init__(self, limits: ClientLimits, tls: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._tls = tls
        self._idle: dict[Origin, deque[ClientConnection]] = {}
        self._open: set[ClientConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(self._loop)
        self._closed = False

    @property
    def open_connections(self) -> int:
        """How many connections there are, idle ones included."""
        return len(self._open)

    def take(self, origin: Origin, method: bytes) -> ClientConnection | None:
        """Return an idle connection that may carry a request of that method, or None.

        The upstream may be closing a connection at this very moment. A request
        that cannot be repeated therefore goes out only on one used a moment ago.
        """
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()  # the newest: the older ones may then expire
            if not connection.is_open:
                continue
            if method not in IDEMPOTENT:
                age_s = self._loop.time() - connection.idle_since
                if age_s > self._limits.unsafe_idle_s:
                    idle.append(connection)
                    return None
            return connection
        return None

    def connect(
        self, origin: Origin, on_connected: OnConnected, timeout_s: float | None = None
    ) -> asyncio.Task[None]:
        """Open a new connection and hand it, or the failure, to the callback.

        timeout_s: less than the limits say, where there is another choice.
        Returns the attempt: cancelling it before it ends makes no call.
        """
        limit_s = self._limits.connect_timeout_s
        if timeout_s is not None:
            limit_s = min(limit_s, timeout_s)
        task = self._loop.create_task(self._connect(origin, on_connected, limit_s))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task

    def request(
        self,
        origin: Origin,
        method: bytes,
        head: bytes,
        body: bytes,
        receiver: Receiver,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """Send one whole request; the receiver hears how it went.

        head: see `messages.serialize_request`. timeout_s: from now to the last
        byte of the answer. A kept connection that dies before the first byte of
        an answer is tried once more on a fresh one if the method is idempotent.
        """
        total_s = NEVER if timeout_s is None else timeout_s
        connection = self.take(origin, method)
        if connection is None:
            self._request_on_fresh(origin, method, head, body, receiver, total_s)
            return
        if method in IDEMPOTENT:
            again = (origin, method, head, body, self._loop.time() + total_s)
            receiver = _OnceMore(self, connection, again, receiver)
        _send(connection, method, head, body, receiver, total_s)

    def _request_on_fresh(
        self,
        origin: Origin,
        method: bytes,
        head: bytes,
        body: bytes,
        receiver: Receiver,
        total_s: float,
    ) -> None:
        started = self._loop.time()

        def on_connected(result: ClientConnection | Failure) -> None:
            if isinstance(result, Failure):
                receiver.on_failure(result)
                return
            left_s = total_s if total_s == NEVER else total_s - (self._loop.time() - started)
            _send(result, method, head, body, receiver, left_s)

        self.connect(origin, on_connected)

    def keep_only(self, origins: Collection[Origin]) -> None:
        """Close idle connections to all other origins; those in use end as they would."""
        for origin in [origin for origin in self._idle if origin not in origins]:
            for connection in self._idle.pop(origin):
                connection.close()

    async def close(self) -> None:
        """Abort every connection and attempt. Receivers of running exchanges hear nothing."""
        self._closed = True
        for task in tuple(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()
        self._deadlines.close()
        await asyncio.sleep(0)  # lets the transports say that they are gone

    def _release(self, connection: ClientConnection, reusable: bool) -> None:
        if not reusable:
            self._open.discard(connection)
            self._deadlines.discard(connection)
            idle = self._idle.get(connection.origin)
            if idle is not None and connection in idle:
                idle.remove(connection)
            return
        idle = self._idle.setdefault(connection.origin, deque())
        if self._closed or len(idle) >= self._limits.max_idle:
            connection.close()
        else:
            idle.append(connection)

    async def _connect(self, origin: Origin, on_connected: OnConnected, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await self._loop.create_connection(
                    lambda: ClientConnection(self._loop, origin, self._limits, self._release),
                    origin.host,
                    origin.port,
                    ssl=self._tls_context() if origin.scheme == "https" else None,
                    server_hostname=origin.host if origin.scheme == "https" else None,
                )
        except (OSError, ssl.SSLError, UnicodeError) as error:
            on_connected(_connect_failure(origin, error))
            return
        self._open.add(connection)
        self._deadlines.add(connection)
        on_connected(connection)

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def _send(
    connection: ClientConnection,
    method: bytes,
    head: bytes,
    body: bytes,
    receiver: Receiver,
    total_s: float,
) -> None:
    connection.begin(receiver, method, total_s=total_s)
    connection.write(head + body if body else head)
    connection.request_sent()


class _OnceMore(Receiver):
    """Sends a request again when its kept connection turns out to be dead."""

    __slots__ = ("_again", "_connection", "_pool", "_receiver")

    def __init__(
        self,
        pool: Pool,
        connection: ClientConnection,
        again: tuple[Origin, bytes, bytes, bytes, float],
        receiver: Receiver,
    ) -> None:
        self._pool = pool
        self._connection = connection
        self._again = again
        self._receiver = receiver

    def on_informational(self, head: ResponseHead) -> None:
        self._receiver.on_informational(head)

    def on_head(self, head: ResponseHead) -> None:
        self._receiver.on_head(head)

    def on_data(self, data: bytes) -> None:
        self._receiver.on_data(data)

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        self._receiver.on_whole(head, body)

    def on_flush(self) -> None:
        self._receiver.on_flush()

    def on_complete(self, trailers: bytes) -> None:
        self._receiver.on_complete(trailers)

    def on_failure(self, failure: Failure) -> None:
        if self._connection.answered or failure.kind not in ("reset", "closed_early"):
            self._receiver.on_failure(failure)
            return
        origin, method, head, body, ends_s = self._again
        pool = self._pool
        left_s = ends_s - pool._loop.time()
        pool._request_on_fresh(origin, method, head, body, self._receiver, left_s)


def _connect_failure(origin: Origin, error: Exception) -> Failure:
    where = str(origin)
    if isinstance(error, TimeoutError):
        return Failure("connect_timeout", f"no connection to {where} in time")
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", "") or error.reason or "handshake failed"
        return Failure("tls_error", f"TLS with {where}: {reason}")
    # Several addresses that all refuse come as one OSError without a number.
    refused = isinstance(error, ConnectionRefusedError) or (
        isinstance(error, OSError)
        and error.errno is None
        and f"[Errno {errno.ECONNREFUSED}]" in str(error)
    )
    if refused:
        return Failure("connect_refused", f"{where} refuses connections")
    return Failure("connect_error", f"no connection to {where}: {error}")
