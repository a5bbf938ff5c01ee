"""The file of outcomes: whole lines, and a disk that fails never stops the replay."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mirrorproxy.outcome import Outcome, Production
from mirrorproxy.replay.outcomes import OutcomeFile


def outcome(number: int) -> Outcome:
    return Outcome(f"{number:032x}", 0, "staging", 5, Production(7, 200), status=503, latency_us=9)


def test_every_outcome_is_a_line(tmp_path):
    """In the order in which they came, however many; an older file is replaced."""
    path = tmp_path / "outcomes.jsonl"
    path.write_text("older\n")
    file = OutcomeFile(path)
    for number in range(5000):
        file.add(outcome(number))
    file.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 5000
    assert json.loads(lines[4999]) == {
        "id": f"{4999:032x}", "copy": 0, "target": "staging", "due_us": 5, "status": 503,
        "latency_us": 9, "production": {"duration_us": 7, "status": 200},
    }  # fmt: skip
    assert file.error is None


def test_a_full_disk_is_told_at_the_end():
    """Writing stops, taking outcomes does not."""
    file = OutcomeFile(Path("/dev/full"))
    for number in range(50_000):
        file.add(outcome(number))
    file.close()
    assert file.error is not None
    assert file.error.strerror == "No space left on device"


def test_a_file_that_cannot_be_made_is_an_error_at_once(tmp_path):
    """Before anything is sent."""
    with pytest.raises(OSError, match="No such file"):
        OutcomeFile(tmp_path / "missing" / "outcomes.jsonl")


def test_outcomes_are_on_disk_while_others_are_awaited(tmp_path):
    """Of a replay that is killed, what it sent can be counted."""
    path = tmp_path / "outcomes.jsonl"
    file = OutcomeFile(path)
    file.add(outcome(1))
    deadline = time.monotonic() + 60
    while not path.read_bytes().endswith(b"\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    file.close()
    assert path.read_text().count("\n") == 1
