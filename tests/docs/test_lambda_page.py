"""docs/lambda.md: every variable, metric and limit that the functions have, and no other."""

from __future__ import annotations

import re

from pages import ROOT

from mirrorproxy.lambdas.chunk import MAX_EVENT_BYTES
from mirrorproxy.lambdas.send_function import MAX_HOPS
from mirrorproxy.lambdas.settings import (
    DEFAULT_CHUNK_SHOTS,
    DEFAULT_NAMESPACE,
    DEFAULT_RULES,
    DEFAULT_SEED,
    DEFAULT_SENDERS,
    MAX_CHUNK_SHOTS,
)
from mirrorproxy.lambdas.split_function import LEAD_US

PAGE = (ROOT / "docs/lambda.md").read_text()
PARTS = ROOT / "mirrorproxy/lambdas"


def test_every_variable_is_documented():
    """In the table, with its default where there is one."""
    source = (PARTS / "settings.py").read_text()
    known = set(re.findall(r'(?:_text|_duration|_number)\(environ, "([A-Z_]+)"', source))
    rows = dict(re.findall(r"^\| `MIRRORPROXY_([A-Z_]+)` \|.*\|([^|]*)\|$", PAGE, re.MULTILINE))
    assert set(rows) == known | {"SEAL_KEY"}
    assert {name: text.strip("` ") for name, text in rows.items() if text.startswith(" `")} == {
        "RULES": DEFAULT_RULES,
        "SPREAD": "even",
        "MAX_CHUNK_SHOTS": str(DEFAULT_CHUNK_SHOTS),
        "MAX_SENDERS": str(DEFAULT_SENDERS),
        "SEED": DEFAULT_SEED,
        "NAMESPACE": DEFAULT_NAMESPACE,
    } | {"RUN": "split`'s name and the hour of the object"}


def test_every_metric_is_documented():
    """By its name, in a table."""
    source = "".join((PARTS / f"{name}_ledger.py").read_text() for name in ("split", "send"))
    metrics = set(re.findall(r'^ +"([A-Z][A-Za-z]+)": ', source, re.MULTILINE))
    section = PAGE.partition("## What is logged")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|", section, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([A-Za-z]+)`", row)} == metrics


def test_the_limits_of_the_page_are_those_of_the_code():
    """Numbers in prose are easily left behind."""
    assert f"{MAX_EVENT_BYTES:,} bytes" in PAGE
    assert f"up to {MAX_CHUNK_SHOTS}" in PAGE
    assert (MAX_HOPS, LEAD_US) == (6, 5_000_000)
    assert PAGE.count("six times at most") == 2
    assert "five seconds before its first shot" in PAGE.replace("\n", " ")
