"""docs/access-logs.md: its rules are rules, its log settings are those of the ready file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pages import ROOT, blocks

from mirrorproxy.rules.load import rules_of
from mirrorproxy.yamlfile import load

TEXTS = [block.text for block in blocks(ROOT / "docs/access-logs.md") if block.language == "yaml"]
RULES = [text for text in TEXTS if text.startswith("version:")]


@pytest.mark.parametrize("text", RULES)
def test_every_rule_file_is_a_good_one(text):
    """What is shown can be copied."""
    rules = rules_of(load(text, name="example"), Path(), {})
    assert list(rules.targets) == ["staging"]


def test_the_rules_say_what_the_page_says():
    """The first sends without bodies, the second what a log holds in the clear."""
    first, second = (rules_of(load(text, name="example"), Path(), {}) for text in RULES)
    assert first.names == ["searches work without their body", "everything else"]
    assert (first.sends_logged_credentials, second.sends_logged_credentials) == (False, True)


def test_the_log_settings_are_the_ready_ones():
    """The page shows a part of the file that a test runs with Traefik."""
    (shown,) = (yaml.safe_load(text) for text in TEXTS if text not in RULES)
    ready = yaml.safe_load((ROOT / "traefik/access-log.yaml").read_text())
    names = shown["accessLog"]["fields"]["headers"].pop("names")
    assert names.items() <= ready["accessLog"]["fields"]["headers"].pop("names").items()
    assert shown == ready
