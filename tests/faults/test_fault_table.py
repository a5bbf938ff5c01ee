"""The table of the fault suite, and the judge's sum."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_accounts import Accounts, ledger_gaps
from fault_table import BEGIN, END, render, write_page

ROW = Accounts(
    "full disk", "one", load=1200, failed=5, excused=4, captured=1190, dropped=5, unaccounted=0
).to_json()


def test_a_row_shows_what_has_no_cause() -> None:
    """Failures that the fault explains are subtracted, numbers have separators."""
    header, rule, row = render([ROW]).splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")][:5] == [
        "fault",
        "injected",
        "requests",
        "failed",
        "of them without cause",
    ]
    assert set(rule) == {"|", "-"}
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:7] == ["full disk", "one", "1,200", "5", "1", "1,190", "5"]


def test_only_the_figures_of_a_page_are_replaced(tmp_path: Path) -> None:
    """What stands around them stays, however often they are written."""
    page = tmp_path / "faults.md"
    page.write_text(f"# Faults\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    write_page(page, [ROW])
    once = page.read_text()
    write_page(page, [ROW])
    assert page.read_text() == once
    assert once.startswith(f"# Faults\n\n{BEGIN}\n")
    assert once.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in once
    assert "| full disk |" in once


def test_a_page_without_a_place_for_figures_is_left_alone(tmp_path: Path) -> None:
    """Nothing is appended somewhere."""
    page = tmp_path / "faults.md"
    page.write_text("# Faults\n")
    with pytest.raises(ValueError, match="no place for figures"):
        write_page(page, [ROW])
    assert page.read_text() == "# Faults\n"


@pytest.mark.parametrize(
    ("changed", "gaps"),
    [
        pytest.param({}, 0, id="balanced"),
        pytest.param({"seen": 21}, 1, id="a request without a fate"),
        pytest.param({"shipped": 6}, 2, id="records that nobody has"),
        pytest.param({"lost": 5}, 2, id="requests with two fates"),
    ],
)
def test_gaps_of_a_ledger(changed: dict[str, int], gaps: int) -> None:
    """Both of capture's sums are checked."""
    ledger = {
        "seen": 20, "captured": 10, "filtered": {"path": 2}, "sampled": 1,
        "dropped": {"disk": 3, "spool full": 1}, "lost": 3,
        "shipped": 8, "waiting": 1, "quarantined": 1, "discarded": 0,
    }  # fmt: skip
    assert ledger_gaps({**ledger, **changed}) == gaps
