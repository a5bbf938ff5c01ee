"""What was imported is replayed, inspected and checked like a capture."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from exported_samples import as_gor, exchange, read, request
from raw_peer import RawPeer, listening
from test_har_files import ENTRY, entry, har

from mirrorproxy import cli
from mirrorproxy.codec import body_of

PRODUCTION_TOKEN, STAGING_TOKEN = "production-4711", "staging-0815"


@pytest.fixture
def peer():
    with listening() as one:
        yield one


@pytest.fixture
def files(tmp_path):
    """A browser's document and a file of GoReplay's, both with a token of production's."""
    lines = [("Host", "shop.example"), ("Authorization", f"Bearer {PRODUCTION_TOKEN}")]
    login = request("POST", "/gor", [*lines, ("Content-Type", "text/plain")], b"a\x00\xff")
    (tmp_path / "x.gor").write_bytes(as_gor(exchange(1, login)))
    listed = [{"name": name, "value": value} for name, value in lines]
    document = har(entry(request__headers=listed, request__url="https://shop.example/har"))
    (tmp_path / "x.har").write_bytes(document)
    return tmp_path


def replay(peer: RawPeer, *words: object) -> tuple[int, dict[str, tuple[str | None, bytes]]]:
    """Replay as fast as may be; return the status, and by path the token and body that came."""
    url = f"http://{peer.authority}"
    status = cli.main(["replay", *map(str, words), "--target", url, "--speed", "max", "--json"])
    came = {}
    for got in peer.got:
        headers = {name.decode().lower(): value.decode() for name, value in got.headers}
        came[got.line.split()[1].decode()] = (headers.get("authorization"), got.body)
    return status, came


def test_both_are_sent_with_the_target_s_token(peer, files, monkeypatch, capsys):
    """From one directory; bodies byte for byte; production's token goes nowhere."""
    monkeypatch.setenv("STAGING_TOKEN", STAGING_TOKEN)
    status, came = replay(peer, files, "--auth-env", "STAGING_TOKEN", "--out", files / "out")
    assert status == 0
    assert came == {
        "/gor": (f"Bearer {STAGING_TOKEN}", b"a\x00\xff"),
        "/har": (f"Bearer {STAGING_TOKEN}", b'{"n":1}'),
    }
    assert json.loads(capsys.readouterr().out)["read"] == 2
    outcomes = [json.loads(one) for one in (files / "out/outcomes.jsonl").read_text().splitlines()]
    assert {one["id"] for one in outcomes} >= {f"{1:032x}"}


def test_without_another_token_they_are_skipped(peer, files, capsys):
    """As sealed requests of a capture are."""
    status, came = replay(peer, files / "x.har", files / "x.gor")
    assert (status, came) == (3, {})
    skipped = json.loads(capsys.readouterr().out)["skipped"]
    assert skipped == {"no credential": 2}


def test_a_rule_may_send_what_the_file_holds_in_the_clear(peer, files, tmp_path):
    """For a target that shares its accounts with production."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "version: 1\ndefaults: {unmatched: send, logged_credentials: send}\n"
        "targets: {staging: {url: 'http://staging.example'}}\n"
    )
    status, came = replay(peer, files / "x.har", files / "x.gor", "--rules", rules)
    assert status == 0
    assert {token for token, _ in came.values()} == {f"Bearer {PRODUCTION_TOKEN}"}


def test_production_is_refused_by_what_the_file_names(files, capsys):
    """The host of a HAR's URL, and the server that its browser spoke to."""
    for url in ("https://shop.example", "https://[2001:db8::1]"):
        assert cli.main(["replay", str(files / "x.har"), "--target", url, "--speed", "max"]) == 2
        assert "production" in capsys.readouterr().err


def test_rules_match_what_was_imported(files, capsys):
    """By `via`, service and path; nothing in the clear is printed."""
    rules = files.parent / "rules.yaml"
    rules.write_text(
        "version: 1\ntargets: {staging: {url: 'http://staging.example', auth: none}}\n"
        "rules: [{name: browsers, match: {via: har, service: shop.example}, send: {}}]\n"
    )
    assert cli.main(["check", str(rules), str(files)]) == 0
    out = capsys.readouterr().out
    assert "browsers: 1 shot\n" in out
    assert PRODUCTION_TOKEN not in out
    assert cli.main(["inspect", str(files), "--via", "gor"]) == 0
    assert "/gor" in capsys.readouterr().out


def test_a_body_that_the_har_lacks_is_not_sent_as_an_empty_one(peer, tmp_path, capsys):
    """It is counted as one that a log has not kept."""
    source = tmp_path / "x.har"
    source.write_bytes(har(entry(request__postData=None)))
    status, came = replay(peer, source)
    assert (status, came) == (3, {})
    skipped = json.loads(capsys.readouterr().out)["skipped"]
    assert skipped == {"no body in log": 1}


def test_the_same_file_twice_counts_once(peer, tmp_path, capsys):
    """An entry has the same id wherever it stands."""
    for name in ("a.har", "b.har"):
        (tmp_path / name).write_bytes(har(ENTRY))
    status, came = replay(peer, tmp_path)
    assert (status, len(came)) == (0, 1)
    assert json.loads(capsys.readouterr().out)["duplicates"] == 1


def test_standard_input_is_read_like_a_file():
    """What it holds is told by its bytes; it comes as it is written."""
    command = [sys.executable, "-m", "mirrorproxy", "export", "-", "--format", "gor"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        for byte in har(ENTRY)[:40]:
            process.stdin.write(bytes([byte]))
            process.stdin.flush()
        out, _ = process.communicate(har(ENTRY)[40:], timeout=60)
    (found,) = read(out)
    assert body_of(found.request) == b'{"n":1}'
