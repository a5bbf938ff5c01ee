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
