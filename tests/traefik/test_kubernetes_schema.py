"""The resources of ``traefik/kubernetes`` hold no field that Kubernetes would drop or refuse.

The schemas are ours, written from the reference of Traefik 3.7's resources and
strict about names: a field that is misspelt is refused here, where the API
server would silently leave it out. They say what is used here, not all there is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mirrorproxy import config
from mirrorproxy.errors import ConfigError

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
PORT: Schema = {"type": ["integer", "string"]}
DURATION: Schema = {"type": ["integer", "string"], "pattern": r"^([0-9]+(ms|s|m)?)+$"}


def strict(required: str = "", **fields: Schema) -> Schema:
    """Return an object with these fields alone."""
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


BALANCED = {
    "name": TEXT,
    "namespace": TEXT,
    "kind": {"enum": ["Service", "TraefikService"]},
    "port": PORT,
    "scheme": {"enum": ["http", "https", "h2c"]},
    "weight": {"type": "integer", "minimum": 0},
    "passHostHeader": {"type": "boolean"},
    "serversTransport": TEXT,
}
ROUTE = strict(
    "match services",
    kind={"enum": ["Rule"]},
    match=TEXT,
    priority={"type": "integer", "maximum": 9223372036854774807},
    middlewares=many(strict("name", name=TEXT, namespace=TEXT)),
    services=many(strict("name", **BALANCED)),
)
MIRRORING = strict(
    "name mirrors",
    **BALANCED,
    mirrorBody={"type": "boolean"},
    maxBodySize={"type": "integer", "minimum": -1},
    mirrors=many(
        strict(
            "name percent",
            **BALANCED,
            percent={"type": "integer", "minimum": 0, "maximum": 100},
        )
    ),
)
SPECS = {
    "IngressRoute": strict("routes", entryPoints=many(TEXT), routes=many(ROUTE)),
    "Middleware": strict(
        "headers",
        headers=strict(
            "customRequestHeaders",
            customRequestHeaders={"type": "object", "additionalProperties": {"type": "string"}},
        ),
    ),
    "TraefikService": strict("mirroring", mirroring=MIRRORING),
    "ServersTransport": strict(
        "forwardingTimeouts",
        forwardingTimeouts=strict(
            "", dialTimeout=DURATION, responseHeaderTimeout=DURATION, idleConnTimeout=DURATION
        ),
    ),
}


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((folder / name).read_text()) if one]


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / "traefik/kubernetes"


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("inline.yaml", ["Middleware", "IngressRoute"]),
        (
            "tap.yaml",
            ["Middleware", "ServersTransport", "TraefikService", "IngressRoute"],
        ),
    ],
)
def test_traefiks_resources(folder: Path, name: str, kinds: list[str]):
    """Each holds what its kind knows, and a name that Kubernetes takes."""
    found = [one for one in read(folder, name) if one["apiVersion"] == "traefik.io/v1alpha1"]
    assert [one["kind"] for one in found] == kinds
    for one in found:
        assert set(one) == {"apiVersion", "kind", "metadata", "spec"}
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", one["metadata"]["name"])
        jsonschema.Draft202012Validator(SPECS[one["kind"]]).validate(one["spec"])


def test_a_misspelt_field_is_refused():
    """Or the test above would hold nothing."""
    wrong = {"routes": [{"match": "Host(`a`)", "services": [{"name": "a", "prot": 1}]}]}
    with pytest.raises(jsonschema.ValidationError, match="prot"):
        jsonschema.Draft202012Validator(SPECS["IngressRoute"]).validate(wrong)


def test_the_mirrors_deployment(folder: Path, repository: Path):
    """Its parts find each other, it runs as the image's user, and its configuration is taken."""
    parts = {one["kind"]: one for one in read(folder, "mirrorproxy.yaml")}
    assert list(parts) == ["ConfigMap", "Deployment", "Service"]
    spec = parts["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels == parts["Service"]["spec"]["selector"]
    assert f"USER {pod['securityContext']['runAsUser']}:" in (repository / "Dockerfile").read_text()
    (container,) = pod["containers"]
    assert {one["name"] for one in container["volumeMounts"]} == {
        one["name"] for one in pod["volumes"]
    }
    assert parts["Service"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]

    (name, text), *_ = parts["ConfigMap"]["data"].items()
    assert container["args"][-1].endswith(f"/{name}")
    same = yaml.safe_load((repository / "traefik/capture.yaml").read_text())
    assert yaml.safe_load(text) == same


def test_the_configuration_in_the_deployment_is_taken(folder: Path, tmp_path: Path):
    """By `mirrorproxy capture` itself."""

    def fail(message: str, key: str) -> ConfigError:
        return ConfigError(f"{key}: {message}")

    config_map = read(folder, "mirrorproxy.yaml")[0]
    file = tmp_path / "capture.yaml"
    file.write_text(config_map["data"]["capture.yaml"])
    loaded, _ = config.load(file, {})
    assert config.resolve(loaded, fail).listen.port == 8000
