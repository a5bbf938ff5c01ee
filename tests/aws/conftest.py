"""A bucket in the emulator, and a Firehose endpoint that delivers into the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.firehose import Firehose
from support.ministack import Ministack


@pytest.fixture
def s3(ministack: Ministack) -> Any:
    """boto3's client of the emulator's S3."""
    return ministack.client("s3")


@pytest.fixture
def bucket(ministack: Ministack) -> str:
    """The name of an empty bucket."""
    return ministack.bucket()


@pytest.fixture
def firehose(s3: Any) -> Iterator[Firehose]:
    """An endpoint without streams that delivers after half a second or 1 MiB."""

    def store(bucket: str, key: str, content: bytes) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=content)

    with Firehose(store, buffer_bytes=1 << 20, buffer_age_s=0.5) as endpoint:
        yield endpoint
