"""mirrorproxy's data plane before an origin, in a thread, with a recorder that keeps lists.

Owns the loop and its thread. What the loop would only log (an exception in a
callback) is kept in `errors`, so that a test can demand that there is none.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from mirrorproxy.capture.proxy import Proxy
from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.capture.tap import Tap
from mirrorproxy.http1.heads import RequestHead, ResponseHead
from mirrorproxy.http1.limits import ClientLimits, ServerLimits
from mirrorproxy.http1.origin import parse_origin
from mirrorproxy.http1.pool import Pool
from mirrorproxy.metrics import volatile_slot
from mirrorproxy.record import HeaderList

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

try:
    import uvloop
except ImportError:
    FAST_LOOP: LoopFactory = asyncio.new_event_loop
else:
    FAST_LOOP = uvloop.new_event_loop


class ListTap(Tap):
    """Keeps what it is told. ends: how the exchange ended; one entry at most is right."""

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.body = bytearray()
        self.complete = False
        self.trailers: HeaderList | None = None
        self.response: ResponseHead | None = None
        self.response_body = bytearray()
        self.ends: list[str] = []

    def request_data(self, data: bytes) -> None:
        self.body += data

    def request_end(self, trailers: HeaderList | None = None) -> None:
        self.complete = True
        self.trailers = trailers

    def response_head(self, head: ResponseHead) -> None:
        self.response = head

    def response_data(self, data: bytes) -> None:
        self.response_body += data

    def finish(self, duration_us: int) -> None:
        self.ends.append("finished")

    def fail(self, kind: str, duration_us: int) -> None:
        self.ends.append(f"failed: {kind}")

    def abandon(self, reason: str) -> None:
        self.ends.append(f"abandoned: {reason}")


class ListRecorder:
    """Gives every request a `ListTap` and keeps it."""

    def __init__(self) -> None:
        self.taps: list[ListTap] = []

    def begin(self, head: RequestHead, **_: Any) -> ListTap:
        """Return the tap of a request."""
        tap = ListTap(head)
        self.taps.append(tap)
        return tap


class Mirror:
    """The proxy under test; a context manager that gives itself.

    loop_factory: asyncio's own by default only where uvloop is missing.
    """

    def __init__(
        self,
        origin: str,
        *,
        strict: bool = False,
        server: ServerLimits | None = None,
        client: ClientLimits | None = None,
        loop_factory: LoopFactory = FAST_LOOP,
    ) -> None:
        self.recorder = ListRecorder()
        self.errors: list[str] = []
        self.address = ("127.0.0.1", 0)
        self._origin = origin
        self._strict = strict
        self._loop_factory = loop_factory
        self._server_limits = server or ServerLimits()
        self._client_limits = client or ClientLimits()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._proxy: Proxy | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Mirror:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def tap_of(self, target: bytes) -> ListTap:
        """Return the newest tap of a request with that in its target."""
        return next(tap for tap in reversed(self.recorder.taps) if target in tap.head.target)

    def forget(self) -> None:
        """Start a new page of taps."""
        self.recorder.taps.clear()

    def settle(self) -> None:
        """Wait until the loop has done what it has at hand."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(5)

    def wait_until_empty(self, timeout_s: float = 5.0) -> bool:
        """Say whether all clients' connections and requests come to their end in that time."""
        deadline = time.monotonic() + timeout_s
        proxy = self._proxy
        while proxy is not None and (proxy.open_connections or proxy.active):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
            self.settle()
        return True

    def settle_taps(self, timeout_s: float = 5.0) -> None:
        """Wait until every tap has heard an end: the proxy may learn of one later than we."""
        deadline = time.monotonic() + timeout_s
        self.settle()
        while time.monotonic() < deadline and not all(tap.ends for tap in self.recorder.taps):
            time.sleep(0.005)
            self.settle()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, context: self.errors.append(repr(context)))
        self._stop = asyncio.Event()
        upstream, base_path = parse_origin(f"http://{self._origin}")
        pool = Pool(self._client_limits)
        proxy = self._proxy = Proxy(
            Routes([Route("app", upstream, base_path)]),
            self.recorder,
            lambda _: pool,
            self._server_limits,
            volatile_slot(),
            strict=self._strict,
        )
        server = await self._loop.create_server(proxy.protocol_factory, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()[:2]
        self._ready.set()
        await self._stop.wait()
        server.close()
        proxy.close()
        await pool.close()
