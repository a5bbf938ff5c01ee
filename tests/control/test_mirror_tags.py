"""The tags under which mirrors of an app are registered."""

from __future__ import annotations

import pytest

from mirrorproxy.control.tags import mirror_tags, pool_weight, token_of

ROUTER = "traefik.http.routers.mirror-orders-orders"
NAME = (
    "traefik.http.middlewares.mirrorproxy-orders.headers.customrequestheaders"
    ".X-Mirrorproxy-App=orders"
)
TAGS = [
    "production",
    "mirrorproxy.enable=true",
    "traefik.enable=true",
    "traefik.http.routers.orders.rule=Host(`a.example`) && HeaderRegexp(`X`, `^a=(b|c)$`)",
    "traefik.http.routers.orders.entrypoints=websecure",
    "traefik.http.routers.orders.middlewares=auth, limit@file",
    "traefik.http.routers.orders.tls.certresolver=le",
    "traefik.http.middlewares.auth.basicauth.users=u:planted",
    "traefik.http.services.orders.loadbalancer.server.port=8443",
    "traefik.http.services.orders.loadbalancer.server.scheme=https",
    "traefik.http.services.orders.loadbalancer.healthcheck.path=/h",
    "traefik.http.services.orders.loadbalancer.responseforwarding.flushinterval=1ms",
    "traefik.tcp.routers.db.rule=HostSNI(`*`)",
]
INLINE = (
    "production",
    "traefik.enable=true",
    f"{ROUTER}.rule=Host(`a.example`) && HeaderRegexp(`X`, `^a=(b|c)$`)",
    f"{ROUTER}.priority=52",
    f"{ROUTER}.service=mirror-orders",
    f"{ROUTER}.entrypoints=websecure",
    f"{ROUTER}.middlewares=auth,limit@file,mirrorproxy-orders",
    f"{ROUTER}.tls.certresolver=le",
    NAME,
    "traefik.http.services.mirror-orders.loadbalancer.server.scheme=http",
    "traefik.http.services.mirror-orders.loadbalancer.responseforwarding.flushinterval=1ms",
)


def test_inline():
    """Routers of its own lead to a service of its own; what the app defines is referred to."""
    assert mirror_tags("orders", TAGS) == INLINE


def test_all_mirrors_register_equal_tags():
    """In whatever order the catalog gives the app's."""
    assert mirror_tags("orders", reversed(TAGS)) == INLINE


def test_pooled():
    """One more server of the app's own service, all of whose other options are equal."""
    tags = [
        "mirrorproxy.enable=true",
        "mirrorproxy.mode=pooled",
        "mirrorproxy.percent=10",
        "traefik.http.routers.orders.rule=Host(`a.example`)",
        "traefik.http.services.orders.loadbalancer.server.port=8080",
        "traefik.http.services.orders.loadbalancer.server.weight=90",
        "traefik.http.services.orders.loadbalancer.passivehealthcheck.maxfailedattempts=1",
    ]
    assert mirror_tags("orders", tags) == (
        f"{ROUTER}.rule=Host(`a.example`)",
        f"{ROUTER}.priority=18",
        f"{ROUTER}.service=orders",
        f"{ROUTER}.middlewares=mirrorproxy-orders",
        NAME,
        "traefik.http.services.orders.loadbalancer.passivehealthcheck.maxfailedattempts=1",
        "traefik.http.services.orders.loadbalancer.server.weight=10",
    )
    assert mirror_tags("orders", tags, instances=4, mirrors=2)[-1].endswith(".weight=20")


def test_a_prefix_other_than_traefiks_own():
    """As the provider may be told."""
    tags = ["edge.http.routers.a.rule=Host(`a`)", "traefik.http.routers.b.rule=Host(`b`)"]
    made = mirror_tags("orders", tags, prefix="edge")
    assert made[0] == "traefik.http.routers.b.rule=Host(`b`)"
    assert made[1] == "edge.http.routers.mirror-orders-a.rule=Host(`a`)"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (["mirrorproxy.mode=pool"], "the tag mirrorproxy.mode is none of inline, pooled and tap"),
        (["mirrorproxy.mode=tap", TAGS[3]], "a tap is served by the provider document"),
    ],
)
def test_what_is_left_alone_gets_no_tags(tags: list[str], reason: str):
    """The first reason is told."""
    with pytest.raises(ValueError, match=reason):
        mirror_tags("orders", tags)


def test_apps_whose_names_traefik_would_write_alike_stay_apart():
    """One middleware of two contents would be deleted."""
    assert token_of("my-app") == "my-app"
    assert len({token_of(name) for name in ("my-app", "my.app", "my_app", "my--app")}) == 4


@pytest.mark.parametrize(
    ("percent", "weight", "instances", "mirrors", "expected"),
    [
        (10, 90, 1, 1, 10),
        (10, 90, 3, 3, 10),
        (10, 90, 3, 1, 30),
        (50, 1, 1, 1, 1),
        (0.1, 999, 1, 1, 1),
        (0.1, 999, 1, 5, 1),
        (99.9, 60000, 1000, 1, 1_000_000),
    ],
)
def test_weight_of_a_mirror_in_a_pool(
    percent: float, weight: int, instances: int, mirrors: int, expected: int
):
    """The share is that of all mirrors together."""
    assert pool_weight(percent, weight, instances=instances, mirrors=mirrors) == expected
