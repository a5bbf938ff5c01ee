"""Options of the fault suite, and the table that it prints and writes.

Without ``--all-faults`` only the short selection runs, which belongs to `make test`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_accounts import Accounts
from fault_table import render, write_page

FIGURES = pytest.StashKey[list[Accounts]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-faults", action="store_true", help="the long faults as well")
    parser.addoption("--faults-page", type=Path, help="write the table into this page, and JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault: long; only with --all-faults (make faults)")
    config.stash[FIGURES] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all-faults", default=False):
        # What has a long form need not run in the short one as well.
        left_out = [item for item in items if item.name.endswith("[short]")]
    else:
        left_out = [item for item in items if item.get_closest_marker("fault")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[Accounts], None]:
    """A function that adds a line to the table, and fails if it is not in order."""

    def add(accounts: Accounts) -> None:
        request.config.stash[FIGURES].append(accounts)
        assert accounts.problems == []
        assert accounts.unaccounted == 0

    return add


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = [accounts.to_json() for accounts in config.stash.get(FIGURES, [])]
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(render(rows))
    page = config.getoption("--faults-page", default=None)
    if page:
        page.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
        write_page(page, rows)
