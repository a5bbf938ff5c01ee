"""Which apps can be reached, with instances that a test opens and closes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mirrorproxy.capture.prober import Prober, can_connect
from mirrorproxy.topology import App, Instance, Topology

A, B, C = (Instance("http", name, 80) for name in "abc")


class Network:
    """Instances that take connections, or do not."""

    def __init__(self, *is_open: Instance) -> None:
        self.is_open = set(is_open)
        self.asked: list[Instance] = []
        self.turn = asyncio.Event()

    async def connect(self, instance: Instance) -> bool:
        self.asked.append(instance)
        self.turn.set()
        return instance in self.is_open

    async def asked_for(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self.turn.clear()
                await self.turn.wait()
        await asyncio.sleep(0)


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def apps(*instances: Instance, mode: str = "inline") -> Topology:
    return Topology((App(name="orders", mode=mode, instances=instances),))  # type: ignore[arg-type]


@pytest.fixture
async def probers() -> AsyncIterator[list[asyncio.Task[None]]]:
    running: list[asyncio.Task[None]] = []
    yield running
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_an_app_that_was_never_reached_is_not_ready(
    probers: list[asyncio.Task[None]],
) -> None:
    """Traffic comes when the first connection was made, and not before."""
    network = Network()
    prober = Prober(network.connect, now=Clock(), every_s=0.001)
    prober.follow(apps(A))
    assert prober.unready("orders") == ["no instance could be connected to yet"]
    probers.append(asyncio.create_task(prober.run()))
    await network.asked_for(2)
    assert prober.unready("orders") == ["no instance could be connected to yet"]
    network.is_open.add(A)
    await network.asked_for(5)
    assert prober.unready("orders") == []


async def test_one_instance_is_enough(probers: list[asyncio.Task[None]]) -> None:
    """The one that answered last is asked first, and alone while it answers."""
    network = Network(B)
    prober = Prober(network.connect, now=Clock(), every_s=0.001)
    prober.follow(apps(A, B, C))
    probers.append(asyncio.create_task(prober.run()))
    await network.asked_for(10)
    assert prober.unready("orders") == []
    assert set(network.asked[4:]) == {B}


async def test_two_seconds_without_any_give_the_traffic_back(
    probers: list[asyncio.Task[None]],
) -> None:
    """A connection that fails now and then does not."""
    network, clock = Network(A), Clock()
    prober = Prober(network.connect, now=clock, every_s=0.001)
    prober.follow(apps(A))
    probers.append(asyncio.create_task(prober.run()))
    await network.asked_for(3)
    network.is_open.clear()
    await network.asked_for(len(network.asked) + 3)
    clock.now += 1.9
    assert prober.unready("orders") == []
    clock.now += 0.2
    assert prober.unready("orders") == ["no instance could be connected to for 2.1 s"]
    network.is_open.add(A)
    await network.asked_for(len(network.asked) + 3)
    assert prober.unready("orders") == []


async def test_without_instances_there_is_nothing_to_ask() -> None:
    """And no traffic either; nobody knows of another app."""
    prober = Prober(Network().connect)
    prober.follow(apps())
    assert prober.unready("orders") == ["no healthy instance"]
    assert prober.unready("shop") is None


async def test_a_tap_is_in_nobodys_path() -> None:
    """It needs no instance."""
    prober = Prober(Network().connect)
    prober.follow(apps(mode="tap"))
    assert prober.unready("orders") == []


async def test_an_app_that_goes_is_forgotten() -> None:
    """Its health is no longer known."""
    prober = Prober(Network().connect)
    prober.follow(apps(A))
    prober.follow(Topology())
    assert prober.unready("orders") is None


async def test_connects_for_real() -> None:
    """To whoever listens, by name or address; nothing is sent."""
    heard: list[bytes] = []
    done = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()
        done.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await can_connect(Instance("https", "127.0.0.1", port))
    await asyncio.wait_for(done.wait(), 5)
    assert heard == [b""]
    server.close()
    await server.wait_closed()
    assert not await can_connect(Instance("http", "127.0.0.1", port))
    assert not await can_connect(Instance("http", "no such name.invalid", 80))
