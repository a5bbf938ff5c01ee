"""Traefik, by its API and by its static configuration."""

from __future__ import annotations

import pytest

from mirrorproxy.doctor import traefik
from mirrorproxy.doctor.http import Unanswered

GOOD = {"watch": True, "exposedByDefault": False}


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        pytest.param({"Version": "3.7.15"}, "ok", id="as tried"),
        pytest.param({"Version": "v4.0.0"}, "ok", id="newer"),
        pytest.param({"Version": "3.1.0"}, "warning", id="older"),
        pytest.param({"Version": "2.11.0"}, "problem", id="two"),
        pytest.param({"Version": "dev"}, "unchecked", id="unknown"),
        pytest.param(Unanswered("answers 404"), "problem", id="no API"),
    ],
)
def test_versions(answer, level):
    """Rules of 2 are written otherwise."""
    assert traefik.check_version(answer).level == level


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        pytest.param({"providers": ["File", "ConsulCatalog"]}, "ok", id="on"),
        pytest.param({"providers": ["File"]}, "problem", id="off"),
        pytest.param({}, "problem", id="none"),
        pytest.param(Unanswered("no answer"), "unchecked", id="no answer"),
    ],
)
def test_providers(answer, level):
    """Consul's catalog has to be followed."""
    assert traefik.check_providers(answer).level == level


@pytest.mark.parametrize(
    ("routers", "apps", "expected"),
    [
        pytest.param(
            [
                {"name": "orders@consulcatalog", "status": "enabled"},
                {"name": "mirror-orders-orders@consulcatalog", "status": "enabled"},
            ],
            1,
            ["ok: 1 of mirrors are in use"],
            id="one",
        ),
        pytest.param(
            [{"name": "mirrorproxy-orders-web@http", "status": "enabled"}],
            1,
            ["ok: 1 of mirrors are in use"],
            id="a tap's",
        ),
        pytest.param(
            [
                {"name": "mirror-a-a@consulcatalog", "status": "disabled", "error": ["no service"]},
                {"name": "mirror-b-b@consulcatalog"},
            ],
            2,
            ["ok: 1 of mirrors are in use", "problem: no service"],
            id="one is broken",
        ),
        pytest.param(
            [{"name": "orders@consulcatalog"}],
            0,
            ["warning: none of a mirror; 0 apps ask for one"],
            id="nobody asks",
        ),
        pytest.param([], 2, ["problem: none of a mirror; 2 apps ask for one"], id="none"),
        pytest.param(Unanswered("no answer"), 1, ["unchecked: no answer"], id="no answer"),
    ],
)
def test_routers(routers, apps, expected):
    """Those of mirrors, and whether they are in use."""
    found = traefik.check_routers(routers, apps)
    assert [f"{one.level}: {one.says}" for one in found] == expected


@pytest.mark.parametrize(
    ("providers", "level", "part"),
    [
        pytest.param({"consulCatalog": GOOD}, "ok", "watches Consul", id="good"),
        pytest.param({"consulcatalog": GOOD}, "ok", "watches", id="in any case"),
        pytest.param({"file": {}}, "problem", "has no providers.consulCatalog", id="none"),
        pytest.param(
            {"consulCatalog": {**GOOD, "watch": False}}, "problem", "does not watch", id="polls"
        ),
        pytest.param(
            {"consulCatalog": {"exposedByDefault": False}}, "problem", "does not watch", id="unsaid"
        ),
        pytest.param(
            {"consulCatalog": {**GOOD, "connectByDefault": True}},
            "problem",
            "Consul Connect",
            id="Connect",
        ),
        pytest.param({"consulCatalog": {"watch": True}}, "warning", "exposes every", id="exposed"),
        pytest.param(
            {"consulCatalog": GOOD, "docker": {"allowEmptyServices": True}},
            "warning",
            "keeps routers without a server (docker)",
            id="empty services",
        ),
        pytest.param("?", "problem", "has no providers", id="nonsense"),
    ],
)
def test_static_configuration(providers, level, part):
    """As the YAML file holds it."""
    (finding,) = traefik.check_static({"providers": providers})
    assert finding.level == level
    assert part in finding.says
