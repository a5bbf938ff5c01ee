"""The doctor before a real Traefik."""

from __future__ import annotations

import json

from support.consul import ConsulAgent
from support.traefik import Traefik, consul_catalog

from mirrorproxy import cli


def test_a_real_traefik_is_judged(tmp_path, consul_program, capsys):
    """Its version, its providers, and that no mirror has a router yet."""
    with ConsulAgent(consul_program, tmp_path / "consul") as agent:
        static = {"providers": consul_catalog(agent.url.removeprefix("http://"))}
        with Traefik(tmp_path / "traefik", static) as traefik:
            api = traefik.url("traefik")
            assert cli.main(["doctor", "--json", "--traefik-api", api]) == 0
            config = tmp_path / "traefik" / "traefik.yaml"
            assert cli.main(["doctor", "--json", "--traefik-config", str(config)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["level"], one["what"]) for one in found] == [
        ("ok", "Traefik version"),
        ("ok", "clock, by Traefik"),
        ("ok", "Traefik providers"),
        ("warning", "Traefik routers"),
        ("ok", "Traefik configuration"),
    ]
