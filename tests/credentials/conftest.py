"""A token endpoint, a target, and the command between them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "replay"))

from server import Target, write_capture
from token_endpoint import TokenEndpoint

from mirrorproxy.cli import main


@pytest.fixture
def endpoint():
    endpoint = TokenEndpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def target():
    target = Target()
    yield target
    target.close()


@pytest.fixture
def replay(tmp_path, target, capfd):
    """Replay exchanges by an `auth` in YAML; return the status, the ledger and what was said."""

    def run(exchanges, auth: str, *arguments: object, speed: object = "max"):
        capture = write_capture(tmp_path / "capture", exchanges)
        rules = tmp_path / "rules.yaml"
        rules.write_text(
            f"version: 1\ntargets: {{t: {{url: '{target.url}', auth: {auth}}}}}\n"
            "rules: [{name: all, send: {}}]\n"
        )
        options = ["--speed", str(speed), "--json", "--concurrency", "1"]
        status = main(
            ["replay", str(capture), "--rules", str(rules), *options, *map(str, arguments)]
        )
        out, err = capfd.readouterr()
        return status, json.loads(out) if out else {}, err

    return run
