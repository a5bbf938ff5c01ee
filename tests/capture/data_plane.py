"""A data plane in process, its backends and a client, for the tests beside this file."""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from support.mirror import ListTap

from mirrorproxy.capture.app_follower import AppFollower
from mirrorproxy.capture.live import Live, encode
from mirrorproxy.capture.proxy import Proxy
from mirrorproxy.capture.recorder import Sealing, ServicePolicy
from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.demo.processes import free_port
from mirrorproxy.http1.heads import RequestHead
from mirrorproxy.http1.limits import ClientLimits, ServerLimits
from mirrorproxy.http1.pool import Pool
from mirrorproxy.metrics import FIELDS, volatile_slot
from mirrorproxy.topology import App, Instance, Topology


class Backend:
    """An instance of an app: answers each request with its own name, when it may.

    heads: what reached it. may_answer: whether requests are answered.
    """

    def __init__(self, name: str, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self._tls = tls
        self.heads: list[bytes] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.came = asyncio.Event()
        self.instance = Instance("http", "127.0.0.1", 0)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def open_connections(self) -> int:
        return len(self._writers)

    async def start(self) -> None:
        if self._server is not None:
            return
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        scheme = "https" if self._tls else "http"
        self.instance = Instance(scheme, *self._server.sockets[0].getsockname())

    async def stop(self) -> None:
        self.may_answer.set()
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if found := re.search(rb"content-length: *(\d+)", head.lower()):
                    await reader.readexactly(int(found[1]))
                self.heads.append(head)
                self.came.set()
                await self.may_answer.wait()
                if b"upgrade: echo" in head.lower():
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
                    writer.write(b"Upgrade: echo\r\n\r\n")
                    while data := await reader.read(100):
                        writer.write(data)
                        if data == b"end":
                            break
                    break
                name = self.name.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)


class Recorder:
    """Keeps every tap, what it was begun with, and policies."""

    def __init__(self) -> None:
        self.taps: list[NotedTap] = []
        self.policies: dict[str, ServicePolicy] = {}

    def begin(self, head: RequestHead, *, service: str, upstream: Any, **_: Any) -> ListTap:
        self.taps.append(NotedTap(head, service, upstream))
        return self.taps[-1]

    def set_policy(self, service: str, policy: ServicePolicy) -> None:
        self.policies[service] = policy


class NotedTap(ListTap):
    """Also keeps whose it is and where the request went."""

    def __init__(self, head: RequestHead, service: str, upstream: Any) -> None:
        super().__init__(head)
        self.service = service
        self.upstream = upstream

    def sent_to(self, upstream: Any) -> None:
        self.upstream = upstream


class DataPlane:
    """A proxy with its follower, served on a port of its own; one more for copies."""

    def __init__(
        self,
        *static: Route,
        strict: bool = False,
        policies: dict[str, ServicePolicy] | None = None,
    ) -> None:
        self.slot = volatile_slot()
        self.recorder = Recorder()
        self.pool = Pool(ClientLimits())
        self.sealings: list[tuple[str, ...]] = []
        self.proxy = Proxy(
            Routes(static),
            self.recorder,
            lambda _: self.pool,
            ServerLimits(),
            self.slot,
            strict=strict,
        )
        self.follower = AppFollower(
            self.proxy,
            self.recorder,
            self.pool,
            static=static,
            policies=policies or {},
            sealing_of=self._sealing_of,
        )

    def _sealing_of(self, names: tuple[str, ...]) -> Sealing:
        self.sealings.append(names)
        return Sealing(_NoSealer())  # type: ignore[arg-type]

    def serve(self, *apps: App, **live: Any) -> None:
        """Say what is so from now on, as a supervisor does."""
        self.follower.hear(encode(Live(topology=Topology(apps), **live)))

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._servers = [
            await loop.create_server(factory, "127.0.0.1", 0)
            for factory in (self.proxy.protocol_factory, self.proxy.copies_factory)
        ]
        self.address, self.tap_address = (one.sockets[0].getsockname() for one in self._servers)

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        self.proxy.close()
        await self.pool.close()

    async def ask(self, *headers: str, target: str = "/", host: str = "a.test") -> tuple[int, str]:
        """Return the status and body of a request on a connection of its own."""
        return await exchange(self.address, target, [f"Host: {host}", *headers])

    @property
    def counts(self) -> dict[str, int]:
        return {
            name: number for name, number in zip(FIELDS, self.slot.tolist(), strict=True) if number
        }


class _NoSealer:
    def line(self, line: tuple[str, str]) -> tuple[tuple[str, str], tuple[()]]:
        return line, ()


async def exchange(
    address: tuple[str, int], target: str, headers: Sequence[str], body: bytes = b""
) -> tuple[int, str]:
    """Return the status and body of one request."""
    reader, writer = await asyncio.open_connection(*address)
    method = "POST" if body else "GET"
    length = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {target} HTTP/1.1", *headers, *length, "Connection: close"])
    writer.write(head.encode("latin-1") + b"\r\n\r\n" + body)
    try:
        answer = await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
    start, _, rest = answer.partition(b"\r\n\r\n")
    return int(start.split(b" ")[1]), rest.decode()


@contextlib.asynccontextmanager
async def serving(plane: DataPlane, *backends: Backend) -> AsyncIterator[DataPlane]:
    """Run a data plane and the backends behind it."""
    for backend in backends:
        await backend.start()
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()
        for backend in backends:
            await backend.stop()
        await asyncio.sleep(0)


def nobody() -> Instance:
    """Return an instance that refuses connections."""
    return Instance("http", "127.0.0.1", free_port())


@contextlib.contextmanager
def full_backlog() -> Iterator[Instance]:
    """Give an instance that answers no connection: what its backlog holds is never accepted."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield Instance("http", *listening.getsockname())
