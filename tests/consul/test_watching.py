"""Watches: what they ask with, what they tell, and what they do while Consul is away."""

from __future__ import annotations

import asyncio

import pytest
from consulkit import FakeCatalog, Heard, going, service

from mirrorproxy.control.catalog import Answer
from mirrorproxy.control.watch import backoff_s, next_index, watch, watch_values


@pytest.mark.parametrize(
    ("asked", "answered", "index"),
    [
        pytest.param(0, 7, 7, id="the first answer"),
        pytest.param(7, 9, 9, id="a change"),
        pytest.param(7, 7, 7, id="nothing happened in all the time"),
        pytest.param(7, 3, 0, id="it went backwards: start anew"),
    ],
)
def test_the_index_to_ask_with(asked, answered, index):
    assert next_index(asked, answered) == index


@pytest.mark.parametrize(
    ("failures", "jitter", "wait_s"),
    [
        pytest.param(1, 0.0, 0.1, id="soon at first"),
        pytest.param(1, 1.0, 0.2, id="soon at first, jittered"),
        pytest.param(4, 1.0, 1.6, id="longer each time"),
        pytest.param(9, 0.0, 2.5, id="never more often than this"),
        pytest.param(9, 1.0, 5.0, id="never more than this"),
        pytest.param(10_000, 1.0, 5.0, id="after a long night"),
    ],
)
def test_the_wait_after_failures(failures, jitter, wait_s):
    assert backoff_s(failures, jitter) == pytest.approx(wait_s)


async def take(catalog, heard, problems=lambda _problem: None):
    async for value in watch(catalog, catalog.read, on_problem=problems, jitter=lambda: 0.0):
        heard(value)


async def test_equal_answers_are_told_once():
    catalog = FakeCatalog()
    catalog.answers = [Answer(5, "a"), Answer(6, "a"), Answer(7, "b")]
    heard = Heard()
    async with going(take(catalog, heard)):
        await heard.until(lambda value: value == "b")
    assert heard.values == ["a", "b"]
    assert catalog.asked[:3] == [0, 5, 6]


async def test_an_index_that_goes_backwards_is_not_waited_for():
    catalog = FakeCatalog()
    catalog.answers = [Answer(50, "a"), Answer(3, "b"), Answer(4, "c")]
    heard = Heard()
    async with going(take(catalog, heard)):
        await heard.until(lambda value: value == "c")
    assert catalog.asked[:3] == [0, 50, 0]


async def test_nothing_is_told_while_the_catalog_is_away():
    """Whoever listens goes on with what it last knew."""
    catalog = FakeCatalog()
    catalog.answers = [Answer(5, "a")]
    heard, problems = Heard(), Heard()
    async with going(take(catalog, heard, problems)):
        await heard.until(lambda value: value == "a")
    catalog.away = "gone"
    async with going(take(catalog, heard, problems)):
        await problems.until(lambda problem: problem == "gone")
        catalog.answers = [Answer(2, "b")]
        catalog.away = None
        await heard.until(lambda value: value == "b")
    assert heard.values == ["a", "b"]
    assert problems.values[-1] is None


async def test_after_an_outage_it_asks_for_what_is_now():
    """An index of before may belong to another history."""

    class Shaky(FakeCatalog):
        async def read(self, index):
            if index == 5:
                self.asked.append(index)
                self.away = "gone"
                self._check()
            return await super().read(index)

    catalog = Shaky()
    catalog.answers = [Answer(5, "a"), Answer(9, "b")]
    heard, problems = Heard(), Heard()
    async with going(take(catalog, heard, problems)):
        await problems.until(lambda problem: problem == "gone")
        catalog.away = None
        await heard.until(lambda value: value == "b")
    assert catalog.asked[:3] == [0, 5, 0]


async def test_keys_are_followed_over_a_restart_of_consul(agent, client):
    heard = Heard()
    async with going(watch_values(client, "mirrorproxy/m/", heard)):
        await heard.until(lambda values: values == {})
        agent.call("PUT", "/v1/kv/mirrorproxy/m/capture/percent", b"10")
        await heard.until(lambda values: values == {"capture/percent": "10"})
        agent.call("PUT", "/v1/kv/mirrorproxy/m/capture/percent", b"5")
        await heard.until(lambda values: values == {"capture/percent": "5"})
        await asyncio.to_thread(agent.restart)
        await heard.until(lambda values: values == {})
        agent.call("PUT", "/v1/kv/mirrorproxy/m/capture/percent", b"1")
        await heard.until(lambda values: values == {"capture/percent": "1"})


async def test_more_watches_than_connections_take_turns(agent, client, monkeypatch):
    """An agent takes 200 connections of one address; each watch still hears of its change."""
    monkeypatch.setattr("mirrorproxy.control.consul.CROWDED_WAIT_S", 1)
    names = [f"app{number}" for number in range(250)]
    heard = {name: Heard() for name in names}
    for name in names:
        agent.register(service(name))

    async def follow(name):
        async for (entry,) in watch(client, lambda index: client.instances(name, index)):
            heard[name](entry.healthy)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow(name)) for name in names]
        for one in heard.values():
            await one.until(lambda healthy: healthy)
        for name in ("app0", "app249"):
            agent.call("PUT", f"/v1/agent/check/fail/check-{name}-1")
            await heard[name].until(lambda healthy: not healthy)
        for task in tasks:
            task.cancel()
