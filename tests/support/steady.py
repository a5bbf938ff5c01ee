"""A steady load on whatever is under test, and the slow application that it is for.

Both run in a thread of their own with an event loop, so that a scenario can be
written as plain steps. Requests are sent when they are due, however slow the
answers are; each carries a marker that its answer must repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

IDLE_S = 2.0
"""How long a connection is kept without a request: shorter than any server's patience."""


class Background:
    """A coroutine in a thread with a loop of its own, until the block ends."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def call(self, work: Coroutine[Any, Any, Any], timeout_s: float = 30) -> Any:
        """Run something in the loop; return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def start(self) -> None:
        """Start the loop."""
        self._thread.start()

    def stop(self) -> None:
        """Cancel what runs, and end the loop."""

        async def cancel() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.call(cancel())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class SlowApplication:
    """An application that answers each request with its target, after a while.

    delay_s: how long an answer takes. host: where it listens, on a port of the
    system's choice. served: how often each target was answered. named: values
    of X-Mirrorproxy-App that came.
    """

    def __init__(
        self, delay_s: float = 0.0, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.delay_s = delay_s
        self.host = host
        self.port = 0
        self.served: Counter[str] = Counter()
        self.named: set[str] = set()
        self._tls = tls
        self._background = Background("slow application")
        self._server: asyncio.Server | None = None

    def __enter__(self) -> SlowApplication:
        self._background.start()
        self._background.call(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._background.call(self._close(self._server))
        self._background.stop()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, self.host, 0, backlog=1024, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(length_of(head))
                fields = fields_of(head)
                target = head.split(b" ", 2)[1].decode("latin-1")
                self.served[target] += 1
                if named := fields.get(b"x-mirrorproxy-app"):
                    self.named.add(named.decode())
                await asyncio.sleep(self.delay_s)
                body = target.encode("latin-1")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()


class Sent(NamedTuple):
    """One request. kind: answered, refused, cut, silent, wrong, or the status.

    due_s, ended_s: when it was to be sent and when it ended, by the monotonic clock.
    """

    target: str
    kind: str
    due_s: float
    ended_s: float

    @property
    def took_s(self) -> float:
        return self.ended_s - self.due_s


class Load:
    """Requests at a steady rate, from enough clients, until the block ends.

    per_s: requests a second. headers: sent with each; Host among them. name:
    the first segment of each target. method: POST has a small JSON body.
    timeout_s: after which a request without an answer is given up as silent.
    """

    def __init__(
        self,
        address: tuple[str, int],
        host: str,
        *,
        per_s: float = 200.0,
        name: str = "load",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 15.0,
    ) -> None:
        self.sent: list[Sent] = []
        self._address = address
        self._per_s = per_s
        self._name = name
        self._method = method
        self._timeout_s = timeout_s
        self._fields = "".join(
            f"{key}: {value}\r\n" for key, value in {"Host": host, **(headers or {})}.items()
        )
        self._background = Background("load")
        self._idle: list[tuple[Streams, float]] = []
        self._open: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self._number = 0

    def __enter__(self) -> Load:
        self._background.start()
        self._running = asyncio.run_coroutine_threadsafe(self._run(), self._background._loop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(RuntimeError):
            self.finish()
        self._background.stop()

    def finish(self) -> None:
        """Send nothing more, and wait for every answer."""
        if not self._running.done():
            self._background._loop.call_soon_threadsafe(self._ending.set)
        self._running.result(self._timeout_s + 10)

    def run_for(self, seconds: float) -> None:
        """Let it go on for a while."""
        time.sleep(seconds)

    def between(self, first_s: float, last_s: float) -> list[Sent]:
        """Return what was due in that time."""
        return [one for one in self.sent if first_s <= one.due_s < last_s]

    @property
    def failed(self) -> list[Sent]:
        """What was not answered, in the order in which it was due."""
        return sorted((one for one in self.sent if one.kind != "answered"), key=lambda it: it.due_s)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        count = 0
        while not self._ending.is_set():
            due = began + count / self._per_s
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            count += 1
            task = loop.create_task(self._one(due, count))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        await asyncio.gather(*self._open)
        for streams, _ in self._idle:
            streams[1].transport.abort()

    async def _one(self, due_s: float, number: int) -> None:
        target = f"/{self._name}/{number}"
        body = b'{"number": %d}' % number if self._method == "POST" else b""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        text = f"{self._method} {target} HTTP/1.1\r\n{self._fields}{length}\r\n".encode() + body
        streams = self._take()
        keep = False
        try:
            async with asyncio.timeout(self._timeout_s):
                if streams is None:
                    streams = await asyncio.open_connection(*self._address)
                streams[1].write(text)
                head = await streams[0].readuntil(b"\r\n\r\n")
                answer = await streams[0].readexactly(length_of(head))
            status = head.split(b" ", 2)[1].decode()
            kind = status if status != "200" else "wrong"
            if status == "200" and answer == target.encode():
                kind = "answered"
            keep = b"\r\nconnection: close" not in head.lower()
        except ConnectionRefusedError:
            kind = "refused"
        except TimeoutError:
            kind = "silent"
        except (OSError, EOFError):
            kind = "cut"
        now = time.monotonic()
        self.sent.append(Sent(target, kind, due_s, now))
        if streams is not None:
            if keep:
                self._idle.append((streams, now))
            else:
                streams[1].transport.abort()

    def _take(self) -> Streams | None:
        while self._idle:
            streams, since = self._idle.pop()
            if time.monotonic() - since < IDLE_S and not streams[0].at_eof():
                return streams
            streams[1].transport.abort()
        return None


def percentile_ms(sent: Sequence[Sent], percent: float) -> float:
    """Return a percentile of how long answers took, in milliseconds; 0 without any."""
    took = sorted(one.took_s for one in sent if one.kind == "answered")
    if not took:
        return 0.0
    return 1000 * took[min(len(took) - 1, int(len(took) * percent / 100))]


def wait_until(is_so: Callable[[], object], what: str, timeout_s: float = 30.0) -> float:
    """Return when something is so, by the monotonic clock. Raises AssertionError otherwise."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited for {what} in vain")
        time.sleep(0.01)
    return time.monotonic()


def fields_of(head: bytes) -> dict[bytes, bytes]:
    """Return the fields of a head, names in lower case; the last of a name wins."""
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in pairs}


def length_of(head: bytes) -> int:
    """Return the length that a head announces; 0 without one."""
    return int(fields_of(head).get(b"content-length", b"0"))
