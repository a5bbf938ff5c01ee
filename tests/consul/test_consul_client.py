"""The calls to Consul, against a real agent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import msgspec
import pytest
from consulkit import ON, service
from support.commands import Answer, Application, serving

from mirrorproxy.control.catalog import Entry, Registration
from mirrorproxy.control.consul import ConsulClient, parse_url
from mirrorproxy.control.token import TokenFile
from mirrorproxy.errors import CatalogUnavailable, ConfigError

MIRROR = Registration(
    id="mirror-orders-1",
    name="mirror-orders",
    address="127.0.0.1",
    port=8000,
    tags=("traefik.enable=true", "a=b"),
    meta={"mirrorproxy": "0.1.0"},
    check_url="http://127.0.0.1:9/healthz/orders",
)


async def test_services_are_told_with_the_tags_of_all_their_instances(agent, client):
    agent.register(service("orders", 1, tags=["a", ON]))
    agent.register(service("orders", 2, tags=["b"]))
    found = (await client.services()).value
    assert {name: sorted(tags) for name, tags in found.items()} == {
        "consul": [],
        "orders": ["a", "b", ON],
    }


async def test_instances_are_told_with_their_health(agent, client):
    agent.register(service("orders", 1, port=8081, tags=["a"], Meta={"version": "2"}))
    agent.register(service("orders", 2, port=8082))
    agent.register(service("orders", 3, port=8083))
    agent.call("PUT", "/v1/agent/check/warn/check-orders-2")
    agent.call("PUT", "/v1/agent/check/fail/check-orders-3")
    found = (await client.instances("orders")).value
    assert [(one.id, one.port, one.healthy) for one in found] == [
        ("orders-1", 8081, True),
        ("orders-2", 8082, True),
        ("orders-3", 8083, False),
    ]
    assert (found[0].address, found[0].tags, dict(found[0].meta)) == (
        "127.0.0.1",
        ("a",),
        {"version": "2"},
    )


async def test_maintenance_takes_an_instance_out(agent, client):
    agent.register(service("orders"))
    agent.call("PUT", "/v1/agent/service/maintenance/orders-1?enable=true")
    (found,) = (await client.instances("orders")).value
    assert not found.healthy


async def test_an_instance_without_an_address_is_at_that_of_its_node(agent, client):
    agent.register(service("orders", Address=""))
    (found,) = (await client.instances("orders")).value
    assert found.address == "127.0.0.1"


async def test_an_unknown_service_has_no_instances(agent, client):
    assert (await client.instances("nobody")).value == ()


async def test_what_is_registered_is_told_by_the_agent(agent, client):
    await client.register(MIRROR)
    assert await client.registered() == {
        "mirror-orders-1": Entry(
            id="mirror-orders-1",
            address="127.0.0.1",
            port=8000,
            tags=("traefik.enable=true", "a=b"),
            meta={"mirrorproxy": "0.1.0"},
        )
    }


async def test_a_registration_is_told_in_consuls_words():
    """What an agent does not show again: the check's times."""
    told = Application(lambda _request: Answer(200))
    with serving(told):
        client = ConsulClient(told.url)
        await client.register(MIRROR)
        await client.close()
    (request,) = told.requests
    assert (request.method, request.target) == (
        "PUT",
        "/v1/agent/service/register?replace-existing-checks=true",
    )
    assert json.loads(request.body) == {
        "name": "mirror-orders",
        "id": "mirror-orders-1",
        "address": "127.0.0.1",
        "port": 8000,
        "tags": ["traefik.enable=true", "a=b"],
        "meta": {"mirrorproxy": "0.1.0"},
        "checks": [
            {
                "http": "http://127.0.0.1:9/healthz/orders",
                "interval": "1s",
                "timeout": "1s",
                "DeregisterCriticalServiceAfter": "60s",
            }
        ],
    }


@pytest.mark.parametrize(
    ("status", "headers", "body", "text"),
    [
        pytest.param(500, [], b"No cluster leader", "500 No cluster leader", id="no leader"),
        pytest.param(429, [], b"slow\ndown", "429 slow down", id="a limit, on two lines"),
        pytest.param(200, [("X-Consul-Index", "1")], b"<html>", "Failed to decode", id="no JSON"),
        pytest.param(200, [("X-Consul-Index", "1")], b"[1]", "an unknown answer", id="other JSON"),
        pytest.param(200, [("X-Consul-Index", "-1")], b"{}", "is no number", id="no index"),
        pytest.param(200, [], b"{}", "Missing index", id="index missing"),
    ],
)
async def test_whatever_answers_wrongly_is_one_line(status, headers, body, text):
    strange = Application(lambda _request: Answer(status, headers, body))
    with serving(strange):
        client = ConsulClient(strange.url)
        with pytest.raises(CatalogUnavailable) as caught:
            await client.services()
        await client.close()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_changed_tags_keep_the_health_that_was_found(agent, client, health):
    """Otherwise each change of a tag would take the mirror out for a second."""
    old = msgspec.structs.replace(MIRROR, tags=("old",), check_url=health.url)
    await client.register(old)
    found = await client.instances("mirror-orders")
    while not found.value[0].healthy:
        found = await client.instances("mirror-orders", found.index)
    await client.register(msgspec.structs.replace(old, tags=("new",)))
    (now,) = (await client.instances("mirror-orders")).value
    assert (now.tags, now.healthy) == (("new",), True)


async def test_what_is_deregistered_is_gone(agent, client):
    await client.register(MIRROR)
    await client.deregister("mirror-orders-1")
    assert await client.registered() == {}


async def test_deregistering_what_the_agent_has_forgotten_is_fine(agent, client):
    await client.deregister("mirror-orders-1")


async def test_a_blocking_read_answers_when_something_changes(agent, client):
    before = await client.services()
    waiting = asyncio.create_task(client.services(before.index))
    # Not by a clock: another read that does answer shows that this one waits.
    await client.services()
    assert not waiting.done()
    agent.register(service("orders"))
    after = await asyncio.wait_for(waiting, 20)
    assert "orders" in after.value
    assert after.index > before.index


async def test_keys_are_told_with_their_values(agent, client):
    agent.call("PUT", "/v1/kv/mirrorproxy/m/capture/percent", b"10")
    agent.call("PUT", "/v1/kv/mirrorproxy/m/odd", b"\xff")
    agent.call("PUT", "/v1/kv/mirrorproxy/other", b"")
    assert (await client.values("mirrorproxy/m/")).value == {
        "mirrorproxy/m/capture/percent": "10",
        "mirrorproxy/m/odd": "\N{REPLACEMENT CHARACTER}",
    }


async def test_no_key_is_no_error(agent, client):
    assert (await client.values("mirrorproxy/")).value == {}


async def test_an_unknown_datacenter_is_one_line(agent):
    client = ConsulClient(agent.url, datacenter="elsewhere")
    with pytest.raises(CatalogUnavailable, match="500 No path to datacenter"):
        await client.services()
    await client.close()


async def test_an_agent_that_is_away_is_one_line(agent, client):
    agent.stop()
    with pytest.raises(CatalogUnavailable, match=r"^Consul: services: Cannot connect [^\n]*$"):
        await client.services()


async def test_a_blocking_read_fails_when_the_agent_ends(agent, client):
    before = await client.services()
    waiting = asyncio.create_task(client.services(before.index))
    await client.services()
    await asyncio.to_thread(agent.kill)
    with pytest.raises(CatalogUnavailable):
        await asyncio.wait_for(waiting, 20)


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        pytest.param("http://10.0.0.1:8600", ("http", "10.0.0.1", 8600), id="all said"),
        pytest.param("http://consul", ("http", "consul", 8500), id="no port"),
        pytest.param("https://consul/", ("https", "consul", 8501), id="no port, https"),
        pytest.param("consul:8500", ("http", "consul", 8500), id="no scheme"),
        pytest.param("http://[::1]:8500", ("http", "[::1]", 8500), id="IPv6"),
    ],
)
def test_urls(url, parsed):
    assert parse_url(url) == parsed


@pytest.mark.parametrize(
    "url", ["", "ftp://consul", "http://", "http://a:99999", "http://a/b", "http://me:pw@a:1"]
)
def test_what_is_no_agents_url_is_refused(url):
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert "pw" not in str(caught.value)


async def test_the_token_of_a_file_counts_before_that_of_the_environment(
    locked, tmp_path, monkeypatch
):
    """py-consul lets the environment win over what a program says."""
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "5e4f1e0a-0000-0000-0000-000000000000")
    file = tmp_path / "token"
    file.write_text(f"{locked.token}\n")
    client = ConsulClient(locked.url, token=TokenFile(file))
    await client.register(MIRROR)
    assert "mirror-orders-1" in locked.registered()
    await client.close()


async def test_a_token_that_consul_refuses_is_in_no_text(locked, tmp_path):
    secret = "5e4f1e0a-1111-2222-3333-444444444444"
    file = tmp_path / "token"
    file.write_text(secret)
    client = ConsulClient(locked.url, token=TokenFile(file))
    for call in (client.services(), client.registered(), client.register(MIRROR)):
        with pytest.raises(CatalogUnavailable, match="denied: ACL not found") as caught:
            await call
        assert secret not in str(caught.value)
        assert caught.value.__cause__ is None
    await client.close()


def test_a_changed_token_is_read_again(tmp_path):
    file = tmp_path / "token"
    file.write_text("first")
    token = TokenFile(file)
    assert token.value() == "first"
    other = tmp_path / "new"
    other.write_text("second")
    os.replace(other, file)
    assert token.value() == "second"


@pytest.mark.parametrize("spoiled", [b"", b"two words", b"\xff"])
def test_a_token_file_that_is_spoiled_later_keeps_the_token_that_was(tmp_path, spoiled):
    file = tmp_path / "token"
    file.write_text("first")
    token = TokenFile(file)
    file.write_bytes(spoiled)
    assert token.value() == "first"
    file.unlink()
    assert token.value() == "first"


@pytest.mark.parametrize("content", [b"", b"my secret", b"a\nb", b"\xff"])
def test_a_file_that_holds_no_token_is_refused_without_showing_it(tmp_path, content):
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        TokenFile(file)
    assert str(caught.value) == f"{file}: holds no token: one word is expected"


def test_a_missing_token_file_is_a_mistake_of_the_users(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        TokenFile(tmp_path / "nothing")


def test_without_the_extra_the_user_is_told_what_to_install():
    script = "import sys; sys.modules['consul'] = None; import mirrorproxy.control.consul"
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.stderr.endswith(
        "ConfigError: --consul: Consul needs the extra: pip install 'mirrorproxy[consul]'\n"
    )
