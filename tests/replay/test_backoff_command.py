"""Back-off in the command: what a user sees of it, with a target on a socket."""

from __future__ import annotations

import json

import pytest
from server import T0, Target, exchange, write_capture

from mirrorproxy.cli import main

RULES = """\
version: 1
defaults: {unmatched: send}
targets: {staging: {url: URL, backoff: {errors: 5%}}}
"""


@pytest.fixture
def busy():
    target = Target(
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"
    )
    yield target
    target.close()


def test_a_busy_target_is_left_alone_for_as_long_as_it_asks(tmp_path, busy, capfd):
    """A line on standard error, an event in the ledger, the rest of the shots shed; status 0."""
    captured = [
        exchange(n, started_us=T0 + n * 10_000, client=f"198.51.100.{n % 100}") for n in range(300)
    ]
    (tmp_path / "rules.yaml").write_text(RULES.replace("URL", busy.url))
    capture = write_capture(tmp_path / "capture", captured)
    out = tmp_path / "out"
    arguments = ("--rules", tmp_path / "rules.yaml", "--json", "--out", out)
    status = main(["replay", str(capture), *map(str, arguments)])
    printed, err = capfd.readouterr()
    ledger = json.loads(printed)
    assert status == 0
    assert ledger["balanced"]
    assert ledger["shed"]["backoff"] > 100
    assert ledger["answered"] == len(busy.requests) == ledger["status"]["5xx"] < 200
    (event,) = ledger["events"]
    assert (event["target"], event["percent"]) == ("staging", 0.0)
    assert event["reason"] == "errors 100% over 5%; Retry-After 30s; paused for 30s"
    assert err == f"back-off: target staging is sent 0%: {event['reason']}\n"
    shed = [
        line["shed"]
        for line in map(json.loads, (out / "outcomes.jsonl").read_text().splitlines())
        if "shed" in line
    ]
    assert shed == ["backoff"] * ledger["shed"]["backoff"]


def test_budgets_are_options_too(tmp_path, capfd):
    """They take the place of the file's."""
    target = Target()
    try:
        capture = write_capture(
            tmp_path, [exchange(n, started_us=T0 + n * 100_000) for n in range(600)]
        )
        arguments = [str(capture), "--target", target.url, "--json"]
        assert main(["replay", *arguments, "--max-duration", "500ms"]) == 0
        ledger = json.loads(capfd.readouterr().out)
        assert 0 < ledger["answered"] < 60
        assert ledger["unsent"] > 0
        assert main(["replay", *arguments, "--max-shots", "3"]) == 0
        assert json.loads(capfd.readouterr().out)["answered"] == 3
    finally:
        target.close()


@pytest.mark.parametrize(
    ("option", "value"), [("--max-shots", "0"), ("--max-shots", "few"), ("--max-duration", "0")]
)
def test_a_budget_that_is_none_is_a_mistake(tmp_path, capfd, option, value):
    """It names the option."""
    capture = write_capture(tmp_path, [exchange(0)])
    assert main(["replay", str(capture), "--target", "http://h", option, value]) == 2
    assert capfd.readouterr().err.startswith(f"mirrorproxy: {option}: expected ")
