"""What tests of the whole share: a real Consul and a real Traefik that follows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.consul import ConsulAgent
from support.traefik import Traefik, shipped_providers


@pytest.fixture(scope="module")
def consul(consul_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulAgent]:
    """An agent of a module's own; each test registers apps of other names."""
    with ConsulAgent(consul_program, tmp_path_factory.mktemp("consul")) as agent:
        yield agent


@pytest.fixture(scope="module")
def traefik(consul: ConsulAgent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traefik]:
    """Traefik as `traefik/consul-catalog.yaml` has it."""
    static = {"providers": shipped_providers(consul.address)}
    with Traefik(tmp_path_factory.mktemp("traefik"), static) as running:
        yield running
