"""The document that a mirror serves, read by real Traefik's HTTP provider."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.consul_catalog import Catalog, Registered
from support.origin import RawOrigin
from support.traefik_files import Ending, Traefik, fetch, load

from mirrorproxy.control.tags import parse_app
from mirrorproxy.control.traefik import provider_document

HOST = "orders.example.com"
TAGS = [
    "traefik.enable=true",
    "mirrorproxy.enable=true",
    "mirrorproxy.mode=tap",
    f"traefik.http.routers.orders.rule=Host(`{HOST}`)",
    "traefik.http.routers.orders.middlewares=auth",
    "traefik.http.middlewares.auth.ipallowlist.sourcerange=127.0.0.0/8",
    # A tap leaves the app's own service as it is, cookies included.
    "traefik.http.services.orders.loadbalancer.sticky.cookie.name=stay",
]


class Provider:
    """What the mirror's admin server would be. document: answered; None answers 503."""

    def __init__(self) -> None:
        self.document: dict[str, Any] | None = {}
        self.asked = threading.Semaphore(0)
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                document = provider.document
                body = msgspec.json.encode(document)
                self.send_response(503 if document is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                provider.asked.release()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/traefik"


@pytest.fixture
def provider() -> Iterator[Provider]:
    one = Provider()
    one.server.daemon_threads = True
    thread = threading.Thread(target=one.server.serve_forever, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join(5)


def static(repository: Path, catalog: Catalog, provider: Provider, port: int) -> Any:
    """Return consul-catalog-tap.yaml with this machine's addresses."""
    swaps = {
        ":80": f"127.0.0.1:{port}",
        "127.0.0.1:8500": catalog.address,
        "http://127.0.0.1:9808/traefik": provider.url,
    }
    loaded = load(repository / "traefik/consul-catalog-tap.yaml", swaps)
    # The stand-in has no blocking queries to watch by.
    loaded["providers"]["consulCatalog"] |= {"watch": False, "refreshInterval": "100ms"}
    loaded["providers"]["http"]["pollInterval"] = "100ms"
    return loaded


def test_a_tap_copies_and_changes_nothing_else(
    repository: Path,
    tmp_path: Path,
    app: RawOrigin,
    other: RawOrigin,
    mirror: Ending,
    provider: Provider,
    port: int,
):
    """The app answers; the mirror and its provider may go, and the app's instances may move."""
    provider.document = provider_document(
        [parse_app("orders", TAGS)], [f"http://127.0.0.1:{mirror.port}"]
    )
    with (
        Catalog({"orders": [Registered(app.port, TAGS)]}) as catalog,
        Traefik(tmp_path, static(repository, catalog, provider, port)) as traefik,
    ):
        traefik.wait_for_router("mirrorproxy-orders-orders@http")
        router = traefik.routers()["mirrorproxy-orders-orders@http"]
        assert router["middlewares"] == ["auth@consulcatalog", "mirrorproxy-orders@http"]
        assert fetch(port, "/1", host=HOST, method="POST", body=b"abc")[0] == 200
        assert mirror.wait_for(lambda it: len(it.seen) == 1)
        assert mirror.seen[0].body == b"abc"
        assert mirror.seen[0].values(b"X-Mirrorproxy-App") == [b"orders"]
        assert len(app.seen) == 1

        provider.document = None
        mirror.end()
        for _ in range(2):
            assert provider.asked.acquire(timeout=20)
        catalog.services = {"orders": [Registered(other.port, TAGS)]}

        def moved() -> bool:
            assert fetch(port, "/2", host=HOST)[0] == 200
            return bool(other.seen)

        traefik.wait(moved, "the app's new instance")
        assert "mirrorproxy-orders-orders@http" in traefik.routers()


def test_traefik_starts_without_the_mirror(
    repository: Path, tmp_path: Path, app: RawOrigin, provider: Provider, port: int
):
    """Apps are served by their own routers, and tapped once the mirror answers."""
    provider.document = None
    with (
        Catalog({"orders": [Registered(app.port, TAGS)]}) as catalog,
        Traefik(tmp_path, static(repository, catalog, provider, port)) as traefik,
    ):
        traefik.wait_for_router("orders@consulcatalog")
        assert fetch(port, "/", host=HOST)[0] == 200
        provider.document = provider_document([parse_app("orders", TAGS)], ["http://127.0.0.1:1"])
        traefik.wait_for_router("mirrorproxy-orders-orders@http")
        assert fetch(port, "/", host=HOST)[0] == 200


def test_when_the_last_tag_is_gone_traefik_forgets_the_tap(
    repository: Path,
    tmp_path: Path,
    app: RawOrigin,
    mirror: RawOrigin,
    provider: Provider,
    port: int,
):
    """The empty document means no routers; one with empty sections would have been refused."""
    taps = [f"http://127.0.0.1:{mirror.port}"]
    provider.document = provider_document([parse_app("orders", TAGS)], taps)
    with (
        Catalog({"orders": [Registered(app.port, TAGS)]}) as catalog,
        Traefik(tmp_path, static(repository, catalog, provider, port)) as traefik,
    ):
        traefik.wait_for_router("mirrorproxy-orders-orders@http")
        untagged = [tag for tag in TAGS if not tag.startswith("mirrorproxy.")]
        provider.document = provider_document([parse_app("orders", untagged)], taps)
        traefik.wait_for_router("mirrorproxy-orders-orders@http", there=False)
        assert fetch(port, "/", host=HOST)[0] == 200
    assert mirror.seen == []


def test_traefik_takes_all_that_the_document_can_hold(
    repository: Path, tmp_path: Path, app: RawOrigin, provider: Provider, port: int
):
    """TLS, entry points, rule syntax and observability are those of the app's router."""
    tags = [
        *TAGS,
        "traefik.http.routers.orders.entrypoints=web",
        "traefik.http.routers.orders.rulesyntax=v3",
        "traefik.http.routers.orders.observability.accesslogs=false",
        "traefik.http.routers.orders.tls.domains[0].main=example.com",
        "traefik.http.routers.orders.tls.domains[0].sans=a.example.com,b.example.com",
    ]
    provider.document = provider_document([parse_app("orders", tags)], ["http://127.0.0.1:1"])
    with (
        Catalog({"orders": [Registered(app.port, tags)]}) as catalog,
        Traefik(tmp_path, static(repository, catalog, provider, port)) as traefik,
    ):
        traefik.wait_for_router("mirrorproxy-orders-orders@http")
        traefik.wait_for_router("orders@consulcatalog")
        routers = traefik.routers()
        service = traefik.api("/api/http/services/mirrorproxy-orders@http")
    theirs, ours = routers["orders@consulcatalog"], routers["mirrorproxy-orders-orders@http"]
    for key in ("rule", "ruleSyntax", "entryPoints", "tls", "observability"):
        assert ours[key] == theirs[key]
    assert ours["priority"] == theirs["priority"] + 1
    assert service["mirroring"]["maxBodySize"] == 262144
    assert service["mirroring"]["mirrors"] == [{"name": "mirrorproxy-tap", "percent": 100}]
