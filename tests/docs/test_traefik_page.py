"""docs/traefik.md and traefik/README.md name what there is."""

from __future__ import annotations

import re
import subprocess

from pages import ROOT, links

from mirrorproxy.control.asked import KEYS

PAGE = ROOT / "docs/traefik.md"


def test_every_tag_is_documented():
    """In the first column of a table, and no other is."""
    rows = re.findall(r"^\| `mirrorproxy\.([a-z.-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == list(KEYS)


def test_every_ready_configuration_is_offered():
    """The page of the folder links to each of its files."""
    folder = ROOT / "traefik"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.yaml"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert listed
    assert set(listed) - set(links(folder / "README.md")) == set()
