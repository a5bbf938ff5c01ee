"""``mirrorproxy demo`` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def descendants_of(session: int) -> list[str]:
    """Return the command lines of every process of a session that still lives."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_the_demo_works_ends_and_leaves_nothing_running(tmp_path):
    """Writes made to production arrive in staging with other tokens, and it says so."""
    directory = tmp_path / "demo"
    process = subprocess.Popen(
        [sys.executable, "-m", "mirrorproxy", "demo", "--dir", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert descendants_of(process.pid) == []
    assert "70 requests were made, 66 of them repeated" in output
    assert "staging holds the 8 orders of production's users, as its own" in output
    assert "no password or token of production in any of" in output
    assert "Authorization: Bearer {h1:" in output
    assert 'alice: 10 x teapot, "50 % & ü=1"' in output
    for name in ("capture", "rules.yaml", "tokens.json", "replay/outcomes.jsonl"):
        assert (directory / name).exists()
    assert (directory / "tokens.json").stat().st_mode & 0o077 == 0


def test_a_directory_that_holds_something_is_not_used(tmp_path):
    """The demo overwrites nothing."""
    (tmp_path / "mine").write_text("mine")
    ended = subprocess.run(
        [sys.executable, "-m", "mirrorproxy", "demo", "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == f"mirrorproxy: {tmp_path}: the directory is not empty\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
