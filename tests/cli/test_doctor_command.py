"""``mirrorproxy doctor``: what is checked, what is printed, and the exit status."""

from __future__ import annotations

import json
import sys

import pytest
from support.commands import Answer, Application, serving

from mirrorproxy import cli, codec
from mirrorproxy.record import Credential, Exchange, Request

STATUS = {
    "mirror": {"name": "m1", "seal_key_id": "3f9a"},
    "unready": [],
    "ledger": {"captured": 3},
    "shipping": None,
}


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [
        f"{one['level']}: {one['what']}: {one['says']}"
        for one in map(json.loads, capsys.readouterr().out.splitlines())
    ]


def test_something_must_be_named(capsys):
    """Status 2."""
    assert cli.main(["doctor"]) == 2
    assert "say what to check" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "ftp://x"], ["s3://B/"], ["--mirror", "127.0.0.1:9808"], ["--traefik-api", "x"],
        ["--config", "missing.yaml"], ["--to", "./x", "--spool-limit", "lots"],
        ["--traefik-config", "missing.yaml"], ["--consul", "x", "--consul-token-file", "missing"],
        ["--consul", "ftp://x"],
    ],
)  # fmt: skip
def test_mistakes_in_options(arguments, capsys):
    """Status 2 and one line; nothing is checked."""
    assert cli.main(["doctor", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_a_directory_and_its_spool(tmp_path, capsys):
    """As text, a line each; nothing is made."""
    assert cli.main(["doctor", "--to", str(tmp_path / "capture"), "--spool-limit", "1MiB"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"ok        spool {tmp_path}/capture/.spool: can be made, ")
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_is_checked_with_all_it_names(tmp_path, capsys):
    """Its own mistakes are a finding; so is its spool."""
    file = tmp_path / "capture.yaml"
    file.write_text(f"to: {tmp_path}/capture\nspool: {{limit: 1PiB}}\n".replace("1PiB", "1000TiB"))
    assert cli.main(["doctor", "--config", str(file), "--json"]) == 1
    said = lines(capsys)
    assert said[0].startswith(f"problem: configuration {file}: {file}")
    assert "say where to listen" in said[0]
    assert said[1].startswith(f"problem: spool {tmp_path}/capture/.spool: may grow to 1000TiB")


def test_mirrors_with_different_keys(capsys):
    """A problem, since sessions break."""
    other = {**STATUS, "mirror": {"name": "m2", "seal_key_id": "77aa"}}
    one, two = (
        Application(lambda _request, status=status: Answer(200, (), json.dumps(status).encode()))
        for status in (STATUS, other)
    )
    with serving(one, two):
        assert cli.main(["doctor", "--json", "--mirror", one.url, "--mirror", two.url]) == 1
    said = lines(capsys)
    assert [line for line in said if line.startswith("problem")] == [
        f"problem: sealing keys: mirrors have different ones (m1 ({one.url}) 3f9a, m2 ({two.url}) "
        "77aa): a session that meets two is broken in two"
    ]
    assert one.requests[0].target == "/status"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(Answer(404), "answers 404 for /status", id="another server"),
        pytest.param(Answer(200, (), b"<html>"), "no JSON for /status", id="a page"),
        pytest.param(Answer(200, (), b"[1]"), "what answers there is no capture", id="other JSON"),
    ],
)
def test_what_is_no_mirror(answer, reason, capsys):
    """Whatever answers there."""
    application = Application(lambda _request: answer)
    with serving(application):
        assert cli.main(["doctor", "--json", "--mirror", application.url]) == 1
    assert f"problem: mirror {application.url}: {reason}" in lines(capsys)


def test_a_capture_sealed_with_two_keys(tmp_path, capsys):
    """Is found in its records."""
    with (tmp_path / "x.jsonl").open("wb") as file:
        for number, key in enumerate(("3f9a", "77aa")):
            exchange = Exchange(
                v=1, id=f"{number:032x}", service="s", via="inline", node=f"m{number}/0",
                started_us=number, duration_us=1, client="127.0.0.1", scheme="http",
                upstream="http://u",
                request=Request(method="GET", target="/", version="1.1", headers=[]),
                credentials=[Credential("header", "Authorization", f"h1:{key}:{'0' * 32}")],
            )  # fmt: skip
            file.write(codec.encode_line(exchange))
    assert cli.main(["doctor", "--json", str(tmp_path)]) == 1
    assert lines(capsys)[1].startswith("problem: sealing keys in records: there are 2 (3f9a by m0")


def test_a_source_that_is_missing_is_a_problem(tmp_path, capsys):
    """Status 1: the options were no mistake."""
    assert cli.main(["doctor", "--json", str(tmp_path / "nothing")]) == 1
    assert lines(capsys)[0].startswith("problem: capture ")


def test_without_boto3_aws_is_not_checked(monkeypatch, capsys, tmp_path):
    """And said so; the rest is."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    argv = ["doctor", "--to", "s3://captures/x", "--spool", str(tmp_path), "--spool-limit", "1MiB"]
    assert cli.main([*argv, "--json"]) == 0
    assert "unchecked: AWS: boto3 is not installed" in lines(capsys)


def test_traefiks_configuration(tmp_path, capsys):
    """From its file."""
    file = tmp_path / "traefik.yaml"
    file.write_text("providers: {consulCatalog: {exposedByDefault: false}}\n")
    assert cli.main(["doctor", "--traefik-config", str(file)]) == 1
    assert "set providers.consulCatalog.watch: true\n" in capsys.readouterr().out
