"""docs/control.md and the ledger's table are what the programs say."""

from __future__ import annotations

import json
import re

from pages import ROOT, blocks
from support.live_fakes import NOW_US, FakeKnob, FakePercents, capture_controls, replay_controls

from mirrorproxy.control.kv_words import (
    KV_CAPTURE_WORDS,
    KV_REPLAY_WORDS,
    capture_prefix,
    replay_prefix,
)
from mirrorproxy.control.words import CAPTURE_WORDS, REPLAY_WORDS, read_json
from mirrorproxy.replay.ledger import Ledger

PAGE = ROOT / "docs/control.md"


def test_every_word_is_documented():
    """And no other."""
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.M))
    assert rows == {*CAPTURE_WORDS, *REPLAY_WORDS} - {"service"}


def test_every_key_in_consul_is_documented():
    """As it is followed."""
    rows = re.findall(r"^\| `(mirrorproxy/\S+)` \|", PAGE.read_text(), re.M)
    assert rows == [
        *(capture_prefix("<name>") + word for word in KV_CAPTURE_WORDS),
        *(replay_prefix("<name>", "<run>") + word for word in KV_REPLAY_WORDS),
    ]


def test_every_body_of_the_page_is_taken():
    """By a capture or a replay."""
    bodies = re.findall(r"`(\{.+?\})`", PAGE.read_text())
    assert len(bodies) == 4
    for body in bodies:
        words = REPLAY_WORDS if "state" in body or "rate" in body else CAPTURE_WORDS
        values = read_json(body.encode(), words)
        if words is REPLAY_WORDS:
            replay_controls(FakeKnob(), []).change(values, "a test")
        else:
            capture_controls(FakePercents(), []).change(values, "a test")


def test_the_answer_of_the_page_is_the_answer():
    """Its keys, in their order."""
    (shown,) = (json.loads(block.text) for block in blocks(PAGE) if block.language == "json")
    controls = replay_controls(FakeKnob(), [])
    controls.change({"rate_percent": 50.0}, "admin API from 127.0.0.1")
    current = controls.current()
    (change,) = current["changes"]
    assert list(shown) == list(current)
    assert (shown["rate_percent"], shown["state"]) == (50.0, "run")
    assert shown["changes"] == [{"at_us": NOW_US + 123_456, "by": change.by, "set": change.set}]


def test_every_key_of_the_ledger_is_documented():
    """In the order in which it is printed."""
    page = (ROOT / "docs/operations.md").read_text()
    table = page.partition("What `replay --json`")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(Ledger().to_json())
