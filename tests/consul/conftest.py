"""A real Consul agent for each test that asks for one, and a mirror's health page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.commands import Answer, Application, serving
from support.consul import ConsulAgent

from mirrorproxy.control.consul import ConsulClient


@pytest.fixture
def agent(consul_program: str, tmp_path: Path) -> Iterator[ConsulAgent]:
    """An agent that forgets everything when it is restarted."""
    with ConsulAgent(consul_program, tmp_path / "consul") as running:
        yield running


@pytest.fixture
def locked(consul_program: str, tmp_path: Path) -> Iterator[ConsulAgent]:
    """An agent that denies everything to those without a token."""
    with ConsulAgent(consul_program, tmp_path / "consul", acl=True) as running:
        yield running


@pytest.fixture
async def client(agent: ConsulAgent) -> AsyncIterator[ConsulClient]:
    made = ConsulClient(agent.url)
    yield made
    await made.close()


@pytest.fixture
def health() -> Iterator[Application]:
    """What answers a mirror's health checks; `answer` decides how."""
    application = Application(lambda _request: Answer(200))
    with serving(application):
        yield application
