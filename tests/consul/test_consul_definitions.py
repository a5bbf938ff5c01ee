"""The definitions in consul/, as they stand but for their ports, with the real programs."""

from __future__ import annotations

import json
import urllib.request

import pytest
from consulkit import read_tags
from support.commands import Answer, Application, capturing, free_port, serving
from support.consul import ConsulAgent
from support.traefik import Traefik, consul_catalog

from mirrorproxy.control.catalog import Entry
from mirrorproxy.control.discovery import read_app


def definition(repository, name, **ports):
    """Return a file's service with other ports."""
    text = (repository / "consul" / name).read_text()
    for before, port in ports.items():
        before = before.removeprefix("p")
        assert before in text
        text = text.replace(before, str(port))
    return json.loads(text)["service"]


def get(url):
    request = urllib.request.Request(url, headers={"Host": "orders.example.com"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


def test_the_app_asks_to_be_mirrored(repository):
    app = definition(repository, "app.json")
    entry = Entry(id="orders", address=app["address"], port=app["port"], tags=tuple(app["tags"]))
    found = read_app("orders", [entry], read_tags)
    assert found is not None
    assert found.app is not None


def test_the_mirror_by_hand_is_just_above_the_app(repository):
    """A router of another app for a path of this host must still win over both."""
    app = definition(repository, "app.json")["tags"]
    mirror = definition(repository, "mirror-by-hand.json")["tags"]
    (rule,) = [tag.partition("=")[2] for tag in app if ".rule=" in tag]
    assert f"traefik.http.routers.mirror-orders.rule={rule}" in mirror
    # Without a priority of its own a router has the length of its rule.
    assert f"traefik.http.routers.mirror-orders.priority={len(rule) + 1}" in mirror


def test_the_mirror_by_hand_is_never_taken_for_the_app(repository):
    mirror = definition(repository, "mirror-by-hand.json")
    entry = Entry(id="m", address="127.0.0.1", port=8000, tags=("x",), meta=mirror["meta"])
    assert read_app("mirror-orders", [entry], read_tags) is None


@pytest.mark.timeout(120)
def test_a_mirror_registered_by_hand_stands_in_the_path_and_leaves_it(
    repository, consul_program, tmp_path
):
    """Traefik sends through it while its check passes, and straight to the app after."""
    port, admin = free_port(), free_port()
    app = Application(lambda _request: Answer(200))
    agent = ConsulAgent(
        consul_program,
        tmp_path / "consul",
        services=[
            definition(repository, "app.json", p8080=app.server_port),
            definition(repository, "mirror-by-hand.json", p8000=port, p9808=admin),
        ],
    )
    arguments = ["capture", "--listen", f"127.0.0.1:{port}", "--to", "capture", "--workers", "1"]
    arguments += ["--admin", f"127.0.0.1:{admin}", "--upstream", app.url]
    with serving(app), agent:
        static = {"providers": consul_catalog(agent.address)}
        with Traefik(tmp_path / "traefik", static) as traefik:
            traefik.wait_for_router("orders@consulcatalog")
            assert traefik.router("mirror-orders@consulcatalog") is None
            with capturing(arguments, tmp_path, port) as said:
                traefik.wait_for_router("mirror-orders@consulcatalog")
                assert get(traefik.url() + "/through") == 200
            traefik.wait_for_no_router("mirror-orders@consulcatalog")
            assert get(traefik.url() + "/straight") == 200
    assert [one.target for one in app.requests if one.target != "/health"] == [
        "/through",
        "/straight",
    ]
    assert "  captured  1\n" in said[0]
