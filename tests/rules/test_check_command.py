"""``mirrorproxy check``: what it says, what it never says."""

from __future__ import annotations

import json

import pytest
from rulekit import MARK, exchange, with_bearer

from mirrorproxy import cli
from mirrorproxy.codec import encode_line

RULES = """\
version: 1
targets:
  staging:
    url: https://staging.example.com/base
    auth: [{use: {bearer: "${TOKEN}"}}]
rules:
  - {name: health, match: {path: /health}, skip: true}
  - name: orders
    match: {path: "/orders/**"}
    send: {target: staging}
    rewrite: {path: {from: ^/orders, to: /o}}
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A rule file and a capture."""
    monkeypatch.setenv("TOKEN", "s3cret")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    capture = tmp_path / "capture.jsonl"
    capture.write_bytes(
        b"".join(
            encode_line(one)
            for one in (
                exchange(target="/health", record_id="a" * 32),
                with_bearer(target=f"/orders/7?key={MARK}", record_id="b" * 32),
                exchange(target="/other\x1b[2J", record_id="c" * 32),
                exchange(headers=[("X-Api-Key", MARK)], record_id="d" * 32),
            )
        )
    )
    return rules, capture


def test_a_good_file_is_said_to_be_good(files, capsys):
    """What each rule does, and status 0."""
    assert cli.main(["check", str(files[0])]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{files[0]}: good; 1 target, 2 rules",
        "health: skip",
        "orders: send to staging; rewrite path",
    ]


def test_what_a_rule_does_is_told_in_a_line(tmp_path, capsys):
    """Share, rate, and what is rewritten; values may be secret and are not told."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "version: 1\n"
        "targets: {a: {url: 'http://a'}, b: {url: 'http://b'}}\n"
        "rules:\n"
        "- name: some\n"
        "  send: {target: [a, b], percent: 12.5, percent_by: session, rate: 40}\n"
        "  rewrite: {json: {path: $.a, set: s3cret}, headers: {set: {X-Key: s3cret}}}\n"
    )
    assert cli.main(["check", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "some: send 12.5 % by session to a, b, at most 40/s; rewrite headers, json"
    )


def test_every_exchange_is_shown_with_its_rule(files, capsys):
    """What would be sent, what is skipped and why, and the sums."""
    assert cli.main(["check", *map(str, files)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f"{'a' * 32} GET /health: skipped, rule (health)",
        f"{'b' * 32} GET /orders/7?key={MARK}: orders -> "
        f"staging GET https://staging.example.com:443/base/o/7?key={MARK}",
        f"{'c' * 32} GET /other\\x1b[2J: skipped, no rule",
        f"{'d' * 32} GET /orders: skipped, no credential (orders)",
        "",
        "orders: 1 shot",
        "skipped, no credential: 1",
        "skipped, no rule: 1",
        "skipped, rule: 1",
        "hint: auth in the rules, or --auth-env NAME, replaces sealed credentials; "
        "one in a body needs a table",
    ]


def test_the_same_as_json(files, capsys):
    """One object a line; names of headers, never their values."""
    assert cli.main(["check", *map(str, files), "--json"]) == 0
    out = capsys.readouterr().out
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["skipped"] for one in found] == ["rule", None, "no rule", "no credential"]
    assert found[1]["shots"][0]["headers"] == ["Host", "Authorization", "X-Mirrorproxy-Replay"]
    assert found[1]["shots"][0]["target"] == "staging"
    assert found[3]["left_out"] == [{"target": "staging", "reason": "no credential"}]
    assert "s3cret" not in out


def test_no_secret_is_printed(files, capsys):
    """Not where it would go, not in an error."""
    cli.main(["check", *map(str, files)])
    files[0].write_text(RULES.replace("path: /health", "status: '${TOKEN}'"))
    assert cli.main(["check", str(files[0])]) == 2
    shown = capsys.readouterr()
    assert "s3cret" not in shown.out + shown.err
    assert "rules[0].match.status" in shown.err


def test_a_mistake_is_one_line_and_status_2(files, capsys):
    """File, line and key."""
    files[0].write_text(RULES.replace("skip: true", "skp: true"))
    assert cli.main(["check", *map(str, files)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"mirrorproxy: {files[0]}:7: rules[0].skp: unknown key; did you mean skip?\n"
    )


def test_damage_is_told_and_the_rest_is_checked(files, capsys):
    """Status 1 when a part of the capture could not be read."""
    with files[1].open("ab") as file:
        file.write(b"garbage\n" + encode_line(exchange(target="/health", record_id="e" * 32)))
    assert cli.main(["check", *map(str, files)]) == 1
    shown = capsys.readouterr()
    assert "e" * 32 in shown.out
    assert "capture.jsonl" in shown.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "check: name a rule file", id="no file"),
        pytest.param(["gone.yaml"], "gone.yaml: cannot be read", id="a file that is not there"),
        pytest.param(
            ["{rules}", "--auth-env", "NOT_SET"],
            "--auth-env: the environment variable NOT_SET is not set",
            id="a variable that is not set",
        ),
        pytest.param(["{rules}", "--target", "x"], "--target: a URL here begins", id="a bad URL"),
    ],
)
def test_bad_options_are_one_line(files, options, message, capsys):
    """Status 2, and what to mend."""
    assert cli.main(["check", *[one.format(rules=files[0]) for one in options]]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"mirrorproxy: {message}")
    assert shown.count("\n") == 1


def test_the_schema_is_printed(capsys):
    """For editors; no rule file is needed."""
    assert cli.main(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "mirrorproxy rule file, version 1"


def test_sampling_is_shown_as_replay_would_do_it():
    """Both commands sample sessions with the same seed unless told otherwise."""
    replay = cli.parse(["replay", "capture", "--target", "http://127.0.0.1:1"])
    assert cli.parse(["check", "rules.yaml"]).seed == replay.seed


def test_the_schema_of_rule_files_is_printed(capsys):
    """For editors; the same by either name."""
    assert cli.main(["rules", "schema"]) == 0
    printed = capsys.readouterr().out
    assert cli.main(["check", "--schema"]) == 0
    assert capsys.readouterr().out == printed
    assert json.loads(printed)["title"] == "mirrorproxy rule file, version 1"


def test_what_a_body_apart_would_do_is_shown(tmp_path, capsys):
    """It is read to match it and to try the rewrite; nothing is sent."""
    ref = "bodies/2026/03/01/12/" + "0" * 31
    capture = tmp_path / "capture.jsonl"
    lines = []
    for number, body in enumerate([b'{"a":1}', b'{"a":2}', b"no JSON"]):
        one = exchange("POST", record_id=f"{number:032x}", body_ref=f"{ref}{number}")
        (tmp_path / one.request.body_ref).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one.request.body_ref).write_bytes(body)
        lines.append(encode_line(one))
    capture.write_bytes(b"".join(lines))
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "version: 1\ntargets: {t: {url: 'http://t'}}\nrules:\n"
        "- {name: ones, match: {json: {$.a: 1}}, skip: true}\n"
        "- {name: rest, send: {}, rewrite: {json: {path: $.a, set: 3}}}\n"
    )
    assert cli.main(["check", str(rules), str(capture), "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["rule"], one["skipped"], len(one["shots"])) for one in found] == [
        ("ones", "rule", 0),
        ("rest", None, 1),
        ("rest", "body not JSON", 0),
    ]
