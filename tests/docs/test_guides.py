"""docs/guides: each rule file does what its guide says, against a target on a socket."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pages import ROOT, links
from support.commands import Application, serving

from mirrorproxy.cli import main
from mirrorproxy.codec import encode_line
from mirrorproxy.record import Exchange, Request, Response

T0_US = 1_700_000_000_000_000
GUIDES = ("one-percent-forever", "double-load", "production")
USERS, MANY_USERS = 200, 1000


@pytest.fixture
def target():
    target = Application()
    with serving(target):
        yield target


def write_capture(path: Path, users: int) -> Path:
    """Some users who each read, write, and are asked for their health."""
    lines = []
    for number in range(users * 3):
        user, step = divmod(number, 3)
        method, url = (("GET", "/orders"), ("POST", "/orders"), ("GET", "/health"))[step]
        lines.append(
            encode_line(
                Exchange(
                    v=1, id=f"{number:032x}", service="orders", via="inline", node="n/0",
                    started_us=T0_US + number * 1000, duration_us=100,
                    client=f"203.0.{user // 200}.{user % 200}", scheme="https",
                    upstream="http://10.0.3.7:8080",
                    request=Request(method, url, "1.1", [("Host", "api.example.com")]),
                    response=Response(200),
                )
            )
        )  # fmt: skip
    path.write_bytes(b"".join(lines))
    return path


def replay(name, tmp_path, target, capfd, *options: str, users: int = USERS) -> tuple[int, dict]:
    """Replay by the rule file of a guide, without the minutes of its ramp."""
    text = (ROOT / f"examples/rules/{name}.yaml").read_text()
    rules = tmp_path / "rules.yaml"
    rules.write_text(re.sub(r"ramp: \w+", "ramp: 0s", text))
    capture = write_capture(tmp_path / "capture.ndjson", users)
    status = main(
        ["replay", str(capture), "--rules", str(rules), "--target", target.url, "--json", *options]
    )
    return status, json.loads(capfd.readouterr().out)


@pytest.fixture(autouse=True)
def tokens(monkeypatch):
    for name in ("STAGING_TOKEN", "PRODUCTION_TEST_TOKEN"):
        monkeypatch.setenv(name, "a token")


@pytest.mark.parametrize("name", GUIDES)
def test_every_guide_shows_its_rule_file(name):
    """And every rule file of a guide is the one that is run here."""
    assert f"../../examples/rules/{name}.yaml" in links(ROOT / f"docs/guides/{name}.md")


def test_one_percent_is_whole_users(tmp_path, target, capfd):
    """The same ones each time, with all that they did but for their health."""
    options = ("--speed", "max")
    status, ledger = replay(
        "one-percent-forever", tmp_path, target, capfd, *options, users=MANY_USERS
    )
    assert (status, ledger["balanced"]) == (0, True)
    requests = target.requests
    assert 2 <= len(requests) <= 2 * 25
    assert sum(one.method == "GET" for one in requests) * 2 == len(requests)
    assert ledger["skipped"]["rule"] == MANY_USERS


def test_double_load_is_everything_twice(tmp_path, target, capfd):
    """Every read and every write, as two users."""
    options = ("--speed", "max", "--concurrency", "8")
    status, ledger = replay("double-load", tmp_path, target, capfd, *options)
    assert (status, ledger["answered"]) == (0, USERS * 2 * 2)
    assert sum(one.method == "POST" for one in target.requests) == USERS * 2


def test_production_gets_reads_alone(tmp_path, target, capfd):
    """Of half of the users, and not more than half a thousand a second."""
    options = ("--max-shots", "100")
    status, ledger = replay("production", tmp_path, target, capfd, *options, users=MANY_USERS)
    assert (status, ledger["balanced"]) == (0, True)
    # Fewer only if this machine is so busy that its back-off sets in.
    assert 0 < ledger["answered"] <= 100
    assert {one.method for one in target.requests} == {"GET"}
    assert ledger["skipped"]["unsafe method"] > 0
    agents = {one.header("User-Agent") or "" for one in target.requests}
    assert all(agent.startswith("mirrorproxy/") for agent in agents)
