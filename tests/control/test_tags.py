"""What an app's tags ask for, and why an app is left alone."""

from __future__ import annotations

import pytest

from mirrorproxy.control.neighbours import Neighbours
from mirrorproxy.control.tags import parse_app

RULE = "traefik.http.routers.orders.rule=Host(`orders.example.com`)"
ON = "mirrorproxy.enable=true"
ROUTER = "traefik.http.routers.orders"
SERVER = "traefik.http.services.orders.loadbalancer"


def problems(*tags: str, service: str = "orders") -> tuple[str, ...]:
    return parse_app(service, [ON, RULE, *tags]).problems


def test_one_tag_is_enough():
    """Everything is recorded, by id, inline, from where the app is registered."""
    app = parse_app("Orders", [ON, RULE])
    assert (app.service, app.name, app.enabled, app.mode) == ("Orders", "orders", True, "inline")
    assert (app.percent, app.percent_by, app.response_body) == (100.0, "id", False)
    assert (app.record_paths, app.seal, app.scheme, app.port) == ((), (), "http", None)
    assert app.problems == ()


def test_without_the_tag_it_is_not_asked_for():
    """And nothing is wrong."""
    app = parse_app("orders", [RULE])
    assert (app.enabled, app.problems) == (False, ())


def test_every_tag_of_ours():
    """Keys whatever their case; the last of two counts."""
    app = parse_app(
        "orders",
        [
            RULE,
            "MirrorProxy.Enable=T",
            "mirrorproxy.mode=Inline",
            "mirrorproxy.percent=1",
            "mirrorproxy.PERCENT=12.5",
            "mirrorproxy.percent-by=session",
            "mirrorproxy.response-body=true",
            "mirrorproxy.match.path=/api/**, /v2/*",
            "mirrorproxy.seal=X-Tenant-Key,iban",
        ],
    )
    assert app.enabled
    assert (app.percent, app.percent_by, app.response_body) == (12.5, "session", True)
    assert app.record_paths == ("/api/**", "/v2/*")
    assert app.seal == ("X-Tenant-Key", "iban")
    assert app.problems == ()


@pytest.mark.parametrize(
    ("tag", "problem"),
    [
        ("mirrorproxy.mode=mirror", "the tag mirrorproxy.mode is none of inline, pooled and tap"),
        ("mirrorproxy.percent=101", "the tag mirrorproxy.percent is not a number from 0 to 100"),
        ("mirrorproxy.percent=10%", "the tag mirrorproxy.percent is not a number from 0 to 100"),
        ("mirrorproxy.percent=nan", "the tag mirrorproxy.percent is not a number from 0 to 100"),
        ("mirrorproxy.percent=", "the tag mirrorproxy.percent is not a number from 0 to 100"),
        ("mirrorproxy.percent-by=user", "the tag mirrorproxy.percent-by is neither id nor session"),
        (
            "mirrorproxy.response-body=yes",
            "the tag mirrorproxy.response-body is neither true nor false",
        ),
        (
            "mirrorproxy.match.path=api",
            "the tag mirrorproxy.match.path holds what is no path glob, such as /api/**",
        ),
        (
            "mirrorproxy.match.path=/a**",
            "the tag mirrorproxy.match.path holds what is no path glob, such as /api/**",
        ),
        (
            "mirrorproxy.seal=a b",
            "the tag mirrorproxy.seal holds what is no name of a header or field",
        ),
        (
            "mirrorproxy.enable",
            "the tag mirrorproxy.enable has no value: write mirrorproxy.enable=true",
        ),
        ("traefik.enable=false", "Traefik is told to leave it out (enable=false)"),
        (
            "traefik.consulcatalog.connect=true",
            "it is reached over Consul Connect, which the mirror does not speak",
        ),
        (
            "traefik.ConsulCatalog.Canary=true",
            "it is a canary (consulcatalog.canary=true), a service apart in Traefik",
        ),
        (
            f"{SERVER}.sticky.cookie.name=s",
            "its sticky cookie ties clients to instances, which the mirror would undo",
        ),
        (
            f"{SERVER}.sticky=true",
            "its sticky cookie ties clients to instances, which the mirror would undo",
        ),
        (
            f"{SERVER}.Strategy=hrw",
            "its strategy hrw ties clients to instances, which the mirror would undo",
        ),
        (f"{SERVER}.server.scheme=h2c", "it speaks h2c, which the mirror does not"),
        (
            f"{SERVER}.serverstransport=t@file",
            "Traefik reaches it by a serversTransport, whose TLS the mirror lacks",
        ),
        (f"{SERVER}.server.url=http://x", "Traefik reaches it by a URL of its own (server.url)"),
        (f"{SERVER}.server.port=0", "its loadbalancer.server.port is not a port"),
        (
            f"{SERVER}.passhostheader=false",
            "it gets the instance's address as Host (passhostheader=false)",
        ),
        (f"{ROUTER}.priority=high", "the priority of its router orders is not a whole number"),
        (
            f"{ROUTER}.priority=9223372036854774807",
            "the priority of its router orders leaves no room above it",
        ),
        (f"{ROUTER}.priority=-1", "the priority of its router orders leaves no room above it"),
        (f"{ROUTER}.parentrefs=p", "its router orders is part of a tree of routers (parentRefs)"),
        (
            "traefik.http.routers.b.entrypoints=web",
            "its router b has no rule: give it one, or the mirror a default rule",
        ),
    ],
)
def test_left_alone(tag: str, problem: str):
    """With one sentence that names what is in the way."""
    assert problems(tag) == (problem,)


def test_a_tag_that_is_not_known_is_not_ignored():
    """A misspelt percent would record everything."""
    (problem,) = problems("mirrorproxy.precent=1")
    assert problem.startswith("the tag mirrorproxy.precent is not known: enable, mode, percent,")


def test_what_stands_in_a_tag_stays_on_one_line():
    """A sentence goes into a log."""
    (problem,) = problems("mirrorproxy.a\nb=1")
    assert problem.startswith("the tag mirrorproxy.'a\\nb' is not known")
    (problem,) = problems("traefik.http.routers.a\nb.entrypoints=web")
    assert problem.startswith("its router 'a\\nb' has no rule")


def test_a_name_that_no_header_could_carry():
    """It would stand in tags and headers."""
    assert problems(service="a b") == (
        "its name holds more than letters, digits, dots, hyphens and underscores",
    )


def test_no_sentence_holds_what_could_be_a_secret():
    """Values of middlewares are not even looked at."""
    found = parse_app("orders", [ON, "traefik.http.middlewares.a.basicauth.users=u:planted"])
    assert "planted" not in repr(found)


def test_how_the_instances_are_reached():
    """By Traefik's own words for it."""
    app = parse_app(
        "orders",
        [
            RULE,
            "traefik.http.services.Orders-API.loadbalancer.server.port=8443",
            "traefik.http.services.orders-api.loadbalancer.server.scheme=https",
        ],
    )
    assert (app.scheme, app.port, app.backend, app.problems) == ("https", 8443, "Orders-API", ())


def test_a_rule_by_default():
    """As Traefik would make it; what asks for more than the name is not guessed."""
    default = "Host(`{{ normalize .Name }}.example.com`)"
    app = parse_app("my_app", [ON], default_rule=default)
    assert [(one.name, one.rule, one.priority) for one in app.routers] == [
        ("my-app", "Host(`my-app.example.com`)", 26)
    ]
    assert app.problems == ()
    app = parse_app("my_app", [ON], default_rule="Host(`{{ .Name }}.{{ .Labels.zone }}`)")
    assert app.problems == (
        "its router my-app has no rule: give it one, or the mirror a default rule",
    )


def test_only_routers_that_lead_to_the_app_are_its_own():
    """A redirect at the door is Traefik's affair."""
    app = parse_app(
        "orders",
        [
            RULE,
            "traefik.http.routers.plain.rule=Host(`orders.example.com`)",
            "traefik.http.routers.plain.service=noop@internal",
            "traefik.http.routers.named.rule=Path(`/n`)",
            "traefik.http.routers.named.service=Orders",
            "traefik.http.routers.else.rule=Path(`/e`)",
            "traefik.http.routers.else.service=billing",
            "traefik.http.routers.file.rule=Path(`/f`)",
            "traefik.http.routers.file.service=orders@file",
            "traefik.http.routers.full.rule=Path(`/g`)",
            "traefik.http.routers.full.service=orders@consulcatalog",
        ],
    )
    assert [one.name for one in app.routers] == ["full", "named", "orders"]
    assert app.problems == ()


def test_several_services_behind_one_name_are_left_alone():
    """The mirror could not tell which port a request was for."""
    app = parse_app(
        "orders",
        [
            "traefik.http.routers.a.rule=Path(`/a`)",
            "traefik.http.routers.a.service=web",
            "traefik.http.routers.b.rule=Path(`/b`)",
            "traefik.http.routers.b.service=admin",
            "traefik.http.services.web.loadbalancer.server.port=1",
            "traefik.http.services.admin.loadbalancer.server.port=2",
        ],
    )
    assert app.problems == ("its routers lead to several services: admin, web",)


def test_a_service_without_http_routers_is_left_alone():
    """Two services and no router: Traefik makes none either."""
    app = parse_app(
        "orders",
        [
            "traefik.http.services.a.loadbalancer.server.port=1",
            "traefik.http.services.b.loadbalancer.server.port=2",
        ],
    )
    assert app.problems == ("no router of its own leads to it",)


def test_a_pool_needs_weights_that_make_the_share():
    """The sentence says which tag to add."""
    pooled = ["mirrorproxy.mode=pooled", "mirrorproxy.percent=10"]
    assert problems(*pooled) == (
        "a share of 10 % needs a weight of its own instances: add the tag"
        " traefik.http.services.orders.loadbalancer.server.weight=9 (or more)",
    )
    weight = "traefik.http.services.orders.loadbalancer.server.weight="
    assert problems(*pooled, f"{weight}9") == ()
    assert len(problems(*pooled, f"{weight}8")) == 1
    assert problems("mirrorproxy.mode=pooled", f"{weight}90") == (
        "the tag mirrorproxy.percent must be above 0 and below 100 in pooled mode",
    )
    check = "traefik.http.services.orders.loadbalancer.healthcheck.path=/h"
    assert problems(*pooled, f"{weight}90", check) == (
        "Traefik's own health check of it would ask the mirror, which knows no app's health:"
        " use the catalog's checks in pooled mode",
    )
    assert problems(check) == ()


def test_a_pool_is_found_by_host_and_path_too():
    """For requests of routers that do not name the app."""
    tags = [
        "mirrorproxy.mode=pooled",
        "mirrorproxy.percent=50",
        "traefik.http.routers.a.rule=Host(`A.example.com`) && PathPrefix(`/api`)",
    ]
    app = parse_app("orders", tags)
    assert (app.hosts, app.paths, app.problems) == (("a.example.com",), ("/api*/**",), ())
    header = "traefik.http.routers.b.rule=HeaderRegexp(`X`, `.*`)"
    app = parse_app("orders", [*tags, header])
    assert (app.hosts, app.paths, app.problems) == ((), (), ())


def test_a_tap_minds_nothing_of_how_the_app_is_reached():
    """Traefik itself goes on speaking to it."""
    assert (
        problems(
            "mirrorproxy.mode=tap",
            "traefik.consulcatalog.connect=true",
            "traefik.http.services.orders.loadbalancer.sticky.cookie.name=s",
            "traefik.http.services.orders.loadbalancer.server.scheme=h2c",
            "traefik.http.services.orders.loadbalancer.serverstransport=t@file",
        )
        == ()
    )


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        pytest.param(["traefik.http.routers.x.rule=Host(`orders.example.com`)"], None, id="equal"),
        pytest.param(
            ["traefik.http.routers.x.rule=PathPrefix(`/x`)", "traefik.http.routers.x.priority=27"],
            "router x has priority 27, one above its router orders:"
            " set the priority of one of them, two or more apart",
            id="one above",
        ),
        pytest.param(
            ["traefik.http.routers.x.rule=Path(`/x`)", "traefik.http.routers.x.priority=28"],
            None,
            id="two above",
        ),
        pytest.param(
            ["traefik.http.routers.x.rule=Host(`b`)", "traefik.http.routers.x.priority=27"],
            None,
            id="another host",
        ),
    ],
)
def test_room_above_a_router(tags: list[str], reason: str | None):
    """Where another router stands one above an app's own, chance would decide."""
    app = parse_app("orders", [ON, RULE])
    catalog = {
        "orders": [ON, RULE],
        "x": tags,
        "mirror-orders": [
            "traefik.http.routers.m.rule=Host(`orders.example.com`)",
            "traefik.http.routers.m.priority=27",
        ],
    }
    assert Neighbours(catalog).crowd(app) == reason


def test_room_above_a_router_among_an_apps_own():
    """One that leads elsewhere counts like a stranger's."""
    tags = [
        RULE,
        "traefik.http.routers.away.rule=PathPrefix(`/away`)",
        "traefik.http.routers.away.priority=27",
        "traefik.http.routers.away.service=noop@internal",
    ]
    assert Neighbours({"orders": tags}).crowd(parse_app("orders", tags)) == (
        "router away has priority 27, one above its router orders:"
        " set the priority of one of them, two or more apart"
    )
