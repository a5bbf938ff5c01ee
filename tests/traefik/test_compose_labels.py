"""The Compose files of ``traefik/``, read by real Traefik through a stand-in of the Docker API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.docker_api import DockerApi
from support.origin import RawOrigin
from support.traefik_files import Ending, Traefik, fetch, load

HOST = "orders.example.com"


def static(repository: Path, docker: DockerApi, port: int) -> Any:
    """Return docker.yaml with this machine's addresses."""
    swaps = {":80": f"127.0.0.1:{port}", "unix:///var/run/docker.sock": docker.endpoint}
    return load(repository / "traefik/docker.yaml", swaps)


def wait_until_reached(traefik: Traefik, port: int, origin: RawOrigin) -> None:
    """Wait until a request reaches an origin; none may fail meanwhile, and the next does too.

    Traefik's API shows a router's change a moment before requests follow it.
    """

    def reached() -> bool:
        known = len(origin.seen)
        status = fetch(port, "/", host=HOST, headers={"X-Mirrorproxy-App": "else"})[0]
        if origin.seen or status != 404:  # nothing is routed yet just after the start
            assert status == 200
        return len(origin.seen) > known

    traefik.wait(reached, "a request to reach its origin")
    assert reached()


def test_labels_alone_lead_an_app_through_the_mirror_and_back(
    repository: Path, tmp_path: Path, app: RawOrigin, mirror: RawOrigin, port: int
):
    """Requests name the app; a mirror that is ill or ends gives them back to it."""
    swaps = {"8080": str(app.port), "8000": str(mirror.port)}
    compose = load(repository / "traefik/docker-compose.yaml", swaps)
    with (
        DockerApi(compose) as docker,
        Traefik(tmp_path, static(repository, docker, port)) as traefik,
    ):
        wait_until_reached(traefik, port, mirror)
        assert mirror.seen[-1].values(b"X-Mirrorproxy-App") == [b"orders"]

        docker.set_health("mirror", "unhealthy")
        wait_until_reached(traefik, port, app)

        docker.set_health("mirror", "healthy")
        wait_until_reached(traefik, port, mirror)

        docker.die("mirror")
        wait_until_reached(traefik, port, app)


def test_a_pooled_mirror_gets_its_share_and_can_go(
    repository: Path, tmp_path: Path, app: RawOrigin, mirror: Ending, port: int
):
    """One request in ten, with the app's name; when nothing listens any more the app gets all."""
    swaps = {"8080": str(app.port), "8000": str(mirror.port)}
    compose = load(repository / "traefik/docker-compose.pooled.yaml", swaps)
    with (
        DockerApi(compose) as docker,
        Traefik(tmp_path, static(repository, docker, port)) as traefik,
    ):
        traefik.wait_for_router("orders@docker")
        for _ in range(40):
            assert fetch(port, "/", host=HOST, headers={"X-Mirrorproxy-App": "else"})[0] == 200
        assert len(mirror.seen) == 4
        assert {tuple(one.values(b"X-Mirrorproxy-App")) for one in mirror.seen} == {(b"orders",)}

        app.forget()
        mirror.end()
        assert [fetch(port, "/", host=HOST)[0] for _ in range(40)] == [200] * 40
        assert len(app.seen) == 40
