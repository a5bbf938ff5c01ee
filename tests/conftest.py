"""What every test may ask for: the repository, real programs, and hypothesis without clocks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.consul import ConsulMissing, find_consul
from support.ministack import Ministack, MinistackMissing, require_ministack

ROOT = Path(__file__).resolve().parent.parent

# A shared machine is slow at odd moments: no test is judged by a clock.
# CI takes the same examples each time, so that a red build can be repeated.
settings.register_profile(
    "mirrorproxy",
    derandomize=os.environ.get("CI") == "true",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("mirrorproxy")


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for what commands keep per user, so that no test sees or makes the user's own."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """A function that returns the path of a real program, for tests that speak to one.

    Where it is missing the test is skipped, but fails in CI: a suite that
    skips its real parts there would prove nothing.
    """

    def find(name: str) -> str:
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is not None:
            return path
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed, and CI must have it", pytrace=False)
        pytest.skip(f"{name} is not installed")

    return find


@pytest.fixture(scope="session")
def consul_program() -> str:
    """The path of a real Consul; without one a test is skipped, but fails in CI."""
    try:
        return find_consul()
    except ConsulMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have Consul: {missing}", pytrace=False)
        pytest.skip(f"no Consul: {missing}")


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    """S3, SQS and SNS over the network; without them a test is skipped, but fails in CI."""
    try:
        require_ministack()
    except MinistackMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have the AWS emulator: {missing}", pytrace=False)
        pytest.skip(f"no AWS emulator: {missing}")
    with Ministack(tmp_path_factory.mktemp("ministack")) as running:
        yield running
