"""An emulator that asks for permissions, and a stack in it with the functions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cloud_stack import Stack, lambda_zip
from support.commands import Application, serving
from support.ministack import Ministack


@pytest.fixture(scope="session")
def ministack(
    ministack: Ministack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ministack]:
    """Another one than elsewhere: strict. Where there can be no other there is none of these."""
    with Ministack(tmp_path_factory.mktemp("strict"), is_strict=True) as running:
        yield running


@pytest.fixture(scope="session")
def code(ministack: Ministack) -> str:
    """A bucket with the functions' zip."""
    bucket = ministack.bucket()
    ministack.client("s3").put_object(
        Bucket=bucket, Key="mirrorproxy-lambda.zip", Body=lambda_zip()
    )
    return bucket


@pytest.fixture(scope="session")
def stack(ministack: Ministack, code: str) -> Iterator[Stack]:
    """A stack with the functions."""
    made = Stack(ministack, "with-lambda", Replay="lambda", CodeBucket=code, SpreadOver="1s")
    yield made
    made.delete()


@pytest.fixture
def target() -> Iterator[Application]:
    """Where requests are sent."""
    application = Application()
    with serving(application):
        yield application
