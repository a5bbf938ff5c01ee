"""A bucket in the emulator, a target, and the functions in this process with little lead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import Answer, Application, serving
from support.ministack import Ministack

from mirrorproxy.clock import new_id, wall_us
from mirrorproxy.lambdas import deadline, split_function

for folder in ("aws", "credentials", "capture"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / folder))

from in_process import Both  # noqa: E402


@pytest.fixture(scope="session")
def s3(ministack: Ministack) -> Any:
    return ministack.client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{new_id(wall_us())}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def served() -> Iterator[Application]:
    application = Application()
    with serving(application):
        yield application


@pytest.fixture
def target(served: Application) -> Application:
    """A target to which nothing came yet, and that answers 201 at once."""
    served.requests.clear()
    served.answer = lambda _request: Answer()
    return served


@pytest.fixture
def both(
    ministack: Ministack, target: Application, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Both]:
    """Return what makes the functions; they need little time here to start and to end."""
    monkeypatch.setattr(split_function, "LEAD_US", 100_000)
    monkeypatch.setattr(deadline, "MIN_MARGIN_S", 0.5)
    return lambda variables=None, **more: Both(ministack, target.url, variables, **more)
