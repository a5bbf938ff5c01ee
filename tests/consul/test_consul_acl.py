"""consul/policy.hcl: everything works with it, and something fails without any of its rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from consulkit import ON, Heard, going, mirror_tags, read_tags, service, settings, until

from mirrorproxy.control.consul import ConsulClient
from mirrorproxy.control.consul_control import ConsulControl
from mirrorproxy.control.token import TokenFile
from mirrorproxy.errors import CatalogUnavailable
from mirrorproxy.topology import App, Instance

POLICY = (Path(__file__).parents[2] / "consul/policy.hcl").read_text()
RULES = re.findall(r"^\w.*?^}$", POLICY, re.MULTILINE | re.DOTALL)

WORKS = "an app is found where it runs, its mirror is registered, keys are read"


async def what_happens(agent, folder, rules):
    """Run a mirror with a token that has these rules; say how far it comes."""
    agent.register(service("orders"))
    agent.call("PUT", "/v1/kv/mirrorproxy/mirror-1/capture/percent", b"10")
    file = folder / "token"
    file.write_text(agent.policy_token(rules))
    client = ConsulClient(agent.url, token=TokenFile(file))
    heard = Heard()
    control = ConsulControl(client, settings(), heard, read_tags=read_tags, mirror_tags=mirror_tags)
    try:
        async with going(control.run()):
            await until(lambda: control.status().known)
            if not heard.values[-1].apps:
                return "no app is found"
            assert heard.values[-1].apps == (
                App(name="orders", instances=(Instance("http", "127.0.0.1", 8080),)),
            )
            await until(
                lambda: control.status().apps[0].registered or control.status().apps[0].error
            )
            if control.status().apps[0].error:
                return control.status().apps[0].error
            await until(lambda: agent.call("GET", "/v1/catalog/service/mirror-orders"))
            if not (await client.values("mirrorproxy/mirror-1/")).value:
                return "no key is read"
            await control.close()
            assert list(agent.registered()) == ["orders-1"]
            await until(lambda: not agent.call("GET", "/v1/catalog/service/mirror-orders"))
        return WORKS
    finally:
        await client.close()


async def test_with_the_policy_everything_works(locked, tmp_path):
    assert await what_happens(locked, tmp_path, POLICY) == WORKS


def test_the_policy_has_these_rules():
    """Each has its own failure below."""
    assert [rule.splitlines()[0].removesuffix(" {") for rule in RULES] == [
        'service_prefix "mirror-"',
        'service_prefix ""',
        'node_prefix ""',
        'key_prefix "mirrorproxy/"',
    ]


@pytest.mark.parametrize(
    ("missing", "happens"),
    [
        pytest.param(
            0,
            "Consul: register mirror-orders: denied: "
            "Permission denied: Missing service:write on mirror-orders",
            id="mirror-",
        ),
        pytest.param(1, "no app is found", id="services"),
        pytest.param(2, "no app is found", id="nodes"),
        pytest.param(3, "no key is read", id="keys"),
    ],
)
async def test_without_any_rule_something_fails(locked, tmp_path, missing, happens):
    """So it is the least that works."""
    rest = "\n".join(rule for number, rule in enumerate(RULES) if number != missing)
    assert await what_happens(locked, tmp_path, rest) == happens


async def test_the_policy_gives_no_more(locked, tmp_path):
    """A stolen token of a mirror changes no app and no key."""
    locked.register(service("orders"))
    token = locked.policy_token(POLICY)
    for method, path, body in (
        ("PUT", "/v1/agent/service/register", service("orders")),
        ("PUT", "/v1/kv/mirrorproxy/mirror-1/capture/percent", b"0"),
        ("GET", "/v1/kv/secret", None),
        ("GET", "/v1/acl/tokens", None),
        ("PUT", "/v1/agent/leave", None),
        ("PUT", "/v1/agent/check/deregister/check-orders-1", None),
        ("PUT", "/v1/agent/service/deregister/orders-1", None),
    ):
        with pytest.raises(OSError, match="403"):
            locked.call(method, path, body, token=token)


async def test_a_token_that_is_replaced_is_used_without_a_restart(locked, tmp_path):
    """Rotation: the old one is deleted, the file changes, and things go on."""
    locked.register(service("orders"))
    file = tmp_path / "token"
    first = locked.policy_token(POLICY)
    file.write_text(first)
    client = ConsulClient(locked.url, token=TokenFile(file))
    await client.services()
    for known in locked.call("GET", "/v1/acl/tokens"):
        if known["Description"] == "" and known["AccessorID"] != "anonymous":
            found = locked.call("GET", f"/v1/acl/token/{known['AccessorID']}")
            if found["SecretID"] == first:
                locked.call("DELETE", f"/v1/acl/token/{known['AccessorID']}")
    with pytest.raises(CatalogUnavailable, match="ACL not found"):
        await client.services()
    file.write_text(locked.policy_token(POLICY) + "\n")
    assert (await client.services()).value["orders"] == (ON,)
    await client.close()
