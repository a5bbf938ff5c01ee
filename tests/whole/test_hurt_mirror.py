"""Two of behind_traefik.py's faults in their short form; `make behind-traefik` has all of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from behind_traefik import render
from chaos_faults import SCENARIOS
from chaos_ground import Figures
from chaos_net import CUTS


@pytest.mark.parametrize("name", ["kill-inline", "update-inline"])
def test_production_is_kept(name: str, tmp_path: Path, consul_program: str) -> None:
    """It serves again by itself, or never stops."""
    assert SCENARIOS[name](tmp_path, consul_program, 1.0).problems == []


def test_the_page_shows_every_fault_and_none_that_is_not_as_promised(repository: Path) -> None:
    """The figures of docs/behind-traefik.md are those of the JSON beside it."""
    rows = [
        Figures(**one) for one in json.loads((repository / "docs/behind-traefik.json").read_text())
    ]
    assert len(rows) == len(SCENARIOS) + len(CUTS)
    assert [problem for one in rows for problem in one.problems] == []
    assert render(rows) in (repository / "docs/behind-traefik.md").read_text()
