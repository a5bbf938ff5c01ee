"""docs/export.md: its commands run, its command of curl is ours, its rules are rules."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import pytest
from pages import ROOT, blocks, commands
from support.commands import Answer, Application, run, serving

from mirrorproxy.codec import decode_line, encode_line
from mirrorproxy.keys import object_key
from mirrorproxy.record import Exchange, Request, Response
from mirrorproxy.report.export_curl import HEAD
from mirrorproxy.rules.load import rules_of
from mirrorproxy.yamlfile import load

PAGE = blocks(ROOT / "docs/export.md")
COMMANDS = [
    shlex.split(command, comments=True)[1:]
    for block in PAGE
    if block.language == "sh"
    for command in commands(block)
]
(RECORD,) = [one.text for one in blocks(ROOT / "docs/record.md") if one.language == "json"]


def example() -> Exchange:
    """Return the exchange of docs/record.md, as the page's command of curl shows it."""
    exchange = decode_line(RECORD.encode())
    request = msgspec.structs.replace(exchange.request, target="/orders")
    return msgspec.structs.replace(exchange, scheme="http", request=request)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a capture lies, a browser's document and a file of GoReplay's."""
    capture = tmp_path / "capture"
    path = capture / object_key("", "orders", example().started_us, "0" * 32)
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_line(example()))
    bare = Request("GET", "/orders/7", "1.1", [("Host", "api.example.com")])
    other = msgspec.structs.replace(
        example(), id="1" * 32, request=bare, credentials=[], response=Response(200)
    )
    source = tmp_path / "bare.jsonl"
    source.write_bytes(encode_line(other))
    for name in ("browser.har", "requests.gor"):
        assert run(["export", str(source), "--out", name], tmp_path).returncode == 0
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_does_what_it_says(folder: Path, words: list[str]) -> None:
    """Against a target of the test's own."""
    application = Application(lambda _request: Answer())
    with serving(application):
        at_hand = [application.url if "staging" in word else word for word in words]
        done = run(at_hand, folder, {"STAGING_TOKEN": "staging-0815"})
    assert done.returncode == 0, done.stderr
    if "--out" in words:
        assert Path(folder, words[words.index("--out") + 1]).stat().st_size > 100
    elif words[0] == "replay":
        assert [one.target for one in application.requests] == ["/orders/7"]
    else:
        assert "orders" in done.stdout


def test_the_command_of_curl_is_what_is_written(folder: Path) -> None:
    """Word for word."""
    (shown,) = [block.text for block in PAGE if block.language == "text"]
    (words,) = [words for words in COMMANDS if "curl" in words]
    assert run(words, folder).stdout == f"{HEAD.decode()}\n{shown}"


def test_the_rules_are_rules() -> None:
    """And do what the page says."""
    (text,) = [block.text for block in PAGE if block.language == "yaml"]
    rules = rules_of(load(text, name="example"), Path(), {})
    (decision,) = rules.decisions
    assert (decision.rule, decision.percent) == ("a tenth of the API", 10)
