"""One worker's life, in process: a real socket, a data plane that only answers."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from mirrorproxy.capture.child import DRAIN, LIVE
from mirrorproxy.capture.listeners import Address, address_of, bind_shared
from mirrorproxy.capture.worker import Worker
from mirrorproxy.metrics import INDEX, volatile_slot


class FakePlane:
    """Answers each request with its own bytes, those that begin with 's' not before release."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.connections: set[Answering] = set()
        self.is_draining = False
        self.aborted = 0

    @property
    def active(self) -> int:
        return sum(connection.is_busy for connection in self.connections)

    @property
    def open_connections(self) -> int:
        return len(self.connections)

    def protocol_factory(self) -> asyncio.BaseProtocol:
        return Answering(self)

    def copies_factory(self) -> asyncio.BaseProtocol:
        return Answering(self)

    def update_gauges(self) -> None:
        pass

    def drain(self) -> None:
        self.is_draining = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    def close(self) -> None:
        self.aborted = len(self.connections)
        for connection in tuple(self.connections):
            connection.transport.abort()


class Answering(asyncio.Protocol):
    def __init__(self, plane: FakePlane) -> None:
        self.plane = plane
        self.is_busy = False
        self.transport = asyncio.Transport()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.plane.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.plane.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.is_busy = True
        self.task = asyncio.ensure_future(self.answer(data))

    async def answer(self, data: bytes) -> None:
        if data.startswith(b"s"):
            await self.plane.release.wait()
        self.transport.write(data)
        self.is_busy = False
        if self.plane.is_draining:
            self.transport.close()

    def close_if_idle(self) -> None:
        if not self.is_busy:
            self.transport.close()


class Scene:
    """A worker that runs, and the ends that its supervisor holds."""

    def __init__(self, drain_timeout_s: float = 5.0, orphan_s: float = 5.0) -> None:
        (self.listening,) = bind_shared(Address("127.0.0.1", 0), 1)
        self.address = address_of(self.listening)
        self.control, theirs = socket.socketpair()
        self.theirs = theirs
        (self.tap,) = bind_shared(Address("127.0.0.1", 0), 1)
        self.tap_address = address_of(self.tap)
        self.heard: list[bytes] = []
        self.slot = volatile_slot()
        self.plane = FakePlane()
        self.worker = Worker(
            self.plane,
            self.listening,
            theirs,
            self.slot,
            drain_timeout_s=drain_timeout_s,
            orphan_s=orphan_s,
            tap=self.tap,
            follow=self.heard.append,
        )
        self.run = asyncio.create_task(self.worker.run())

    async def ready(self) -> None:
        async with asyncio.timeout(5):
            while not self.slot[INDEX["ready"]]:
                await asyncio.sleep(0.005)

    async def ask(self, word: bytes, address: Address | None = None) -> bytes:
        reader, writer = await asyncio.open_connection(*(address or self.address))
        writer.write(word)
        try:
            return await asyncio.wait_for(reader.read(len(word)), 10)
        finally:
            writer.close()

    async def ended(self) -> None:
        await asyncio.wait_for(self.run, 10)


@pytest.fixture
async def scenes() -> AsyncIterator[list[Scene]]:
    made: list[Scene] = []
    yield made
    for scene in made:
        if not scene.run.done():
            scene.run.cancel()
        await asyncio.gather(scene.run, return_exceptions=True)
        scene.plane.close()
        await asyncio.sleep(0)
        scene.control.close()
        scene.theirs.close()


async def test_shows_that_it_lives(scenes: list[Scene]) -> None:
    """Its process, its heartbeat and its readiness stand in its slot."""
    scenes.append(scene := Scene())
    await scene.ready()
    assert scene.slot[INDEX["pid"]] == os.getpid()
    first = scene.slot[INDEX["heartbeat_ns"]]
    assert first > 0
    async with asyncio.timeout(5):
        while scene.slot[INDEX["heartbeat_ns"]] == first:
            await asyncio.sleep(0.02)


async def test_whoever_waits_in_the_backlog_is_still_answered(scenes: list[Scene]) -> None:
    """Connections made before the drain, but not accepted yet, are served; later ones refused."""
    scenes.append(scene := Scene())
    await scene.ready()
    clients = []
    scene.control.send(DRAIN)
    # Two turns of the loop: the order is heard, and not acted on yet. The calls below
    # block the loop, which is the worker's too: it accepts none of them meanwhile.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(50):
        address = scene.tap_address if number % 2 else scene.address
        client = socket.create_connection(address, timeout=5)
        client.sendall(b"%02d" % number)
        clients.append(client)
    await scene.ended()
    for number, client in enumerate(clients):
        with client:
            assert client.recv(2) == b"%02d" % number
    for address in (scene.address, scene.tap_address):
        with pytest.raises(ConnectionRefusedError):
            await scene.ask(b"x", address)
    assert scene.slot[INDEX["ready"]] == 0


async def test_drain_waits_for_what_is_in_flight(scenes: list[Scene]) -> None:
    """An idle connection is closed at once, a busy one after its answer."""
    scenes.append(scene := Scene())
    await scene.ready()
    idle_reader, idle_writer = await asyncio.open_connection(*scene.address)
    slow = asyncio.create_task(scene.ask(b"slow"))
    async with asyncio.timeout(5):
        while not scene.plane.active:
            await asyncio.sleep(0.005)
    scene.control.send(DRAIN)
    assert await asyncio.wait_for(idle_reader.read(), 5) == b""
    idle_writer.close()
    assert not scene.run.done()
    scene.plane.release.set()
    assert await slow == b"slow"
    await scene.ended()
    assert scene.plane.aborted == 0


async def test_follows_what_it_is_told(scenes: list[Scene]) -> None:
    """Whole words, in order, while it serves; draining is one of them."""
    scenes.append(scene := Scene())
    await scene.ready()
    said = b"".join(LIVE + len(word).to_bytes(4, "big") + word for word in (b"one", b"two"))
    scene.control.send(said[:7])
    assert await scene.ask(b"x", scene.tap_address) == b"x"
    scene.control.send(said[7:] + DRAIN)
    await scene.ended()
    assert scene.heard == [b"one", b"two"]


async def test_drain_is_bounded(scenes: list[Scene]) -> None:
    """What does not end in time is cut off."""
    scenes.append(scene := Scene(drain_timeout_s=0.3))
    await scene.ready()
    slow = asyncio.create_task(scene.ask(b"slow"))
    async with asyncio.timeout(5):
        while not scene.plane.active:
            await asyncio.sleep(0.005)
    scene.control.send(DRAIN)
    await scene.ended()
    assert scene.plane.aborted == 1
    scene.plane.release.set()
    assert await slow == b""


async def test_goes_on_for_a_while_without_its_supervisor(scenes: list[Scene]) -> None:
    """An orphan serves, and then drains by itself."""
    scenes.append(scene := Scene(orphan_s=0.5))
    await scene.ready()
    scene.control.close()
    await asyncio.sleep(0.1)
    assert await scene.ask(b"x") == b"x"
    await scene.ended()
    with pytest.raises(ConnectionRefusedError):
        await scene.ask(b"x")
