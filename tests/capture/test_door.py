"""The door, in process: clients beyond the limit wait instead of being cut."""

import asyncio
import os
import resource
from collections.abc import Callable

import pytest

from mirrorproxy.capture import door
from mirrorproxy.capture.door import Door, descriptor_limit
from mirrorproxy.capture.listeners import Address, address_of, bind_shared


class Greeting(asyncio.Protocol):
    """Greets, and stays."""

    def __init__(self, greeted: list[asyncio.Transport]) -> None:
        self.greeted = greeted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        self.greeted.append(transport)


def lowest_free() -> int:
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


async def test_clients_wait_while_descriptors_are_short() -> None:
    """None is cut; who waits is accepted once the door is opened again."""
    (listening,) = bind_shared(Address("127.0.0.1", 0), 1)
    address = address_of(listening)
    greeted: list[asyncio.Transport] = []
    spare = os.dup(0)
    # Each client takes two: its own end is in this process too.
    entrance = Door(listening, lambda: Greeting(greeted), lowest_free() + 24)
    await entrance.open()
    clients = []
    while entrance.is_open:
        clients.append(await asyncio.open_connection(address.host, address.port))
        await asyncio.sleep(0.005)
    accepted = len(greeted)
    assert 8 <= accepted <= 20
    late = [await asyncio.open_connection(address.host, address.port) for _ in range(3)]
    # One free descriptor is the server's own: opening for nobody would drain the rest bit by bit.
    os.close(spare)
    for _ in range(10):
        await entrance.look()
        await asyncio.sleep(0.002)
    assert not entrance.is_open
    assert len(greeted) == accepted
    for _, writer in clients:
        writer.close()
    await until(lambda: all(transport.is_closing() for transport in greeted[:accepted]))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while len(greeted) < accepted + len(late):
            await entrance.look()
            await asyncio.sleep(0.001)
        for reader, writer in late:
            assert await reader.readexactly(5) == b"hello"
            writer.close()
    entrance.close()
    assert not entrance.is_open
    for transport in greeted:
        transport.abort()
    listening.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("soft", "limit"),
    [
        pytest.param(120, 88, id="few: enough for the files"),
        pytest.param(20_000, 18_750, id="many: a sixteenth is kept"),
        pytest.param(resource.RLIM_INFINITY, 1 << 30, id="no limit"),
    ],
)
def test_what_is_kept(monkeypatch: pytest.MonkeyPatch, soft: int, limit: int) -> None:
    """Some descriptors are kept for upstreams and records."""
    monkeypatch.setattr(door.resource, "getrlimit", lambda _which: (soft, soft))
    assert descriptor_limit() == limit
