"""The walkthrough of docs/traefik.md, step by step, with other addresses."""

from __future__ import annotations

import http.client
import json
import re
import shlex
from pathlib import Path

from support.commands import Application, capturing, free_port, run, serving
from support.consul import ConsulAgent
from support.steady import wait_until
from support.traefik import Traefik

SECTION = re.compile(r"^## From Traefik and Consul.*?(?=^## )", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def test_from_traefik_and_consul_to_a_first_capture(
    repository: Path, tmp_path: Path, consul: ConsulAgent, traefik: Traefik
) -> None:
    """The app as the page registers it, the commands as the page has them."""
    section = SECTION.search((repository / "docs/traefik.md").read_text())
    assert section
    found = BLOCK.findall(section[0])
    assert [language for language, _ in found] == ["json", "sh", "sh"]
    definition = json.loads(found[0][1])["service"]
    assert definition["check"].pop("interval") == "1s"  # the demo's origin has no /health
    port, admin, to = free_port(), free_port(), tmp_path / "capture"
    swaps = {
        "http://127.0.0.1:8500": consul.url,
        "0.0.0.0:8000": f"127.0.0.1:{port} --admin 127.0.0.1:{admin} --roll-age 1s",
        "/var/lib/mirrorproxy": str(to),
    }
    capture, inspect = (arguments(text, swaps) for _, text in found[1:])
    origin = Application()
    definition |= {"port": origin.server_port, "check": {"ttl": "1h", "status": "passing"}}

    def register(*tags: str) -> None:
        consul.define([{**definition, "tags": [*definition["tags"], *tags]}])
        consul.reload()

    def ask() -> int:
        connection = http.client.HTTPConnection(*traefik.address(), timeout=20)
        try:
            connection.request("GET", "/first", headers={"Host": "orders.example.com"})
            return connection.getresponse().status
        finally:
            connection.close()

    with serving(origin):
        register()
        traefik.wait_for_router("orders@consulcatalog")
        with capturing(capture, tmp_path, port):
            register("mirrorproxy.enable=true")
            traefik.wait_for_router("mirror-orders-orders@consulcatalog")

            def is_there() -> bool:
                assert ask() == 201
                return any(to.glob("[0-9]*/**/*.jsonl.gz"))

            wait_until(is_there, "a first object")
            register()
            traefik.wait_for_no_router("mirror-orders-orders@consulcatalog")
            assert ask() == 201
        assert "/first" in run(inspect, tmp_path).stdout


def arguments(text: str, swaps: dict[str, str]) -> list[str]:
    """Return the arguments of the page's one command with other addresses."""
    used = [old for old in swaps if old in text]
    assert used
    for old in used:
        text = text.replace(old, swaps[old])
    (line,) = text.strip().splitlines()
    program, *rest = shlex.split(line)
    assert program == "mirrorproxy"
    return rest
