"""Real Traefik reads a catalog in which a mirror is registered beside its app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.consul_catalog import Catalog, Registered
from support.origin import RawOrigin
from support.traefik_files import Traefik, fetch

from mirrorproxy.control.tags import mirror_tags, parse_app

ON = ["traefik.enable=true", "mirrorproxy.enable=true"]


def static(catalog: Catalog, port: int, **provider: Any) -> dict[str, Any]:
    """Return Traefik's configuration, which asks the catalog ten times a second."""
    return {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {
            "consulCatalog": {
                "endpoint": {"address": catalog.address},
                "exposedByDefault": False,
                "refreshInterval": "100ms",
                **provider,
            }
        },
    }


def test_the_mirror_takes_an_apps_requests_and_its_middlewares_hold(
    tmp_path: Path, app: RawOrigin, mirror: RawOrigin, port: int
):
    """Authentication comes first, the app's name is set last, a client cannot set it."""
    tags = [
        *ON,
        "traefik.http.routers.orders.rule=Host(`orders.example.com`)",
        "traefik.http.routers.orders.middlewares=auth",
        # admin:secret
        "traefik.http.middlewares.auth.basicauth.users=admin:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    ]
    both = {
        "orders": [Registered(app.port, tags)],
        "mirror-orders": [Registered(mirror.port, mirror_tags("orders", tags))],
    }
    with Catalog(both) as catalog, Traefik(tmp_path, static(catalog, port)) as traefik:
        traefik.wait_for_router("mirror-orders-orders@consulcatalog")
        assert fetch(port, "/", host="orders.example.com")[0] == 401
        login = {"Authorization": "Basic YWRtaW46c2VjcmV0", "X-Mirrorproxy-App": "other"}
        assert fetch(port, "/1", host="orders.example.com", headers=login)[0] == 200
        assert [one.values(b"X-Mirrorproxy-App") for one in mirror.seen] == [[b"orders"]]
        assert app.seen == []

        catalog.services = {"orders": both["orders"]}
        traefik.wait_for_router("mirror-orders-orders@consulcatalog", there=False)
        assert fetch(port, "/2", host="orders.example.com", headers=login)[0] == 200
        assert [one.target for one in app.seen] == [b"/2"]
        assert app.seen[0].values(b"X-Mirrorproxy-App") == [b"other"]


def test_a_more_specific_router_of_another_app_still_wins(
    tmp_path: Path, app: RawOrigin, mirror: RawOrigin, other: RawOrigin, port: int
):
    """The front page of a host is mirrored, the API of the same host is not."""
    page = [*ON, "traefik.http.routers.page.rule=Host(`example.com`)"]
    api = ["traefik.enable=true", "traefik.http.routers.api.rule=Host(`example.com`) && Path(`/a`)"]
    services = {
        "page": [Registered(app.port, page)],
        "api": [Registered(other.port, api)],
        "mirror-page": [Registered(mirror.port, mirror_tags("page", page))],
    }
    with Catalog(services) as catalog, Traefik(tmp_path, static(catalog, port)) as traefik:
        traefik.wait_for_router("mirror-page-page@consulcatalog")
        traefik.wait_for_router("api@consulcatalog")
        for path in ("/a", "/b"):
            assert fetch(port, path, host="example.com")[0] == 200
    assert [one.target for one in other.seen] == [b"/a"]
    assert [one.target for one in mirror.seen] == [b"/b"]
    assert app.seen == []


def test_routers_of_one_app_keep_their_order(
    tmp_path: Path, app: RawOrigin, mirror: RawOrigin, port: int
):
    """The one that is protected is not passed by through one that is not."""
    tags = [
        *ON,
        "traefik.http.routers.all.rule=Host(`example.com`)",
        "traefik.http.routers.admin.rule=Host(`example.com`) && PathPrefix(`/admin`)",
        "traefik.http.routers.admin.middlewares=closed",
        "traefik.http.middlewares.closed.ipallowlist.sourcerange=192.0.2.1/32",
        "traefik.http.routers.gone.rule=Host(`old.example.com`)",
        "traefik.http.routers.gone.service=noop@internal",
    ]
    services = {
        "site": [Registered(app.port, tags)],
        "mirror-site": [Registered(mirror.port, mirror_tags("site", tags))],
    }
    with Catalog(services) as catalog, Traefik(tmp_path, static(catalog, port)) as traefik:
        traefik.wait_for_router("mirror-site-admin@consulcatalog")
        traefik.wait_for_router("mirror-site-all@consulcatalog")
        assert "mirror-site-gone@consulcatalog" not in traefik.routers()
        assert fetch(port, "/admin/1", host="example.com")[0] == 403
        assert fetch(port, "/1", host="example.com")[0] == 200
    assert [one.target for one in mirror.seen] == [b"/1"]
    assert app.seen == []


def test_traefik_reads_tags_as_we_do(tmp_path: Path, app: RawOrigin, port: int):
    """Keys whatever their case, the default service's name, priorities by bytes."""
    tags = [
        "traefik.enable=true",
        "traefik.HTTP.Routers.Main.RULE=Host(`a.example`) && Path(`/ä`)",
        "traefik.http.routers.main.EntryPoints=web",
        "Traefik.http.routers.ghost.rule=Host(`ghost.example`)",
        "traefik.http.routers.bare",
        "traefik.http.routers.fixed.rule=Host(`b.example`)",
        "traefik.http.routers.fixed.priority=-5",
        "traefik.http.routers.fixed.middlewares=one, two",
        "traefik.http.middlewares.one.headers.customrequestheaders.A=1",
        "traefik.http.middlewares.two.headers.customrequestheaders.B=2",
    ]
    ours = parse_app("My_App.v2", tags)
    with (
        Catalog({"My_App.v2": [Registered(app.port, tags)]}) as catalog,
        Traefik(tmp_path, static(catalog, port)) as traefik,
    ):
        traefik.wait_for_router("fixed@consulcatalog")
        routers = {
            name.removesuffix("@consulcatalog"): one
            for name, one in traefik.routers().items()
            if one["provider"] == "consulcatalog"
        }
    assert {one.name: (one.rule, one.priority) for one in ours.routers} == {
        name: (one["rule"], one["priority"]) for name, one in routers.items()
    }
    assert {one["service"] for one in routers.values()} == {ours.backend} == {"My-App-v2"}
    fixed = next(one for one in ours.routers if one.name == "fixed")
    assert [f"{name}@consulcatalog" for name in fixed.middlewares] == routers["fixed"][
        "middlewares"
    ]


def test_a_pooled_mirror_is_one_server_more(
    tmp_path: Path, app: RawOrigin, mirror: RawOrigin, port: int
):
    """One in ten goes there by the app's name; without the mirror the app's router goes on."""
    tags = [
        *ON,
        "mirrorproxy.mode=pooled",
        "mirrorproxy.percent=10",
        "traefik.http.routers.orders.rule=Host(`orders.example.com`) && HeaderRegexp(`A`, `^b=c$`)",
        "traefik.http.services.orders.loadbalancer.server.weight=90",
        "traefik.http.services.orders.loadbalancer.responseforwarding.flushinterval=1ms",
    ]
    both = {
        "orders": [Registered(app.port, tags)],
        "mirror-orders": [Registered(mirror.port, mirror_tags("orders", tags))],
    }
    headers = {"A": "b=c", "X-Mirrorproxy-App": "billing"}
    with Catalog(both) as catalog, Traefik(tmp_path, static(catalog, port)) as traefik:
        traefik.wait_for_router("mirror-orders-orders@consulcatalog")
        for _ in range(40):
            assert fetch(port, "/", host="orders.example.com", headers=headers)[0] == 200
        assert (len(app.seen), len(mirror.seen)) == (36, 4)
        # Not billing: a client must not reach another app past that one's middlewares.
        assert {tuple(one.values(b"X-Mirrorproxy-App")) for one in mirror.seen} == {(b"orders",)}

        catalog.services = {"orders": both["orders"]}
        traefik.wait_for_router("mirror-orders-orders@consulcatalog", there=False)
        assert fetch(port, "/", host="orders.example.com", headers=headers)[0] == 200


def test_several_mirrors_share_an_apps_requests(
    tmp_path: Path, app: RawOrigin, mirror: RawOrigin, other: RawOrigin, port: int
):
    """Equal tags, equal routers and middlewares: Traefik takes them for one."""
    tags = [*ON, "traefik.http.routers.orders.rule=Host(`orders.example.com`)"]
    mirrors = mirror_tags("orders", tags)
    services = {
        "orders": [Registered(app.port, tags)],
        "mirror-orders": [Registered(mirror.port, mirrors), Registered(other.port, mirrors)],
    }
    with Catalog(services) as catalog, Traefik(tmp_path, static(catalog, port)) as traefik:
        traefik.wait_for_router("mirror-orders-orders@consulcatalog")
        for _ in range(10):
            assert fetch(port, "/", host="orders.example.com")[0] == 200
    assert (len(mirror.seen), len(other.seen), len(app.seen)) == (5, 5, 0)


def test_a_mirror_that_lags_behind_takes_nothing_of_the_apps_away(
    tmp_path: Path, app: RawOrigin, mirror: RawOrigin, port: int
):
    """The app has new users and a new rule, the mirror's tags are still the old ones."""
    old = [
        *ON,
        "traefik.http.routers.orders.rule=Host(`old.example.com`)",
        "traefik.http.routers.orders.middlewares=auth",
        "traefik.http.middlewares.auth.basicauth.users=admin:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ]
    new = [
        *ON,
        "traefik.http.routers.orders.rule=Host(`new.example.com`)",
        "traefik.http.routers.orders.middlewares=auth",
        # admin:secret
        "traefik.http.middlewares.auth.basicauth.users=admin:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    ]
    services = {
        "orders": [Registered(app.port, new)],
        "mirror-orders": [Registered(mirror.port, mirror_tags("orders", old))],
    }
    login = {"Authorization": "Basic YWRtaW46c2VjcmV0"}
    with Catalog(services) as catalog, Traefik(tmp_path, static(catalog, port)) as traefik:
        traefik.wait_for_router("mirror-orders-orders@consulcatalog")
        traefik.wait_for_router("orders@consulcatalog")
        assert fetch(port, "/", host="new.example.com")[0] == 401
        assert fetch(port, "/", host="new.example.com", headers=login)[0] == 200
        assert fetch(port, "/", host="old.example.com")[0] == 401
    assert (len(app.seen), len(mirror.seen)) == (1, 0)


def test_an_app_that_traefik_must_not_show_is_not_shown_by_its_mirror(
    tmp_path: Path, app: RawOrigin, mirror: RawOrigin, port: int
):
    """Constraints and traefik.enable are the app's to satisfy."""
    rule = "traefik.http.routers.orders.rule=Host(`orders.example.com`)"
    hidden, shown = ["inner", rule, "mirrorproxy.enable=true"], ["public", *ON, rule]
    services = {
        "hidden": [Registered(app.port, hidden)],
        "mirror-hidden": [Registered(mirror.port, mirror_tags("hidden", hidden))],
        "shown": [Registered(app.port, shown)],
        "mirror-shown": [Registered(mirror.port, mirror_tags("shown", shown))],
    }
    provider = {"exposedByDefault": True, "constraints": "Tag(`public`)"}
    with (
        Catalog(services) as catalog,
        Traefik(tmp_path, static(catalog, port, **provider)) as traefik,
    ):
        traefik.wait_for_router("mirror-shown-orders@consulcatalog")
        assert "mirror-hidden-orders@consulcatalog" not in traefik.routers()
