"""Lets the tests of Traefik import what they share from ``tests/support``, and sets origins up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.commands import free_port
from support.origin import RawOrigin
from support.traefik_files import Ending


@pytest.fixture
def port() -> int:
    """A free port for Traefik's entry point."""
    return free_port()


@pytest.fixture
def app() -> Iterator[RawOrigin]:
    """The application."""
    with RawOrigin() as origin:
        yield origin


@pytest.fixture
def mirror() -> Iterator[Ending]:
    """What stands where the mirror would: it answers itself, and remembers what came."""
    with Ending() as origin:
        yield origin


@pytest.fixture
def other() -> Iterator[RawOrigin]:
    """Another application."""
    with RawOrigin() as origin:
        yield origin
