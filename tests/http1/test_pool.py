"""Which connection a request goes out on, on real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from support.certificates import certificate
from wire_fakes import Answers

from mirrorproxy.http1.client import Failure
from mirrorproxy.http1.limits import ClientLimits
from mirrorproxy.http1.origin import Origin
from mirrorproxy.http1.pool import Pool

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Waited(Answers):
    """An answer that can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.done = asyncio.Event()

    def on_complete(self, trailers: bytes) -> None:
        super().on_complete(trailers)
        self.done.set()

    def on_failure(self, failure: Failure) -> None:
        super().on_failure(failure)
        self.done.set()


class Peer:
    """An upstream. connections: how many requests each carried."""

    def __init__(self, serve: Callable[[Peer, int, int], bytes | None]) -> None:
        self.connections: list[int] = []
        self.requests: list[bytes] = []
        self._serve = serve

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.connections)
        self.connections.append(0)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                self.connections[number] += 1
                answer = self._serve(self, number, self.connections[number])
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool(ClientLimits(connect_timeout_s=5))
    yield made
    await made.close()


@pytest.fixture
async def listen() -> AsyncIterator[Callable[..., Awaitable[Origin]]]:
    servers = []

    async def start(serve: Serve, tls: ssl.SSLContext | None = None) -> Origin:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        scheme = "https" if tls else "http"
        return Origin(scheme, "127.0.0.1", server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def ask(
    pool: Pool, origin: Origin, method: bytes = b"GET", timeout_s: float | None = None
) -> Waited:
    answer = Waited()
    head = method + b" / HTTP/1.1\r\nHost: h\r\n\r\n"
    pool.request(origin, method, head, b"", answer, timeout_s=timeout_s)
    async with asyncio.timeout(20):
        await answer.done.wait()
    return answer


async def test_a_connection_is_used_again(pool, listen) -> None:
    """Requests one after the other share one."""
    peer = Peer(lambda _peer, _connection, _request: OK)
    origin = await listen(peer.handle)
    for method in (b"GET", b"POST", b"PUT"):
        assert (await ask(pool, origin, method)).body == b"ok"
    assert peer.connections == [3]
    assert pool.open_connections == 1


async def test_a_kept_connection_that_died_is_replaced_once(pool, listen) -> None:
    """An idempotent request is sent again on a fresh one; nobody notices."""
    peer = Peer(lambda _peer, connection, request: None if (connection, request) == (0, 2) else OK)
    origin = await listen(peer.handle)
    await ask(pool, origin)
    assert (await ask(pool, origin)).body == b"ok"
    assert peer.connections == [2, 1]


async def test_a_post_is_never_sent_twice(pool, listen) -> None:
    """The upstream may have acted on it: the failure is told instead."""
    peer = Peer(lambda _peer, connection, request: None if (connection, request) == (0, 2) else OK)
    origin = await listen(peer.handle)
    await ask(pool, origin)
    answer = await ask(pool, origin, b"POST")
    assert answer.failure is not None
    assert answer.failure.kind in ("closed_early", "reset")
    assert peer.connections == [2]


async def test_a_fresh_connection_that_dies_is_a_failure(pool, listen) -> None:
    """One try on a fresh connection is the last."""
    peer = Peer(lambda _peer, _connection, _request: None)
    origin = await listen(peer.handle)
    answer = await ask(pool, origin)
    assert answer.failure is not None
    assert peer.connections == [1]


async def test_a_post_takes_only_a_connection_used_a_moment_ago(pool, listen) -> None:
    """The upstream may be closing one that has idled; a GET may risk it."""
    peer = Peer(lambda _peer, _connection, _request: OK)
    origin = await listen(peer.handle)
    await ask(pool, origin)
    connection = pool.take(origin, b"GET")
    assert connection is not None
    connection.idle_since -= 1.5
    pool._release(connection, True)
    assert pool.take(origin, b"POST") is None
    assert pool.take(origin, b"GET") is connection


async def test_nobody_listening(pool, unused_tcp_port) -> None:
    """A refused connection is a failure of its own kind."""
    answer = await ask(pool, Origin("http", "127.0.0.1", unused_tcp_port))
    assert answer.failure is not None
    assert answer.failure.kind == "connect_refused"


async def test_a_host_that_does_not_exist(pool) -> None:
    """So is a name without an address."""
    answer = await ask(pool, Origin("http", "no-such-host.invalid", 80))
    assert answer.failure is not None
    assert answer.failure.kind == "connect_error"


async def test_an_answer_that_takes_too_long(pool, listen) -> None:
    """timeout_s covers the whole exchange."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    origin = await listen(silent)
    answer = await ask(pool, origin, timeout_s=0.2)
    assert answer.failure is not None
    assert answer.failure.kind == "response_timeout"


class ShiftedLoop:
    """The running loop, with a clock that a test can put forward."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ahead_s = 0.0

    def time(self) -> float:
        return self._loop.time() + self.ahead_s

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)


async def test_a_second_try_has_only_the_time_that_is_left(pool, listen, monkeypatch) -> None:
    """A kept connection that dies late does not double the time-out."""
    loop = ShiftedLoop()
    monkeypatch.setattr(pool, "_loop", loop)
    left_s = []

    def serve(_peer: Peer, connection: int, request: int) -> bytes | None:
        if (connection, request) == (0, 2):
            loop.ahead_s = 6.0
            return None
        left_s.extend(one.deadline - loop.time() for one in pool._open)
        return OK

    peer = Peer(serve)
    origin = await listen(peer.handle)
    await ask(pool, origin)
    assert (await ask(pool, origin, timeout_s=10.0)).body == b"ok"
    assert len(left_s) == 2
    assert left_s[1] <= 4.0


async def test_tls_is_verified(listen, tmp_path) -> None:
    """A certificate of an unknown authority is refused; with its authority it is used."""
    pem = certificate(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    peer = Peer(lambda _peer, _connection, _request: OK)
    origin = await listen(peer.handle, serving)
    doubting = Pool(ClientLimits())
    answer = await ask(doubting, origin)
    assert answer.failure is not None
    assert answer.failure.kind == "tls_error"
    await doubting.close()
    trusting = Pool(ClientLimits(), ssl.create_default_context(cafile=str(pem)))
    assert (await ask(trusting, origin)).body == b"ok"
    await trusting.close()
