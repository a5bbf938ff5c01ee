"""The resources of ``traefik/kubernetes`` in real Traefik, before a stand-in of Kubernetes' API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.kube_api import KubeApi, Object, endpoints
from support.origin import RawOrigin
from support.traefik_files import Ending, Traefik, fetch, load

HOST = "orders.example.com"


@pytest.fixture
def files(repository: Path) -> Path:
    return repository / "traefik/kubernetes"


def objects(files: Path, *names: str) -> list[Object]:
    return [one for name in names for one in yaml.safe_load_all((files / name).read_text()) if one]


def plain_app() -> list[Object]:
    """Return an app as it is without a mirror."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "orders"},
            "spec": {"ports": [{"name": "http", "port": 8080}]},
        },
        {
            "apiVersion": "traefik.io/v1alpha1",
            "kind": "IngressRoute",
            "metadata": {"name": "orders"},
            "spec": {
                "entryPoints": ["web"],
                "routes": [
                    {
                        "kind": "Rule",
                        "match": f"Host(`{HOST}`)",
                        "services": [{"name": "orders", "port": 8080}],
                    }
                ],
            },
        },
    ]


def static(files: Path, api: KubeApi, port: int) -> Any:
    """Return static.yaml with this machine's addresses."""
    loaded = load(files / "static.yaml", {":80": f"127.0.0.1:{port}"})
    loaded["providers"]["kubernetesCRD"] |= {"endpoint": api.url, "token": "none"}
    return loaded


def priority_of(traefik: Traefik, name: str) -> int | None:
    """Return the priority of the router of an IngressRoute, None while there is none in use."""
    for router, state in traefik.routers().items():
        if router.startswith(f"default-{name}-") and state["status"] == "enabled":
            priority: int = state["priority"]
            return priority
    return None


def test_inline(files: Path, tmp_path: Path, app: RawOrigin, mirror: RawOrigin, port: int):
    """The mirror's route serves while a pod of it is ready, the app's own otherwise."""
    ready = endpoints("mirrorproxy", {"http": mirror.port})
    everything = [
        *objects(files, "mirrorproxy.yaml", "inline.yaml"),
        *plain_app(),
        endpoints("orders", {"http": app.port}),
        ready,
    ]
    with KubeApi(everything) as api, Traefik(tmp_path, static(files, api, port)) as traefik:
        traefik.wait(lambda: priority_of(traefik, "mirror-orders") == 27, "the mirror's route")
        assert priority_of(traefik, "orders") == 26
        assert fetch(port, "/1", host=HOST, headers={"X-Mirrorproxy-App": "else"})[0] == 200
        assert [one.values(b"X-Mirrorproxy-App") for one in mirror.seen] == [[b"orders"]]

        api.put(endpoints("mirrorproxy", {"http": mirror.port}, ready=False))
        traefik.wait(lambda: priority_of(traefik, "mirror-orders") is None, "the route to go")
        assert fetch(port, "/2", host=HOST)[0] == 200
        api.put(ready)
        traefik.wait(lambda: priority_of(traefik, "mirror-orders") is not None, "the route again")
        assert fetch(port, "/3", host=HOST)[0] == 200
    assert [one.target for one in mirror.seen] == [b"/1", b"/3"]
    assert [one.target for one in app.seen] == [b"/2"]


def test_tap(files: Path, tmp_path: Path, app: RawOrigin, mirror: Ending, port: int):
    """The app answers and the mirror gets a copy; without a mirror nothing fails."""
    everything = [
        *objects(files, "mirrorproxy.yaml", "tap.yaml"),
        *plain_app(),
        endpoints("orders", {"http": app.port}),
        endpoints("mirrorproxy-tap", {"tap": mirror.port}),
    ]
    with KubeApi(everything) as api, Traefik(tmp_path, static(files, api, port)) as traefik:
        traefik.wait(lambda: priority_of(traefik, "tapped-orders") is not None, "the tapped route")
        assert fetch(port, "/1", host=HOST, method="POST", body=b"abc")[0] == 200
        assert mirror.wait_for(lambda it: len(it.seen) == 1)
        assert mirror.seen[0].body == b"abc"
        assert mirror.seen[0].values(b"X-Mirrorproxy-App") == [b"orders"]

        mirror.end()
        assert [fetch(port, "/", host=HOST)[0] for _ in range(10)] == [200] * 10
        api.put(endpoints("mirrorproxy-tap", {}, ready=False))
        traefik.wait(lambda: priority_of(traefik, "tapped-orders") is None, "the route to go")
        assert fetch(port, "/", host=HOST)[0] == 200
    assert len(app.seen) == 12


def test_inline_where_empty_services_are_allowed(
    files: Path, tmp_path: Path, app: RawOrigin, port: int
):
    """What the comment warns of: the mirror's route stays, and nobody answers."""
    everything = [
        *objects(files, "mirrorproxy.yaml", "inline.yaml"),
        *plain_app(),
        endpoints("orders", {"http": app.port}),
        endpoints("mirrorproxy", {}, ready=False),
    ]
    with KubeApi(everything) as api:
        allowing = static(files, api, port)
        allowing["providers"]["kubernetesCRD"]["allowEmptyServices"] = True
        with Traefik(tmp_path, allowing) as traefik:
            traefik.wait(lambda: priority_of(traefik, "mirror-orders") == 27, "the route")
            assert fetch(port, "/", host=HOST)[0] == 503
    assert app.seen == []
