"""Lets the wire tests import what they share from ``tests/support``, and sets the stage."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.mirror import Mirror
from support.origin import RawOrigin
from support.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    with RawOrigin() as origin, Mirror(origin.authority) as mirror:
        yield Stage(origin, mirror)
        mirror.settle()
        assert mirror.errors == []
