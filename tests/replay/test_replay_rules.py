"""``mirrorproxy replay --rules``: bodies are matched and rewritten on their way to a socket."""

from __future__ import annotations

import gzip
import json

import pytest
from server import Target, exchange, write_capture

from mirrorproxy.cli import main

JSON = [("Host", "api.example.com"), ("Content-Type", "application/json")]


@pytest.fixture
def target():
    target = Target()
    yield target
    target.close()


@pytest.fixture
def replay(tmp_path, target, capfd):
    """Replays exchanges by rules; returns the status and the ledger."""

    def run(captured, rules, *options):
        path = tmp_path / "rules.yaml"
        targets = f"targets: {{t: {{url: '{target.url}', limits: {{concurrency: 1}}}}}}"
        path.write_text(f"version: 1\n{targets}\n{rules}")
        capture = write_capture(tmp_path / "capture", captured)
        status = main(["replay", "--json", "--rules", str(path), *options, str(capture)])
        return status, json.loads(capfd.readouterr().out)

    return run


def apart(folder, number, body):
    """A captured order whose body lies in an object of its own."""
    ref = f"bodies/2023/11/14/22/{number:032x}"
    path = folder / "capture" / ref
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    one = exchange(number, "POST", "/orders", JSON)
    one.request.body_ref, one.request.body_bytes = ref, len(body)
    return one


def test_bodies_are_matched_and_rewritten(tmp_path, target, replay):
    """In the record, compressed, or in an object of their own; Content-Length follows."""
    packed = exchange(
        2, "POST", "/orders", [*JSON, ("Content-Encoding", "gzip")], gzip.compress(b'{"email":"c"}')
    )
    captured = [
        exchange(0, "POST", "/orders", JSON, b'{"email":"a","n":1.10}'),
        exchange(1, "POST", "/orders", JSON, b'{"email":"b","test":true}'),
        packed,
        apart(tmp_path, 3, b'{"email":"d","n":1}'),
        apart(tmp_path, 4, b'{"email":"e","test":true}'),
        exchange(5, "POST", "/orders", JSON, b"no JSON"),
        apart(tmp_path, 6, b"no JSON either"),
    ]
    status, ledger = replay(
        captured,
        "rules:\n"
        "- {name: tests, match: {json: {$.test: 'true'}}, skip: true}\n"
        "- {name: rest, send: {}, rewrite: {json: {path: $.email, set: x}}}\n",
        "--speed", "max",
    )  # fmt: skip
    bodies = [request.body for request in target.requests]
    assert sorted(body for body in bodies if body.startswith(b"{")) == [
        b'{"email":"x","n":1.10}',
        b'{"email":"x","n":1}',
    ]
    assert [gzip.decompress(body) for body in bodies if not body.startswith(b"{")] == [
        b'{"email":"x"}'
    ]
    assert ledger["skipped"] == {"rule": 2, "body not JSON": 1}
    assert ledger["shed"] == {"body not JSON": 1}
    assert (ledger["balanced"], status) == (True, 0)


def test_what_exceeds_a_rules_rate_is_shed(target, replay):
    """It stands in the ledger, which balances."""
    status, ledger = replay(
        [exchange(n) for n in range(40)],
        "rules: [{name: few, send: {rate: 10}}]\n",
        "--speed", "1",
    )  # fmt: skip
    assert ledger["answered"] == len(target.requests) == 10
    assert ledger["shed"] == {"rule rate": 30}
    assert (ledger["balanced"], status) == (True, 0)


def test_a_scheme_that_leads_to_production_is_refused(tmp_path, target, capfd):
    """Whatever the target's own scheme."""
    one = exchange(0, "GET", "/", [("Host", f"127.0.0.1:{target.port}")])
    one.scheme = "http"
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        f"version: 1\ntargets: {{t: {{url: 'https://127.0.0.1:{target.port}'}}}}\n"
        "rules: [{name: r, send: {}, rewrite: {scheme: http}}]\n"
    )
    capture = write_capture(tmp_path / "capture", [one])
    assert main(["replay", "--rules", str(rules), str(capture)]) == 2
    assert "where this traffic was captured" in capfd.readouterr().err
    assert target.requests == []
