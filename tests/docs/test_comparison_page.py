"""The page about the comparison says what the program does."""

from __future__ import annotations

import re

from pages import ROOT

from mirrorproxy.report import structure
from mirrorproxy.report.findings_text import comparison_json
from mirrorproxy.report.groups import Groups
from mirrorproxy.report.head_diff import FORMS

TEXT = (ROOT / "docs/comparison.md").read_text()
ROWS = re.findall(r"^\| (`[^|]+) \|", TEXT, re.MULTILINE)
NAMES = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row)}


def test_every_header_that_is_compared_is_listed():
    """And the test of the output's example is with the other findings."""
    assert set(FORMS) <= NAMES


def test_every_key_of_the_json_is_listed():
    """In a table."""
    assert set(comparison_json(Groups())) <= NAMES


def test_every_way_to_differ_is_listed():
    """In the words that are printed in outcomes."""
    kinds = {"changed", "missing", "added", "type changed", "length changed", "order changed"}
    assert kinds <= NAMES
    assert kinds == {
        structure.CHANGED, structure.MISSING, structure.ADDED, structure.TYPE, structure.LENGTH,
        structure.ORDER,
    }  # fmt: skip


def test_the_example_is_the_one_that_a_test_prints():
    """tests/report/test_findings.py builds it."""
    test = (ROOT / "tests/report/test_findings.py").read_text()
    joined = re.sub(r'"\n\s+"', "", test)
    (block,) = re.findall(r"```\n(compared .*?)```", TEXT, re.DOTALL)
    for line in block.splitlines():
        assert f'"{line}"' in joined
