"""The README's first capture and replay, run as they stand there (addresses aside)."""

from __future__ import annotations

import http.client
import json
import shlex

import pytest
from pages import ROOT, blocks, commands
from support.commands import Application, capturing, free_port, run, serving

PRODUCTION_TOKEN = "production-token-4711"
STAGING_TOKEN = "staging-token-0815"


@pytest.fixture
def applications():
    """Production and staging."""
    production, staging = Application(), Application()
    with serving(production, staging):
        yield production, staging


def readme_commands(replacements: dict[str, str]) -> dict[str, list[str]]:
    """Return the first of the README's commands of each name, with other addresses in them."""
    found = {}
    for block in blocks(ROOT / "README.md"):
        for command in commands(block):
            words = shlex.split(command, comments=True)
            found.setdefault(words[1], [replacements.get(word, word) for word in words[1:]])
    return found


def post(port: int, path: str, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {PRODUCTION_TOKEN}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_first_steps_of_the_readme(tmp_path, applications):
    """Requests reach production, are recorded, and reach staging with staging's token."""
    production, staging = applications
    port = free_port()
    steps = readme_commands(
        {
            "127.0.0.1:8000": f"127.0.0.1:{port}",
            "http://127.0.0.1:8080": production.url,
            "https://staging.example.com": staging.url,
        }
    )
    with capturing([*steps["capture"], "--admin", "off"], tmp_path, port):
        bodies = [json.dumps({"sku": f"A-{number}"}).encode() for number in range(3)]
        assert [post(port, f"/orders?n={n}", body) for n, body in enumerate(bodies)] == [201] * 3

    inspected = run(steps["inspect"], tmp_path)
    assert (inspected.returncode, inspected.stderr) == (0, "")
    assert "/orders" in inspected.stdout

    replayed = run(steps["replay"], tmp_path, {"STAGING_TOKEN": STAGING_TOKEN})
    assert replayed.returncode == 0, replayed.stderr
    for application, token in ((production, PRODUCTION_TOKEN), (staging, STAGING_TOKEN)):
        # Nothing orders requests that are due within a millisecond and have nothing in common.
        assert sorted(
            (one.method, one.target, one.header("Authorization"), one.body)
            for one in application.requests
        ) == [("POST", f"/orders?n={n}", f"Bearer {token}", body) for n, body in enumerate(bodies)]


def test_production_is_refused_as_a_target(tmp_path, applications):
    """The first mistake that everybody makes sends nothing."""
    production, _ = applications
    port = free_port()
    replacements = {"127.0.0.1:8000": f"127.0.0.1:{port}", "http://127.0.0.1:8080": production.url}
    steps = readme_commands({**replacements, "https://staging.example.com": production.url})
    with capturing([*steps["capture"], "--admin", "off"], tmp_path, port):
        post(port, "/orders", b"{}")
    refused = run(steps["replay"], tmp_path, {"STAGING_TOKEN": STAGING_TOKEN})
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert len(production.requests) == 1
