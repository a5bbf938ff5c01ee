"""No page leads nowhere, and every page can be reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import ROOT, anchors, links, pages

PAGES = pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    """Files exist, and so do the headings that links name."""
    broken = []
    for link in links(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        goal = (page.parent / name).resolve() if name else page
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(link)
    assert broken == []


def test_every_page_of_docs_can_be_reached_from_its_index():
    """A page that nothing links to is not found."""
    for index in (ROOT / "docs/README.md", ROOT / "docs/decisions/README.md"):
        linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
        missing = [page.name for page in index.parent.glob("*.md") if page.resolve() not in linked]
        assert [name for name in missing if name != index.name] == [], index
