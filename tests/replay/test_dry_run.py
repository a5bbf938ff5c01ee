"""``mirrorproxy replay --dry-run``: everything is said, nothing is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from server import T0, Target, exchange, write_capture

from mirrorproxy.cli import main

RULES = """\
version: 1
targets:
  staging:
    url: URL/base
    limits: {rate: 20, max_shots: 150}
    ramp: 30s
    backoff: {p95: 2x, timeouts: 1%}
rules:
  - {name: no reads, match: {method: GET, path: /skip}, skip: true}
  - {name: all, send: {}}
"""


@pytest.fixture
def target():
    target = Target()
    yield target
    target.close()


def write(tmp_path: Path, target: Target) -> list[str]:
    """Ten seconds of ten a second, twice as many in one of them, and what is skipped."""
    captured = [
        exchange(n, "POST" if n % 2 else "GET", started_us=T0 + n * 100_000, body=b"abc")
        for n in range(101)
    ]
    captured += [exchange(200 + n, started_us=T0 + 5_000_001 + n) for n in range(10)]
    captured += [exchange(300, target="/skip", started_us=T0 + 1)]
    captured.sort(key=lambda one: one.started_us)
    (tmp_path / "rules.yaml").write_text(RULES.replace("URL", target.url))
    capture = write_capture(tmp_path / "capture", captured)
    return ["replay", str(capture), "--rules", str(tmp_path / "rules.yaml"), "--dry-run"]


def test_people_are_told(tmp_path, target, capfd):
    """What, how much, how fast, for how long, and when it would back off."""
    assert main(write(tmp_path, target)) == 0
    out = capfd.readouterr().out
    assert out.splitlines() == [
        "exchanges   112 read = 0 duplicates + 1 skipped + 111 selected",
        "skipped     rule 1",
        f"target      staging: {target.url}/base",
        "shots       111 (GET 61, POST 50), bodies 303B",
        "rate        11.1 a second on average, 20 in the busiest second",
        "takes       10s",
        "ramp        ever more for 30s",
        "back-off    at p95 over 2 times production's, errors over 5%, timeouts over 1%",
        "hint: 100% of the answers to writes (50 of 50) have no recorded body to learn ids from; "
        "capture with --response-body",
        "dry run     nothing was sent",
    ]
    assert target.requests == []


def test_programs_are_told(tmp_path, target, capfd):
    """The same as one JSON object; faster, it takes less and its rate is higher."""
    assert main([*write(tmp_path, target), "--json", "--speed", "10", "--max-shots", "37"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["dry_run"] == {
        "staging": {
            "url": f"{target.url}/base", "shots": 37, "methods": {"GET": 61, "POST": 50},
            "body_bytes": 303, "mean_rate": 20, "peak_rate": 20,
            "seconds": pytest.approx(37 / 20, abs=1.6),
        }
    }  # fmt: skip
    assert (shown["read"], shown["skipped"], shown["planned"]) == (112, {"rule": 1}, 111)
    assert target.requests == []


def test_at_max_speed_the_target_decides(tmp_path, target, capfd):
    """So there is no time to say, only what is on the way at once."""
    assert main([*write(tmp_path, target), "--speed", "max", "--concurrency", "8"]) == 0
    out = capfd.readouterr().out
    assert "rate        as fast as it answers, 8 at a time, at most 20 a second\n" in out
    assert "takes" not in out


def test_production_is_refused_as_it_would_be(tmp_path, target, capfd):
    """A rehearsal that says yes must not be followed by a no."""
    one = exchange(0, headers=[("Host", f"127.0.0.1:{target.port}")], scheme="http")
    capture = write_capture(tmp_path, [one])
    assert main(["replay", str(capture), "--target", target.url, "--dry-run"]) == 2
    assert "where this traffic was captured" in capfd.readouterr().err


def test_damage_and_nothing_to_send_are_told_by_the_status(tmp_path, target, capfd):
    """1 for lost input, 3 when a replay would send nothing."""
    file = tmp_path / "capture.ndjson"
    file.write_bytes(b"no record\n")
    assert main(["replay", str(file), "--target", target.url, "--dry-run"]) == 1
    assert "unreadable: " in capfd.readouterr().err
    file.write_bytes(b"")
    assert main(["replay", str(file), "--target", target.url, "--dry-run"]) == 3


def test_what_a_rule_s_rate_would_shed_is_not_sent(tmp_path, target, capfd):
    """A second's worth may come at once, the rest of ten is too much."""
    rules = tmp_path / "limited.yaml"
    rules.write_text(
        f"version: 1\ntargets: {{staging: {{url: '{target.url}'}}}}\n"
        "rules: [{name: all, send: {rate: 4}}]\n"
    )
    capture = write_capture(tmp_path / "capture", [exchange(n) for n in range(10)])
    assert main(["replay", str(capture), "--rules", str(rules), "--dry-run", "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert (shown["planned"], shown["dry_run"]["staging"]["shots"]) == (10, 4)


@pytest.mark.parametrize("words", [["--follow", "."], ["--delay", "5m", "sqs://captures"]])
def test_what_has_no_end_cannot_be_told_beforehand(words, capfd):
    """And of a queue nothing must be taken that is not sent."""
    argv = ["replay", "--target", "http://127.0.0.1:1", "--dry-run", *words]
    assert main(argv) == 2
    assert "--dry-run: " in capfd.readouterr().err
