"""Two of behind_traefik.py's faults in their short form; `make behind-traefik` has all of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from chaos_faults import SCENARIOS


@pytest.mark.parametrize("name", ["kill-inline", "update-inline"])
def test_production_is_kept(name: str, tmp_path: Path, consul_program: str) -> None:
    """It serves again by itself, or never stops."""
    assert SCENARIOS[name](tmp_path, consul_program, 1.0).problems == []
