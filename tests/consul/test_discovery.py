"""Discovery: which apps are found, and where they run."""

from __future__ import annotations

import asyncio

import pytest
from consulkit import ON, Heard, going, read_tags, service, until

from mirrorproxy.control.catalog import Entry
from mirrorproxy.control.discovery import Discovery, FoundApp, read_app
from mirrorproxy.topology import App, Instance


def entry(number, *, tags=(ON,), changed=1, healthy=True, meta=None):
    return Entry(
        id=f"orders-{number}",
        address=f"10.0.0.{number}",
        port=8080,
        tags=tags,
        changed=changed,
        healthy=healthy,
        meta=meta or {},
    )


def at(*numbers, port=8080):
    return tuple(Instance("http", f"10.0.0.{number}", port) for number in numbers)


def test_an_app_with_the_tag_is_served_where_it_is_healthy():
    found = read_app("Orders", [entry(2), entry(1), entry(3, healthy=False)], read_tags)
    assert found == FoundApp(
        service="Orders", tags=(ON,), app=App(name="orders", instances=at(1, 2))
    )


def test_an_app_without_the_tag_is_none():
    assert read_app("orders", [entry(1, tags=("a",))], read_tags) is None


def test_a_mirror_is_never_an_upstream():
    """A pooled mirror is among the app's own instances: it would send to itself."""
    found = read_app("orders", [entry(1), entry(2, meta={"mirrorproxy": "0.1.0"})], read_tags)
    assert found is not None
    assert found.app is not None
    assert found.app.instances == at(1)


def test_an_app_of_mirrors_alone_is_none():
    assert read_app("orders", [entry(1, meta={"mirrorproxy": "0.1.0"})], read_tags) is None


def test_the_port_of_the_tags_counts():
    found = read_app("orders", [entry(1, tags=(ON, "port=9000"))], read_tags)
    assert found is not None
    assert found.app is not None
    assert found.app.instances == at(1, port=9000)


def test_an_app_that_cannot_be_mirrored_is_left_alone_with_the_reason():
    found = read_app("orders", [entry(1, tags=(ON, "sticky"))], read_tags)
    assert found == FoundApp(service="orders", tags=(ON, "sticky"), why="sticky cookies")


def test_a_name_that_would_end_a_header_is_left_alone():
    found = read_app("or/ders", [entry(1)], read_tags)
    assert found is not None
    assert (found.app, found.why) == (None, "its name cannot stand in a header and a path")


def test_an_instance_without_a_port_is_not_connected_to():
    portless = Entry(id="orders-1", address="10.0.0.1", port=0, tags=(ON,))
    found = read_app("orders", [portless], read_tags)
    assert found is not None
    assert found.app is not None
    assert found.app.instances == ()


@pytest.mark.parametrize(
    ("entries", "percent"),
    [
        pytest.param(
            [
                entry(1, tags=(ON, "mirrorproxy.percent=1"), changed=9),
                entry(2, tags=(ON, "mirrorproxy.percent=2"), changed=3),
            ],
            1,
            id="the one that changed last",
        ),
        pytest.param(
            [
                entry(1, tags=(ON, "mirrorproxy.percent=1"), changed=9, healthy=False),
                entry(2, tags=(ON, "mirrorproxy.percent=2"), changed=3),
            ],
            2,
            id="of those that are healthy",
        ),
        pytest.param(
            [
                entry(1, tags=(ON, "mirrorproxy.percent=1")),
                entry(2, tags=(ON, "mirrorproxy.percent=2")),
            ],
            2,
            id="the last by name where both changed at once",
        ),
        pytest.param(
            [
                entry(1, tags=(ON, "mirrorproxy.percent=1"), healthy=False),
                entry(2, tags=("mirrorproxy.percent=2",), changed=0, healthy=False),
            ],
            1,
            id="of all where none is healthy",
        ),
    ],
)
def test_where_instances_differ_the_tags_of_one_count(entries, percent):
    found = read_app("orders", entries, read_tags)
    assert found is not None
    assert found.app is not None
    assert found.app.percent == percent


def test_a_difference_is_said():
    found = read_app("orders", [entry(1), entry(2, tags=(ON, "b"), changed=2)], read_tags)
    assert found is not None
    assert found.note == "instances differ in their tags: those of orders-2 count"


def test_another_order_of_tags_is_no_difference():
    found = read_app("orders", [entry(1, tags=("a", ON)), entry(2, tags=(ON, "a"))], read_tags)
    assert found is not None
    assert found.note == ""


def ports(found, name="orders"):
    """The ports where an app is served; None when it is not."""
    one = found.get(name)
    return [instance.port for instance in one.app.instances] if one and one.app else None


async def test_the_tag_is_followed(agent, client):
    agent.register(service("orders", tags=[]))
    heard = Heard()
    async with going(Discovery(client, read_tags, heard).run()):
        await heard.until(lambda found: found == {})
        agent.register(service("orders"))
        await heard.until(lambda found: ports(found) == [8080])
        agent.register(service("orders", 2, port=8081))
        await heard.until(lambda found: ports(found) == [8080, 8081])
        agent.register(service("orders", tags=[ON, "mirrorproxy.percent=5"]))
        await heard.until(lambda found: found["orders"].note and ports(found))
        agent.deregister("orders-1")
        await heard.until(lambda found: ports(found) == [8081] and not found["orders"].note)
        agent.register(service("orders", 2, port=8081, tags=["other"]))
        await heard.until(lambda found: found == {})


async def test_health_is_followed(agent, client):
    agent.register(service("orders", 1, port=8081))
    agent.register(service("orders", 2, port=8082))
    heard = Heard()
    async with going(Discovery(client, read_tags, heard).run()):
        await heard.until(lambda found: ports(found) == [8081, 8082])
        agent.call("PUT", "/v1/agent/check/fail/check-orders-1")
        await heard.until(lambda found: ports(found) == [8082])
        agent.call("PUT", "/v1/agent/check/pass/check-orders-1")
        await heard.until(lambda found: ports(found) == [8081, 8082])


async def test_the_last_instance_is_kept_for_a_moment(agent, client):
    """An agent that starts anew calls all critical before its first checks."""
    agent.register(service("orders"))
    heard = Heard()
    async with going(Discovery(client, read_tags, heard, keep_s=0.5).run()):
        await heard.until(lambda found: ports(found) == [8080])
        agent.call("PUT", "/v1/agent/check/fail/check-orders-1")
        await heard.until(lambda found: ports(found) == [])
    assert [ports(found) for found in heard.values] == [[8080], []]


async def test_changes_meanwhile_do_not_begin_that_moment_anew(agent, client):
    """An app that is down and registered again and again is down."""
    agent.register(service("orders"))
    heard = Heard()
    async with going(Discovery(client, read_tags, heard, keep_s=0.5).run()):
        await heard.until(lambda found: ports(found) == [8080])
        agent.call("PUT", "/v1/agent/check/fail/check-orders-1")
        for number in range(2, 100):
            agent.register(service("orders", number, Check={"TTL": "1h"}))
            await asyncio.sleep(0.1)
            if ports(heard.values[-1]) == []:
                break
        assert ports(heard.values[-1]) == []


async def test_an_instance_that_comes_back_in_time_was_never_gone(agent, client):
    agent.register(service("orders"))
    heard = Heard()
    async with going(Discovery(client, read_tags, heard, keep_s=60).run()):
        await heard.until(lambda found: ports(found) == [8080])
        agent.call("PUT", "/v1/agent/check/fail/check-orders-1")
        agent.register(service("other"))
        await heard.until(lambda found: "other" in found)
        agent.call("PUT", "/v1/agent/check/pass/check-orders-1")
        agent.register(service("another"))
        await heard.until(lambda found: "another" in found)
    assert [ports(found) for found in heard.values] == [[8080]] * 3


async def test_what_was_known_stays_while_consul_is_away(agent, client):
    agent.define([{**service("orders"), "Check": None}])
    await asyncio.to_thread(agent.restart)
    await until(lambda: agent.healthy("orders"))
    heard = Heard()
    discovery = Discovery(client, read_tags, heard)
    async with going(discovery.run()):
        await heard.until(lambda found: ports(found) == [8080])
        await asyncio.to_thread(agent.stop)
        while discovery.problem() is None:
            await asyncio.sleep(0)
        agent.define([{**service("orders", port=8081), "Check": None}])
        await asyncio.to_thread(agent.start)
        await heard.until(lambda found: ports(found) == [8081])
    assert [ports(found) for found in heard.values] == [[8080], [8081]]
    assert discovery.problem() is None


async def test_an_agent_that_knows_nothing_yet_is_given_time(agent, client):
    """After a restart apps register one by one: none of them was gone."""
    agent.register(service("orders"))
    heard = Heard()
    discovery = Discovery(client, read_tags, heard)
    async with going(discovery.run()):
        await heard.until(lambda found: ports(found) == [8080])
        await asyncio.to_thread(agent.restart)
        await until(lambda: discovery.problem() is None)
        agent.register(service("other"))
        await heard.until(lambda found: "other" in found)
        agent.register(service("orders", port=8081))
        await heard.until(lambda found: ports(found) == [8081])
    assert [ports(found) for found in heard.values] == [[8080], [8080], [8081]]


async def test_a_bug_about_one_app_holds_up_no_other(agent, client, caplog):
    def buggy(name, tags):
        if name == "orders" and len(tags) == 1:
            raise KeyError("bug")
        return read_tags(name, tags)

    agent.register(service("orders"))
    agent.register(service("users"))
    heard = Heard()
    async with going(Discovery(client, buggy, heard).run()):
        await heard.until(lambda found: ports(found, "users") == [8080])
        await heard.until(lambda found: found["orders"].why == "an error of ours: KeyError")
        agent.register(service("orders", tags=[ON, "mended"]))
        await heard.until(lambda found: ports(found) == [8080])
        agent.register(service("orders"))
        await heard.until(lambda found: found["orders"].why)
        agent.deregister("orders-1")
        await heard.until(lambda found: "orders" not in found)
    assert "watching orders ended" in caplog.text


async def test_what_is_still_missing_after_that_time_is_gone(agent, client):
    agent.register(service("orders"))
    heard = Heard()
    async with going(Discovery(client, read_tags, heard, keep_s=0.5).run()):
        await heard.until(lambda found: ports(found) == [8080])
        await asyncio.to_thread(agent.restart)
        await heard.until(lambda found: found == {})


async def test_the_first_word_knows_all_apps(agent, client):
    """A mirror that was restarted must not take the rest for gone."""
    for number in range(20):
        agent.register(service(f"app{number}"))
    heard = Heard()
    async with going(Discovery(client, read_tags, heard).run()):
        await heard.until(lambda found: found)
    assert len(heard.values[0]) == 20


async def test_hundreds_of_services_need_one_watch_and_one_per_app(agent, client):
    """No polling: what is not mirrored is never asked about."""
    for number in range(300):
        agent.register(service(f"other{number}", tags=[]))
    agent.register(service("orders"))
    asked = []
    instances = client.instances

    async def counted(name, index=0):
        asked.append(name)
        return await instances(name, index)

    client.instances = counted
    heard = Heard()
    async with going(Discovery(client, read_tags, heard).run()):
        await heard.until(lambda found: ports(found) == [8080])
        agent.register(service("orders", 2, port=8081))
        await heard.until(lambda found: ports(found) == [8080, 8081])
    assert set(asked) == {"orders"}
    # The first read, the one that told of the change, and the one that waits.
    assert len(asked) <= 4
