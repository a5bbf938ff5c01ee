"""What the documentation shows is what the programs take."""

from __future__ import annotations

import json
import re
import shlex
import tomllib

import msgspec
import pytest
from pages import ROOT, Block, blocks, commands, pages

from mirrorproxy import cli, codec, yamlfile
from mirrorproxy.commands import capture
from mirrorproxy.record import Credential, Exchange, Request, Response
from mirrorproxy.report.inspection import Inspection

BLOCKS = [block for page in pages() for block in blocks(page)]
COMMANDS = [
    pytest.param(command, id=f"{block.name} {command[:60]}")
    for block in BLOCKS
    if block.language == "sh"
    for command in commands(block)
] + [
    pytest.param(command, id=f"help {command[:60]}")
    for epilog in (cli.EPILOG, capture.EPILOG)
    for command in commands(Block(ROOT, 0, "sh", epilog))
]
JSON = [pytest.param(block.text, id=block.name) for block in BLOCKS if block.language == "json"]
YAML = [pytest.param(block.text, id=block.name) for block in BLOCKS if block.language == "yaml"]
RECORD_PAGE = ROOT / "docs/record.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_spelt_right(command: str):
    """Every option of every command in the documentation exists."""
    words = shlex.split(command, comments=True)[1:]
    for end in ("|", ">", "&"):
        if end in words:
            words = words[: words.index(end)]
    parsed = cli.parse(words)
    assert parsed is not None


@pytest.mark.parametrize("text", JSON)
def test_json_is_json(text: str):
    """Every block that claims to be."""
    json.loads(text)


@pytest.mark.parametrize("text", YAML)
def test_yaml_is_yaml(text: str):
    """Every block that claims to be; what is in it, its own page's test holds."""
    assert yamlfile.load(text, name="block").data is not None


def test_the_record_of_the_documentation_is_read():
    """The contract's own example is an exchange, with nothing that readers would ignore."""
    (example,) = [block.text for block in blocks(RECORD_PAGE) if block.language == "json"]
    exchange = codec.decode_line(example.encode())
    assert json.loads(codec.encode_line(exchange)) == json.loads(example)
    inspection = Inspection()
    inspection.add(exchange)
    assert inspection.summary().exchanges == 1


@pytest.mark.parametrize("struct", [Exchange, Request, Response, Credential])
def test_every_key_of_a_record_is_documented(struct: type[msgspec.Struct]):
    """And in the first column of a table, where it is looked for."""
    rows = re.findall(r"^\| (`[^|]+) \|", RECORD_PAGE.read_text(), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {field.encode_name for field in msgspec.structs.fields(struct)} <= documented


def test_the_layers_of_the_documentation_are_those_that_are_checked():
    """A contributor reads what the check will say."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = project["tool"]["importlinter"]["contracts"]
    shown = [block.text.splitlines() for block in blocks(ROOT / "CONTRIBUTING.md")]
    assert contract["layers"] in shown
