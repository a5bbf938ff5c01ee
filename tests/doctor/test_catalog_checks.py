"""Consul, by what was found in it; and a real agent, with and without permissions."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.consul import ConsulAgent

from mirrorproxy.control.catalog import Entry
from mirrorproxy.control.consul import ConsulClient
from mirrorproxy.control.token import TokenFile
from mirrorproxy.doctor.catalog import PROBE, Seen, Unavailable, asking, check_catalog, look

POLICY = (Path(__file__).parents[2] / "consul/policy.hcl").read_text()
TAGS = (
    "mirrorproxy.enable=true",
    "traefik.enable=true",
    "traefik.http.routers.orders.rule=Host(`orders.example.com`)",
)


def seen(*tags: str, mirrored: bool = True, healthy: bool = True) -> Seen:
    services = {"consul": (), "orders": tags}
    if mirrored:
        services["mirror-orders"] = ()
    entry = Entry(id="1", address="127.0.0.1", port=1, tags=tags, healthy=healthy)
    return Seen(services=services, instances={"orders": (entry,)})


def said(found: Seen) -> list[str]:
    return [
        f"{one.level}: {one.what}: {one.says}"
        for one in check_catalog(found)
        if one.what != "Consul" or one.level != "ok"
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(seen(*TAGS), ["ok: app orders: inline, 1 of 1 instances healthy"], id="well"),
        pytest.param(
            seen(*TAGS, mirrored=False),
            ["warning: app orders: inline, 1 of 1 instances healthy, no mirror is registered"],
            id="no mirror",
        ),
        pytest.param(
            seen(*TAGS, "traefik.http.services.orders.loadbalancer.sticky.cookie=true"),
            [
                "problem: app orders: is left alone: its sticky cookie ties clients to instances, "
                "which the mirror would undo"
            ],
            id="left alone",
        ),
        pytest.param(
            seen("mirrorproxy.enable=false"),
            ["ok: app orders: does not ask to be mirrored"],
            id="asks for nothing",
        ),
        pytest.param(
            Seen(services={"consul": ()}),
            [
                "warning: Consul: no service is seen: there is none, or the token may not see any",
                "warning: apps: none has the tag mirrorproxy.enable=true",
            ],
            id="nothing is seen",
        ),
        pytest.param(
            Seen(services=Unavailable("Consul: services: denied: no")),
            ["problem: Consul: Consul: services: denied: no"],
            id="denied",
        ),
        pytest.param(
            Seen(
                services={"orders": TAGS},
                instances={"orders": Unavailable("Consul: no")},
                keys=Unavailable("Consul: get: denied"),
                write=Unavailable("Consul: register: denied"),
            ),
            [
                "warning: Consul keys: Consul: get: denied",
                "problem: Consul registration: Consul: register: denied",
                "problem: app orders: Consul: no",
            ],
            id="half of it denied",
        ),
    ],
)
def test_what_is_said_of_consul(found, expected):
    """Of the agent, the token's permissions, each app."""
    assert said(found) == expected


def test_apps_that_ask_are_counted():
    """Those that can be mirrored."""
    assert asking(seen(*TAGS)) == 1
    assert asking(seen("mirrorproxy.enable=true")) == 0


def register(agent: ConsulAgent) -> None:
    agent.register(
        {
            "Name": "orders",
            "ID": "orders-1",
            "Address": "127.0.0.1",
            "Port": 8080,
            "Tags": list(TAGS),
            "Check": {"CheckID": "c", "TTL": "1h", "Status": "passing"},
        }
    )


async def asked(agent: ConsulAgent, token: Path | None = None) -> list[str]:
    client = ConsulClient(agent.url, token=TokenFile(token))
    try:
        return said(await look(client, may_register=True))
    finally:
        await client.close()


async def test_a_real_agent(consul_program, tmp_path):
    """Nothing of ours is left with it."""
    with ConsulAgent(consul_program, tmp_path / "consul") as agent:
        register(agent)
        assert await asked(agent) == [
            "warning: app orders: inline, 1 of 1 instances healthy, no mirror is registered"
        ]
        assert PROBE not in agent.registered()


async def test_permissions_of_a_real_agent(consul_program, tmp_path):
    """With the policy of consul/ all is well; without it the missing rule is named."""
    token = tmp_path / "token"
    with ConsulAgent(consul_program, tmp_path / "consul", acl=True) as agent:
        register(agent)
        token.write_text(agent.policy_token(POLICY))
        assert len(await asked(agent, token)) == 1
        token.write_text(agent.policy_token(POLICY.replace('"write"', '"read"')))
        (problem,) = [line for line in await asked(agent, token) if line.startswith("problem")]
        assert problem.startswith("problem: Consul registration: Consul: register ")
        assert "denied" in problem
        assert "warning: Consul: no service is seen" in "\n".join(await asked(agent))


async def test_an_agent_that_is_not_there():
    """One line."""
    client = ConsulClient("http://127.0.0.1:9")
    try:
        found = await look(client, may_register=True)
    finally:
        await client.close()
    (problem,) = said(found)
    assert problem.startswith("problem: Consul: Consul: services: ")
