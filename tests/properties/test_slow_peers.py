"""What the machine of `test_proxy_machine` found about peers that do not read, case by case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dialogue import Answer, Ask
from joined import MAX_WAITING_BYTES, PIECE_BYTES, World

FINE = Answer(
    status=200,
    framing="length",
    size=3900,
    interim=(),
    has_trailer=False,
    closes=False,
    is_early=False,
    leaves="",
)


def ask(number: int, method: bytes, size: int = 0) -> Ask:
    framing = "length" if method == b"POST" else "none"
    return Ask(number, method, 1, framing, size, 1000, False, False, FINE)


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.close()


def play(worlds: list[World], *asks: Ask) -> World:
    worlds.append(World([list(asks)]))
    return worlds[-1]


def flow(world: World, without: str = "", rounds: int = 40) -> None:
    for _ in range(rounds):
        world.flow(PIECE_BYTES, without)
        world.check_memory()


def test_an_upstream_that_connects_late_and_never_reads(worlds: list[World]) -> None:
    """What was held for it may be too much for it already: the client waits on."""
    world = play(worlds, ask(0, b"POST", 40_000))
    flow(world, "connects")
    flow(world, "upstream reads")
    client = world.clients[0]
    assert not client.wire.is_reading
    assert len(client.outgoing) > 40_000 - MAX_WAITING_BYTES
    flow(world)
    assert client.reading.answered == 1


def test_a_client_that_asks_on_and_never_reads(worlds: list[World]) -> None:
    """Answers that nobody takes do not pile up, however many are asked for."""
    world = play(worlds, *(ask(number, b"GET") for number in range(90)))
    flow(world, "client reads")
    assert sum(world.sent.values()) == 1
    flow(world, rounds=200)
    assert world.clients[0].reading.answered == 90


def test_a_client_that_asks_on_and_never_reads_is_cut_off(worlds: list[World]) -> None:
    """A minute after the answer that it does not take, as in the midst of one."""
    world = play(worlds, *(ask(number, b"GET") for number in range(3)))
    flow(world, "client reads")
    world.loop.wait(61)
    assert world.clients[0].wire.ended == "aborted"


def test_requests_ahead_of_their_turn_wait_although_the_upstream_reads_again(
    worlds: list[World],
) -> None:
    """Two reasons to let a client wait: it is read from again when both are gone."""
    world = play(worlds, ask(0, b"HEAD"), ask(1, b"POST", 3900), ask(2, b"POST", 40_000))
    client = world.clients[0]
    client.send(len(client.asks[0].raw()))
    flow(world, "client sends", rounds=3)
    client.send(2 * PIECE_BYTES)
    assert world.order == [0, 1]
    assert not client.wire.is_reading
    flow(world, "upstream sends")
    assert not client.wire.is_reading
    flow(world)
    assert client.reading.answered == 3


def test_an_upstream_that_breaks_while_the_client_waits_for_it(worlds: list[World]) -> None:
    """The connection that is kept behind the error is read from again."""
    world = play(worlds, ask(0, b"HEAD"), ask(1, b"POST", 3900), ask(2, b"GET"))
    client = world.clients[0]
    client.send(len(client.outgoing) - 10)
    flow(world, "client sends", rounds=2)
    upstream = world.upstreams[0]
    assert world.order == [0, 1]
    assert not client.wire.is_reading
    upstream.is_dirty = True
    upstream.wire.reset()
    flow(world)
    assert client.reading.answered == 3
    assert client.reading.own_errors == 1
