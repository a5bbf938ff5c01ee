"""Access logs in the commands that read captures: secrets stay sealed, formats are told."""

from __future__ import annotations

import json

import pytest
from support.access_lines import line
from support.commands import Application, run, serving

SECRET = "s3cr3t-t0ken"
IN_THE_CLEAR = {
    "RequestPath": f"/orders?access_token={SECRET}",
    "request_Authorization": f"Bearer {SECRET}",
    "request_Cookie": f"sid=also-{SECRET}",
}
COMMON = '203.0.113.7 - - [14/Nov/2023:22:13:20 +0000] "GET / HTTP/1.1" 200 1 "-" "-" 1\n'


@pytest.fixture
def folder(tmp_path):
    """A log with one line whose credentials stand in the clear, and rules for it."""
    (tmp_path / "access.log").write_bytes(line(**IN_THE_CLEAR) + b"\n")
    return tmp_path


def rules(folder, url: str, **more: object) -> str:
    rules = {
        "version": 1,
        "defaults": {"unmatched": "send", **more},
        "targets": {"staging": {"url": url}},
    }
    (folder / "rules.yaml").write_text(json.dumps(rules))
    return "rules.yaml"


@pytest.mark.parametrize("how", [[], ["--json"], ["--id", "0"]])
def test_inspect_shows_no_secret_of_a_log(folder, how):
    """What the log holds in the clear is sealed before it is shown."""
    done = run(["inspect", "access.log", *how], folder)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Authorization" in done.stdout


def test_a_credential_in_the_clear_is_not_sent(folder):
    """It is production's: a log is no leave to use it somewhere else."""
    staging = Application()
    with serving(staging):
        done = run(["replay", "access.log", "--target", staging.url, "--json"], folder)
    assert (done.returncode, json.loads(done.stdout)["skipped"]) == (3, {"no credential": 1})
    assert staging.requests == []


def test_a_credential_in_the_clear_is_replaced_like_a_sealed_one(folder):
    """Header and query alike; cookies are taken out and counted."""
    staging = Application()
    with serving(staging):
        done = run(
            ["replay", "access.log", "--target", staging.url, "--auth-env", "TOKEN"],
            folder,
            {"TOKEN": "of-staging"},
        )
    assert done.returncode == 0, done.stderr
    (got,) = staging.requests
    assert got.header("Authorization") == "Bearer of-staging"
    assert (got.target, got.header("Cookie")) == ("/orders?access_token=of-staging", None)
    assert "1 taken out" in done.stdout


def test_a_credential_in_the_clear_is_sent_if_the_rules_say_so(folder):
    """For a target that shares production's accounts."""
    staging = Application()
    with serving(staging):
        name = rules(folder, staging.url, logged_credentials="send")
        done = run(["replay", "access.log", "--rules", name], folder)
        shown = run(["check", name, "access.log"], folder)
    assert done.returncode == 0, done.stderr
    (got,) = staging.requests
    assert (got.header("Authorization"), got.header("Cookie")) == (
        f"Bearer {SECRET}",
        f"sid=also-{SECRET}",
    )
    assert got.target == f"/orders?access_token={SECRET}"
    assert "no rule -> staging GET" in shown.stdout
    assert SECRET not in shown.stdout + done.stdout


def test_a_sealed_export_of_a_log_is_read_as_a_capture(folder):
    """What `inspect --json` printed is sealed once, and not again."""
    exported = run(["inspect", "access.log", "--json"], folder).stdout
    (folder / "exported.jsonl").write_text(exported)
    assert run(["inspect", "exported.jsonl", "--json"], folder).stdout == exported


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["replay", "mixed.log", "--target", "http://127.0.0.1:9"], id="replay"),
        pytest.param(["inspect", "mixed.log"], id="inspect"),
        pytest.param(["inspect", "mixed.log", "--json"], id="inspect, lines"),
        pytest.param(["check", "rules.yaml", "mixed.log"], id="check"),
    ],
)
def test_the_common_log_format_is_told_once(folder, command):
    """One clear line, however many there are; the others are read."""
    rules(folder, "http://127.0.0.1:9")
    (folder / "mixed.log").write_text(COMMON * 50)
    done = run(command, folder)
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("set accessLog.format: json") == 1
