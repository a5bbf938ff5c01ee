"""A mirror's whole life with Consul, and with Traefik behind it: from a tag to its end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from consulkit import (
    ON,
    FakeCatalog,
    Heard,
    going,
    mirror_tags,
    read_tags,
    service,
    settings,
    until,
)
from support.traefik import Traefik, consul_catalog

from mirrorproxy.control.consul_control import AppStatus, ConsulControl, ConsulStatus
from mirrorproxy.topology import App, Instance, Topology

HERE = (Instance("http", "127.0.0.1", 8080),)


def control(catalog, heard, health_url="http://127.0.0.1:9", **options):
    return ConsulControl(
        catalog,
        settings(health_url),
        heard,
        read_tags=read_tags,
        mirror_tags=mirror_tags,
        **options,
    )


@contextlib.asynccontextmanager
async def running(one):
    """Run a control while the block lasts, and close it as a mirror does."""
    async with going(one.run()):
        yield
        await one.close()


def served(topology):
    return {app.name: app.percent for app in topology.apps}


async def test_an_app_is_published_before_it_is_registered(agent, client):
    """Traefik must not send what no worker knows."""
    order = []
    register = client.register

    async def registering(wanted):
        order.append(wanted.name)
        await register(wanted)

    client.register = registering
    agent.register(service("orders"))
    one = control(client, order.append)
    async with running(one):
        await until(lambda: "mirror-orders" in order)
    assert order == [Topology((App(name="orders", instances=HERE),)), "mirror-orders"]


async def test_an_app_that_was_taken_back_is_served_for_a_while_unrecorded(agent, client):
    """Traefik lets go a moment after the registration is gone."""
    agent.register(service("orders"))
    heard = Heard()
    async with running(control(client, heard, linger_s=0.3)):
        await until(lambda: len(agent.registered()) == 2)
        agent.deregister("orders-1")
        await heard.until(lambda topology: served(topology) == {})
        assert agent.registered() == {}
    assert [served(topology) for topology in heard.values] == [
        {"orders": 100.0},
        {"orders": 0.0},
        {},
    ]
    assert heard.values[1].apps[0].instances == HERE


async def test_an_app_that_comes_back_is_recorded_again(agent, client):
    agent.register(service("orders"))
    heard = Heard()
    async with running(control(client, heard, linger_s=60)):
        await heard.until(lambda topology: served(topology) == {"orders": 100.0})
        agent.register(service("orders", tags=[]))
        await heard.until(lambda topology: served(topology) == {"orders": 0.0})
        agent.register(service("orders"))
        await heard.until(lambda topology: served(topology) == {"orders": 100.0})
        await until(lambda: len(agent.registered()) == 2)


async def test_a_tapped_app_is_served_and_not_registered(agent, client):
    """Traefik finds a tap in the mirror's own configuration for it."""
    # The first by name: it would be registered before the other.
    agent.register(service("a-tap", tags=[ON, "mirrorproxy.mode=tap"]))
    agent.register(service("orders"))
    heard = Heard()
    async with running(control(client, heard)):
        await until(lambda: len(agent.registered()) == 3)
        assert [app.mode for app in heard.values[-1].apps] == ["tap", "inline"]
        assert "mirror-a-tap" not in str(agent.registered())


async def test_mirrors_of_a_pool_agree_on_their_weights(agent, client, health):
    """Their tags are equal, and follow how many of them there are."""

    def pools():
        return sorted(
            entry["Tags"][0]
            for name, entry in agent.registered().items()
            if name.startswith("mirror-")
        )

    agent.register(service("orders", 1, tags=[ON, "mirrorproxy.mode=pooled"]))
    agent.register(service("orders", 2, port=8081, tags=[ON, "mirrorproxy.mode=pooled"]))
    async with running(control(client, Heard(), health.url)):
        await until(lambda: pools() == ["pool=2/1"])
        async with running(control(client, Heard(), health.url)):
            await until(lambda: pools() == ["pool=2/2", "pool=2/2"])
            agent.deregister("orders-2")
            await until(lambda: pools() == ["pool=1/2", "pool=1/2"])
        await until(lambda: pools() == ["pool=1/1"])


async def test_an_app_whose_mirror_has_no_tags_is_left_alone(agent, client):
    agent.register(service("orders", tags=[ON, "impossible"]))
    one = control(client, lambda _topology: None)
    async with running(one):
        await until(lambda: one.status().apps)
        assert one.status().apps == (
            AppStatus(service="orders", mode="inline", instances=1, left_alone="no rule"),
        )
        assert list(agent.registered()) == ["orders-1"]


async def test_what_is_found_is_there_for_whoever_makes_more_of_it(agent, client):
    """Traefik's configuration for taps is made of the same tags."""
    agent.register(service("orders", tags=[ON, "a=b"]))
    one = control(client, lambda _topology: None)
    assert one.found() == {}
    async with running(one):
        await until(one.found)
        assert one.found()["orders"].tags == (ON, "a=b")


async def test_the_status_says_what_is_done_and_what_is_not(agent, client):
    agent.register(service("orders"))
    agent.register(service("users", tags=[ON, "sticky"]))
    one = control(client, lambda _topology: None)
    assert one.status() == ConsulStatus(known=False)
    async with running(one):
        await until(lambda: one.status().known and one.status().apps[0].registered)
        assert one.status() == ConsulStatus(
            known=True,
            apps=(
                AppStatus(service="orders", mode="inline", instances=1, registered=True),
                AppStatus(service="users", left_alone="sticky cookies"),
            ),
        )


async def test_the_end_deregisters_and_leaves_the_topology(agent, client):
    """A mirror serves on until Traefik has let go."""
    agent.register(service("orders"))
    heard = Heard()
    async with running(control(client, heard)):
        await until(lambda: len(agent.registered()) == 2)
    assert list(agent.registered()) == ["orders-1"]
    assert [served(topology) for topology in heard.values] == [{"orders": 100.0}]


async def test_an_app_that_goes_twice_is_served_for_a_while_each_time(agent, client):
    """What was to end the first time must not end the second early."""
    agent.register(service("orders"))
    heard = Heard()
    loop = asyncio.get_running_loop()
    async with running(control(client, heard, linger_s=0.6)):
        await heard.until(lambda topology: served(topology) == {"orders": 100.0})
        agent.register(service("orders", tags=[]))
        await heard.until(lambda topology: served(topology) == {"orders": 0.0})
        first = loop.time()
        agent.register(service("orders"))
        await heard.until(lambda topology: served(topology) == {"orders": 100.0})
        await asyncio.sleep(first + 0.3 - loop.time())
        agent.register(service("orders", tags=[]))
        await heard.until(lambda topology: served(topology) == {"orders": 0.0})
        second = loop.time()
        await heard.until(lambda topology: served(topology) == {})
        assert loop.time() - second > 0.5


async def test_an_agent_that_hangs_is_told_and_changes_nothing(agent, client, monkeypatch):
    """Neither does it hold up the end of a mirror."""
    monkeypatch.setattr("mirrorproxy.control.consul.CALL_TIMEOUT_S", 0.5)
    agent.register(service("orders"))
    heard = Heard()
    one = control(client, heard)
    async with going(one.run()):
        await until(lambda: one.status().apps and one.status().apps[0].registered)
        agent.pause()
        await until(lambda: one.status().apps[0].error)
        assert one.status().apps[0].error == f"Consul: agent services: no answer from {agent.url}"
        agent.resume()
        await until(lambda: not one.status().apps[0].error)
        agent.pause()
        await asyncio.wait_for(one.close(), 20)
        agent.resume()
    assert [served(topology) for topology in heard.values] == [{"orders": 100.0}]


async def test_a_bug_in_it_starts_again(caplog, monkeypatch):
    """Whatever fails here, the mirror carries its traffic."""
    monkeypatch.setattr("mirrorproxy.control.consul_control._RESTART_S", 0)

    class Buggy(FakeCatalog):
        async def services(self, index=0):
            self.asked.append(index)
            raise KeyError("bug")

    catalog = Buggy()
    async with going(control(catalog, lambda _topology: None).run()) as task:
        await until(lambda: len(catalog.asked) > 2)
        assert not task.done()
    assert "discovery failed and starts again" in caplog.text


async def test_registration_comes_back_after_an_agent_that_forgot(agent, client, health):
    agent.define([{**service("orders"), "Check": None}])
    await asyncio.to_thread(agent.restart)
    await until(lambda: agent.healthy("orders"))
    heard = Heard()
    async with running(control(client, heard, health.url)):
        await until(lambda: agent.healthy("mirror-orders"))
        before = set(agent.registered())
        await asyncio.to_thread(agent.restart)
        await until(lambda: agent.healthy("mirror-orders"))
        assert set(agent.registered()) == before
    assert [served(topology) for topology in heard.values] == [{"orders": 100.0}]


ROUTER = [
    "traefik.enable=true",
    "traefik.http.routers.orders.rule=PathPrefix(`/`)",
]


@pytest.fixture
def traefik(agent, tmp_path):
    with Traefik(tmp_path / "traefik", {"providers": consul_catalog(agent.address)}) as started:
        yield started


async def test_traefik_follows_what_is_registered(agent, client, health, traefik):
    """From the tag to a server that Traefik sends to, and back, while Consul is away between."""
    agent.register(service("orders", tags=ROUTER))
    one = ConsulControl(
        client,
        settings(health.url),
        lambda _topology: None,
        read_tags=read_tags,
        mirror_tags=lambda _service, _tags, **_counts: (
            "traefik.enable=true",
            "traefik.http.routers.mirrored.rule=PathPrefix(`/`)",
            "traefik.http.routers.mirrored.priority=100000",
        ),
    )
    async with running(one):
        await asyncio.to_thread(traefik.wait_for_router, "orders@consulcatalog")
        agent.register(service("orders", tags=[*ROUTER, ON]))
        await asyncio.to_thread(traefik.wait_for_router, "mirrored@consulcatalog")
        assert traefik.service_urls("mirror-orders@consulcatalog") == ["http://127.0.0.1:8000"]
        await asyncio.to_thread(agent.stop)
        await until(lambda: one.status().error)
        assert traefik.router("mirrored@consulcatalog") is not None
        await asyncio.to_thread(agent.start)
        agent.register(service("orders", tags=[*ROUTER, ON]))
        await until(lambda: agent.healthy("mirror-orders"))
        agent.register(service("orders", tags=ROUTER))
        await asyncio.to_thread(traefik.wait_for_no_router, "mirrored@consulcatalog")
        await asyncio.to_thread(traefik.wait_for_router, "orders@consulcatalog")
