"""The registrar: one service per app, kept with an agent that may forget or be away."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest
from consulkit import FakeCatalog, going, settings, until
from support.commands import Answer

from mirrorproxy.control.catalog import Entry
from mirrorproxy.control.registrar import Registrar
from mirrorproxy.errors import CatalogUnavailable


def registrar(catalog, process="p1", **options):
    return Registrar(catalog, settings(), process=process, **options)


async def test_an_app_is_registered_as_its_mirror():
    catalog = FakeCatalog()
    one = registrar(catalog)
    one.want({"orders": ("a=b",)})
    assert not one.is_registered("orders")
    await one.reconcile()
    assert catalog.agent == {
        "mirror-orders-p1": Entry(
            id="mirror-orders-p1",
            address="127.0.0.1",
            port=8000,
            tags=("a=b",),
            meta={
                "mirrorproxy": "0.1.0",
                "mirrorproxy-name": "mirror-1",
                "mirrorproxy-process": "p1",
                "mirrorproxy-app": "orders",
            },
        )
    }
    assert one.is_registered("orders")


async def test_what_is_as_wanted_is_left_as_it_is():
    catalog = FakeCatalog()
    one = registrar(catalog)
    one.want({"orders": ("a=b",)})
    await one.reconcile()
    await one.reconcile()
    assert catalog.calls == ["register mirror-orders-p1"]


async def test_what_the_agent_forgot_is_registered_again():
    catalog = FakeCatalog()
    one = registrar(catalog)
    one.want({"orders": ()})
    await one.reconcile()
    catalog.agent.clear()
    await one.reconcile()
    assert list(catalog.agent) == ["mirror-orders-p1"]


async def test_changed_tags_are_registered_under_the_same_id():
    catalog = FakeCatalog()
    one = registrar(catalog)
    one.want({"orders": ("a",)})
    await one.reconcile()
    one.want({"orders": ("b",)})
    await one.reconcile()
    assert catalog.agent["mirror-orders-p1"].tags == ("b",)
    assert list(catalog.agent) == ["mirror-orders-p1"]


async def test_what_is_no_longer_wanted_is_deregistered():
    catalog = FakeCatalog()
    one = registrar(catalog)
    one.want({"orders": (), "users": ()})
    await one.reconcile()
    one.want({"users": ()})
    await one.reconcile()
    assert list(catalog.agent) == ["mirror-users-p1"]
    assert not one.is_registered("orders")


async def test_each_start_has_ids_of_its_own():
    first, second = FakeCatalog(), FakeCatalog()
    for catalog in (first, second):
        one = Registrar(catalog, settings())
        one.want({"orders": ()})
        await one.reconcile()
    assert first.agent.keys().isdisjoint(second.agent)


def left_behind(**changed):
    """What a killed mirror of the same name and address has left."""
    entry = Entry(
        id="mirror-orders-dead",
        address="127.0.0.1",
        port=8000,
        meta={
            "mirrorproxy": "0.1.0",
            "mirrorproxy-name": "mirror-1",
            "mirrorproxy-process": "dead",
        },
    )
    return msgspec.structs.replace(entry, **changed)


async def test_what_a_killed_mirror_left_is_removed_by_the_next():
    """Its health page answers again, so Consul would keep it, also while this one drains."""
    catalog = FakeCatalog()
    catalog.agent["mirror-orders-dead"] = left_behind()
    one = registrar(catalog)
    one.want({"orders": ()})
    await one.reconcile()
    assert list(catalog.agent) == ["mirror-orders-p1"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(left_behind(port=8001), id="another port"),
        pytest.param(left_behind(address="10.0.0.1"), id="another address"),
        pytest.param(
            left_behind(meta={"mirrorproxy": "0.1.0", "mirrorproxy-name": "mirror-2"}),
            id="another name",
        ),
        pytest.param(left_behind(meta={}), id="no mirror"),
    ],
)
async def test_what_others_registered_is_left_alone(other):
    catalog = FakeCatalog()
    catalog.agent["mirror-orders-dead"] = other
    await registrar(catalog).reconcile()
    assert list(catalog.agent) == ["mirror-orders-dead"]


async def test_two_that_take_each_other_for_dead_do_not_chase_each_other():
    """Only the start looks for what was left."""
    catalog = FakeCatalog()
    one, two = registrar(catalog, "p1"), registrar(catalog, "p2")
    for each in (one, two, one, two):
        each.want({"orders": ()})
        await each.reconcile()
    assert sorted(catalog.agent) == ["mirror-orders-p1", "mirror-orders-p2"]


async def test_one_app_that_is_refused_does_not_hold_up_the_others():
    class Refusing(FakeCatalog):
        async def register(self, wanted):
            if wanted.name == "mirror-orders":
                raise CatalogUnavailable("denied")
            await super().register(wanted)

    catalog = Refusing()
    one = registrar(catalog)
    one.want({"orders": (), "users": ()})
    await one.reconcile()
    assert list(catalog.agent) == ["mirror-users-p1"]
    assert (one.problem("orders"), one.problem("users")) == ("denied", None)


async def test_an_agent_that_is_away_is_told_and_tried_again():
    catalog = FakeCatalog()
    catalog.away = "gone"
    one = registrar(catalog, compare_s=0.01)
    async with going(one.run()):
        one.want({"orders": ()})
        await until(lambda: one.problem("orders") == "gone")
        catalog.away = None
        await until(lambda: one.is_registered("orders"))
        await until(lambda: one.problem("orders") is None)


async def test_the_end_deregisters_everything():
    catalog = FakeCatalog()
    one = registrar(catalog)
    one.want({"orders": (), "users": ()})
    await one.reconcile()
    await one.close()
    assert catalog.agent == {}


async def test_the_end_deregisters_also_what_could_not_be_before():
    class Refusing(FakeCatalog):
        refuses = False

        async def deregister(self, service_id):
            if self.refuses:
                raise CatalogUnavailable("no leader")
            await super().deregister(service_id)

    catalog = Refusing()
    one = registrar(catalog)
    one.want({"orders": ()})
    await one.reconcile()
    one.want({})
    catalog.refuses = True
    with pytest.raises(CatalogUnavailable):
        await one.reconcile()
    catalog.refuses = False
    await one.close()
    assert catalog.agent == {}


async def test_the_end_does_not_fail_without_an_agent(caplog):
    catalog = FakeCatalog()
    one = registrar(catalog)
    one.want({"orders": ()})
    await one.reconcile()
    catalog.away = "gone"
    with caplog.at_level(logging.WARNING):
        await one.close()
    assert caplog.messages == ["gone"]


async def test_the_end_does_not_wait_for_an_agent_that_hangs(caplog, monkeypatch):
    monkeypatch.setattr("mirrorproxy.control.registrar.CLOSE_TIMEOUT_S", 0.05)

    class Hanging(FakeCatalog):
        async def deregister(self, service_id):
            await asyncio.Event().wait()

    one = registrar(Hanging())
    one.want({"orders": ()})
    await one.reconcile()
    await asyncio.wait_for(one.close(), 20)
    assert caplog.messages == ["the agent did not answer: it will forget this mirror by itself"]


async def test_a_registered_mirror_is_asked_for_its_health_and_passes(agent, client, health):
    one = Registrar(client, settings(health.url), process="p1")
    one.want({"orders": ("a=b",)})
    await one.reconcile()
    await until(lambda: agent.healthy("mirror-orders"))
    assert health.requests[0].target == "/healthz/orders"


async def test_a_mirror_that_says_503_is_taken_out_by_consul(agent, client, health):
    one = Registrar(client, settings(health.url), process="p1")
    one.want({"orders": ()})
    await one.reconcile()
    await until(lambda: agent.healthy("mirror-orders"))
    health.answer = lambda _request: Answer(503)
    await until(lambda: not agent.healthy("mirror-orders"))


async def test_a_real_agents_answer_is_as_wanted(agent, client):
    """What is compared comes back from Consul as it was given: nothing is registered for ever."""
    one = Registrar(client, settings(), process="p1")
    one.want({"orders": ("b", "a", "traefik.http.routers.r.rule=Host(`é`)", "a")})
    await one.reconcile()
    (before,) = agent.call("GET", "/v1/catalog/service/mirror-orders")
    await one.reconcile()
    (after,) = agent.call("GET", "/v1/catalog/service/mirror-orders")
    assert before["ModifyIndex"] == after["ModifyIndex"]

    async def register_again(wanted):
        raise AssertionError(f"registered again: {wanted}")

    client.register = register_again
    await one.reconcile()


async def test_without_an_address_of_its_own_a_mirror_is_at_its_node(agent, client):
    here = msgspec.structs.replace(settings(), address="")
    one = Registrar(client, here, process="p1")
    one.want({"orders": ()})
    await one.reconcile()
    (entry,) = (await client.instances("mirror-orders")).value
    assert entry.address == "127.0.0.1"
    (before,) = agent.call("GET", "/v1/catalog/service/mirror-orders")
    await one.reconcile()
    (after,) = agent.call("GET", "/v1/catalog/service/mirror-orders")
    assert before["ModifyIndex"] == after["ModifyIndex"]
