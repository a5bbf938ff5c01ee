"""The configurations of ``traefik/`` as they stand, in real Traefik."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from support.consul_catalog import Catalog, Registered
from support.origin import RawOrigin, send_raw
from support.traefik_files import Ending, Traefik, fetch, load

from mirrorproxy import config
from mirrorproxy.control.tags import mirror_tags
from mirrorproxy.errors import ConfigError

HOST = "orders.example.com"
MIRROR, APP, TAP = (f"http://127.0.0.1:{port}" for port in (8000, 8080, 8001))
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def files(repository: Path) -> Path:
    return repository / "traefik"


def url(origin: RawOrigin) -> str:
    return f"http://127.0.0.1:{origin.port}"


def with_files(files: Path, place: Path, port: int, name: str, swaps: dict[object, object]) -> Any:
    """Return file.yaml with a folder that holds one of the dynamic configurations."""
    folder = place / "dynamic"
    folder.mkdir()
    (folder / name).write_text(json.dumps(load(files / "dynamic" / name, swaps)))
    swaps = {":80": f"127.0.0.1:{port}", "/etc/traefik/dynamic": str(folder)}
    return load(files / "file.yaml", swaps)


def down(traefik: Traefik, service: str) -> bool:
    """Say whether Traefik's health check of a service has failed."""
    state = traefik.api(f"/api/http/services/{service}") or {}
    return "DOWN" in state.get("serverStatus", {}).values()


def names(origin: RawOrigin) -> list[list[bytes]]:
    """Return the app's name on each request that was no health check."""
    return [one.values(b"X-Mirrorproxy-App") for one in origin.seen if one.target != b"/readyz"]


def test_inline_by_file(files: Path, tmp_path: Path, app: RawOrigin, mirror: Ending, port: int):
    """The mirror gets all; when it ends the app does, by the mirror's own health check."""
    swaps = {MIRROR: url(mirror), APP: url(app), 9808: mirror.port}
    static = with_files(files, tmp_path, port, "inline.yaml", swaps)
    with Traefik(tmp_path, static) as traefik:
        traefik.wait_for_router("orders@file")
        for _ in range(3):
            assert fetch(port, "/", host=HOST, headers={"X-Mirrorproxy-App": "x"})[0] == 200
        assert (names(mirror), names(app)) == ([[b"orders"]] * 3, [])
        mirror.end()
        traefik.wait(lambda: fetch(port, "/", host=HOST)[0] == 200, "the app to answer")
    assert names(app) == [[b"orders"]]


def test_inline_by_file_before_a_mirror_that_hangs(
    files: Path, tmp_path: Path, app: RawOrigin, port: int
):
    """It accepts and says nothing: its health check fails, and the app serves."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        hung_port = hung.getsockname()[1]
        swaps = {MIRROR: f"http://127.0.0.1:{hung_port}", APP: url(app), 9808: hung_port}
        static = with_files(files, tmp_path, port, "inline.yaml", swaps)
        with Traefik(tmp_path, static) as traefik:
            traefik.wait(lambda: down(traefik, "orders-mirror@file"), "the health check")
            assert fetch(port, "/1", host=HOST)[0] == 200
    assert [one.target for one in app.seen] == [b"/1"]


def test_pooled_by_file(files: Path, tmp_path: Path, app: RawOrigin, mirror: Ending, port: int):
    """One request in ten; a mirror that does not listen fails none, with or without a body."""
    static = with_files(files, tmp_path, port, "pooled.yaml", {MIRROR: url(mirror), APP: url(app)})
    with Traefik(tmp_path, static) as traefik:
        traefik.wait_for_router("orders@file")
        assert [fetch(port, "/", host=HOST)[0] for _ in range(40)] == [200] * 40
        assert names(mirror) == [[b"orders"]] * 4
        app.forget()
        mirror.end()
        body = b"x" * 100_000
        assert [fetch(port, "/", host=HOST, method="POST", body=body)[0] for _ in range(40)] == [
            200
        ] * 40
    assert [one.body == body for one in app.seen] == [True] * 40


def test_tap_by_file(files: Path, tmp_path: Path, app: RawOrigin, mirror: Ending, port: int):
    """The app answers, the mirror gets a copy with its body; without it nothing changes."""
    static = with_files(files, tmp_path, port, "tap.yaml", {TAP: url(mirror), APP: url(app)})
    with Traefik(tmp_path, static) as traefik:
        traefik.wait_for_router("orders@file")
        assert fetch(port, "/1", host=HOST, method="POST", body=b"abc")[0] == 200
        assert mirror.wait_for(lambda it: len(it.seen) == 1)
        assert (mirror.seen[0].body, app.seen[0].body) == (b"abc", b"abc")
        assert names(mirror) == [[b"orders"]]

        too_large = b"x" * (262144 + 1)
        assert fetch(port, "/2", host=HOST, method="POST", body=too_large)[0] == 200
        assert fetch(port, "/3", host=HOST)[0] == 200
        assert mirror.wait_for(lambda it: len(it.seen) == 2)
        assert [one.target for one in mirror.seen] == [b"/1", b"/3"]
        assert [len(one.body) for one in app.seen] == [3, 262145, 0]

        mirror.end()
        assert [fetch(port, "/", host=HOST)[0] for _ in range(20)] == [200] * 20


def test_a_tap_that_hangs_is_not_noticed(files: Path, tmp_path: Path, app: RawOrigin, port: int):
    """It accepts and says nothing, and every answer comes from the app all the same."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        swaps = {TAP: f"http://127.0.0.1:{hung.getsockname()[1]}", APP: url(app)}
        static = with_files(files, tmp_path, port, "tap.yaml", swaps)
        with Traefik(tmp_path, static) as traefik:
            traefik.wait_for_router("orders@file")
            body = b"x" * 10_000
            assert [
                fetch(port, "/", host=HOST, method="POST", body=body)[0] for _ in range(30)
            ] == [200] * 30
    assert len(app.seen) == 30


def test_consul_catalog(files: Path, tmp_path: Path, app: RawOrigin, mirror: RawOrigin, port: int):
    """The file leads an app with the tag through the mirror."""
    tags = ["traefik.enable=true", f"traefik.http.routers.orders.rule=Host(`{HOST}`)"]
    services = {
        "orders": [Registered(app.port, tags)],
        "mirror-orders": [Registered(mirror.port, mirror_tags("orders", tags))],
    }
    with Catalog(services) as catalog:
        swaps = {":80": f"127.0.0.1:{port}", "127.0.0.1:8500": catalog.address}
        static = load(files / "consul-catalog.yaml", swaps)
        with Traefik(tmp_path, static) as traefik:
            traefik.wait_for_router("mirror-orders-orders@consulcatalog")
            assert fetch(port, "/", host=HOST)[0] == 200
    assert names(mirror) == [[b"orders"]]


def test_the_access_log_keeps_headers_and_no_secrets(
    files: Path, tmp_path: Path, app: RawOrigin, port: int
):
    """What a replay needs is there; what authorises is not."""
    swaps = {MIRROR: url(app), APP: url(app), 9808: app.port}
    static = with_files(files, tmp_path, port, "inline.yaml", swaps)
    log = tmp_path / "access.log"
    static |= load(files / "access-log.yaml", {"/var/log/traefik/access.log": str(log)})
    secrets = {
        "authorization": "Bearer planted-1",
        "Proxy-Authorization": "Basic planted-2",
        "Cookie": "session=planted-3",
        "x-api-key": "planted-4",
        "X-Auth-Token": "planted-5",
    }
    app.script(b"1", send_raw(HEALTHY[:-2] + b"Set-Cookie: a=planted-6\r\n\r\n"))
    with Traefik(tmp_path, static) as traefik:
        traefik.wait_for_router("orders@file")
        headers = {"X-Tenant": "a", **secrets}
        assert fetch(port, "/case/1?q=2", host=HOST, headers=headers)[0] == 200
        traefik.wait(lambda: log.exists() and "/case/1" in log.read_text(), "the log")
    (line,) = [one for one in log.read_text().splitlines() if "/case/1" in one]
    assert "planted" not in line
    entry = json.loads(line)
    assert (entry["RequestMethod"], entry["RequestPath"], entry["RequestHost"]) == (
        "GET",
        "/case/1?q=2",
        HOST,
    )
    assert (entry["request_X-Tenant"], entry["request_Authorization"]) == ("a", "REDACTED")


def test_the_mirrors_own_configuration(files: Path):
    """It is one that `mirrorproxy capture` takes."""

    def fail(message: str, key: str) -> ConfigError:
        return ConfigError(f"{key}: {message}")

    loaded, _ = config.load(files / "capture.yaml", {})
    (orders,) = config.resolve(loaded, fail).services
    assert (orders.name, orders.upstream, orders.hosts) == (
        "orders",
        "http://orders:8080",
        (HOST,),
    )
