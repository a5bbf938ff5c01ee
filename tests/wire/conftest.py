"""Lets the wire tests import what they share from ``tests/support``, and sets the stage."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.mirror import FAST_LOOP, Mirror
from support.origin import RawOrigin
from support.stage import Stage


@pytest.fixture(params=[FAST_LOOP, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The proxy with an origin behind it, on either event loop."""
    with RawOrigin() as origin, Mirror(origin.authority, loop_factory=request.param) as mirror:
        yield Stage(origin, mirror)
        mirror.settle()
