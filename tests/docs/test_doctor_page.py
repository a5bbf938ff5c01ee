"""docs/doctor.md names every option of the command, and operations.md every key of a report."""

from __future__ import annotations

import argparse
import re
from typing import get_args

import msgspec
from pages import ROOT

from mirrorproxy.commands import doctor
from mirrorproxy.doctor.cloud import QUEUE_ACTIONS
from mirrorproxy.doctor.finding import Level
from mirrorproxy.report.repeats import Once

PAGE = (ROOT / "docs/doctor.md").read_text()


def test_every_option_is_documented():
    """Those of `--help`."""
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    (subparsers,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    options = {
        option
        for action in subparsers.choices["doctor"]._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    # As for capture; docs/consul.md and docs/traefik.md say what they are.
    elsewhere = {"--consul-token-file", "--default-rule"}
    assert options - elsewhere <= set(re.findall(r"--[a-z-]+", PAGE))


def test_every_level_is_documented():
    """And no other."""
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) == set(get_args(Level))


def test_every_permission_of_a_queue_is_documented():
    """As it is asked for."""
    assert {f"sqs:{action}" for action in QUEUE_ACTIONS} <= set(re.findall(r"sqs:\w+", PAGE))


def test_every_key_of_a_report_is_documented():
    """What a shot's fate is counted under."""
    page = (ROOT / "docs/operations.md").read_text()
    assert {field.name for field in msgspec.structs.fields(Once)} <= set(
        re.findall(r"`(\w+)`", page.partition("### A fleet")[2].partition("## The ledgers")[0])
    )
