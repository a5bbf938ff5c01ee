"""The rule file's page, schema and examples are what the program takes."""

from __future__ import annotations

import json
import re
from types import UnionType
from typing import Any, get_args, get_type_hints

import jsonschema
import msgspec
import pytest
import yaml
from pages import ROOT, blocks

from mirrorproxy.record import Exchange, Request
from mirrorproxy.rules import schema
from mirrorproxy.rules.load import load_rules, rules_of
from mirrorproxy.rules.plan import plan
from mirrorproxy.yamlfile import load

PAGES = [ROOT / "docs/rules.md", ROOT / "docs/credentials.md"]
TEXT = "".join(page.read_text() for page in PAGES)
SCHEMA = ROOT / "docs/rules.schema.json"
BLOCKS = [block.text for page in PAGES for block in blocks(page) if block.language == "yaml"]
(TABLE,) = (block.text for page in PAGES for block in blocks(page) if block.language == "csv")
EXAMPLES = sorted((ROOT / "examples/rules").glob("*.yaml"))
TEXTS = [pytest.param(text, id=f"page {number}") for number, text in enumerate(BLOCKS)] + [
    pytest.param(path.read_text(), id=path.name)
    for path in EXAMPLES
    if not path.name.startswith("users")
]
ENVIRON = dict.fromkeys(
    [
        "ANNS_PASSWORD",
        "BENS_PASSWORD",
        "PRODUCTION_TEST_TOKEN",
        "STAGING_KEY",
        "STAGING_PASSWORD",
        "STAGING_SECRET",
        "STAGING_SIGNING_KEY",
        "STAGING_TOKEN",
        "STAGING_TOKEN_ANN",
        "STAGING_TOKEN_BEN",
    ],
    "secret of more than thirty-two bytes",
)


def exchange(method="GET", target="/", headers=(), **request) -> Exchange:
    """A captured request."""
    captured = Request(method, target, "1.1", list(headers), **request)
    return Exchange(1, "0" * 32, "orders", "har", "n", 1, 1, "", "https", "", captured)


def structs_of(type_: Any, found: set[type]) -> set[type]:
    """Every struct that a rule file is made of."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        if type_ not in found:
            found.add(type_)
            for hint in get_type_hints(type_).values():
                structs_of(hint, found)
    elif isinstance(type_, UnionType) or get_args(type_):
        for argument in get_args(type_):
            structs_of(argument, found)
    return found


KEYS = sorted(
    {
        field.encode_name
        for struct in structs_of(schema.RuleFile, set())
        for field in msgspec.structs.fields(struct)
    }
)


@pytest.mark.parametrize("text", TEXTS)
def test_every_example_is_a_good_rule_file(text, tmp_path):
    """What is shown can be copied."""
    for path in EXAMPLES:
        (tmp_path / path.name).write_text(path.read_text())
    # The page's own names for files of others.
    (tmp_path / "shared").mkdir()
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "users.csv").write_text(TABLE)
    rules_of(
        load(text, name="example"),
        tmp_path,
        ENVIRON,
        read_stored=lambda store, name: f"secret of {store} and {name}",
    )


def test_the_example_that_doubles_the_load_does_what_it_says():
    """Two shots of an order, the second with a number of its own; nobody's phone."""
    rules = load_rules(ROOT / "examples/rules/extra-copies.yaml", ENVIRON)
    body = '{"order_number":"A-12345678","customer":{"email":"ann@b.c","phone":"5"}}'
    one = exchange(
        "POST", "/orders/new?utm_x=1&a=2", [("Content-Type", "application/json")],
        body=body, body_encoding="utf8",
    )  # fmt: skip
    first, second = plan(one, rules, "seed", "run").shots
    assert first.path == second.path == "/orders/new?a=2"
    assert json.loads(first.body) == {
        "order_number": "A-12345678",
        "customer": {"email": "user@example.test"},
    }
    assert json.loads(second.body)["order_number"] != "A-12345678"
    assert plan(exchange(target="/healthz"), rules, "seed", "run").skipped == "rule"


@pytest.mark.parametrize("text", TEXTS)
def test_every_example_fits_the_published_schema(text):
    """An editor that checks by the schema accepts what the program accepts."""
    jsonschema.validate(yaml.safe_load(text), json.loads(SCHEMA.read_text()))


def test_the_schema_refuses_what_the_program_refuses():
    """A misspelt key is underlined in the editor."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "rule": []}, json.loads(SCHEMA.read_text()))


def test_the_published_schema_is_current():
    """`mirrorproxy check --schema > docs/rules.schema.json` mends it."""
    assert json.loads(SCHEMA.read_text()) == schema.json_schema()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_documented(key):
    """In the first column of a table, where it is looked for."""
    rows = re.findall(r"^\| `([\w.]+)` \|", TEXT, re.MULTILINE)
    assert key in {row.rpartition(".")[2] for row in rows} | {"regex"}
    assert "{regex:" in TEXT


def test_no_key_is_documented_that_does_not_exist():
    """The page promises nothing that the program refuses."""
    rows = re.findall(r"^\| `([\w.]+)` \|", TEXT, re.MULTILINE)
    assert {part for row in rows for part in row.split(".")} <= set(KEYS)
