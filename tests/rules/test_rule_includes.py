"""Files that include files: what comes of them, and where a mistake is said to be."""

from __future__ import annotations

import pytest
from rulekit import exchange

from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.load import load_rules
from mirrorproxy.rules.plan import plan

TARGET = "targets: {staging: {url: 'http://staging'}}\n"


@pytest.fixture
def write(tmp_path):
    """Writes files by name; `main` is loaded by what it returns."""

    def write_files(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text("version: 1\n" + text)
        return tmp_path / "main.yaml"

    return write_files


def test_included_rules_come_first_and_targets_are_shared(write):
    """In the order of the list; names start at the folder of their own file."""
    path = write(
        main="include: [shared/noise.yaml, more.yaml]\nrules: [{name: rest, send: {}}]\n",
        shared__noise="include: [targets.yaml]\n"
        "rules: [{name: noise, match: {path: /h}, skip: true}]\n",
        shared__targets=TARGET,
        more="rules: [{name: more, match: {path: /m}, skip: true}]\n",
    )
    rules = load_rules(path, {})
    assert rules.names == ["noise", "more", "rest"]
    (shot,) = plan(exchange(), rules, "seed", "run").shots
    assert (shot.rule, shot.target) == ("rest", "staging")


def test_secrets_and_tables_start_at_the_folder_of_their_file(write, tmp_path):
    """Not at that of the first file."""
    path = write(
        main="include: [shared/targets.yaml]\nrules: [{name: rest, send: {}}]\n",
        shared__targets="targets: {s: {url: 'http://s', auth: [{use: {table: {by: subject, "
        "file: users.yaml}}}, {use: {bearer: '${file:token}'}}]}}\n",
    )
    (tmp_path / "shared/token").write_text("t\n")
    (tmp_path / "shared/users.yaml").write_text("{}")
    assert load_rules(path, {}).names == ["rest"]


def test_a_file_that_two_include_counts_once(write):
    """Its rules do not come twice."""
    path = write(
        main="include: [a.yaml, b.yaml]\n" + TARGET,
        a="include: [c.yaml]\n",
        b="include: [c.yaml]\n",
        c="rules: [{name: c, skip: true}]\n",
    )
    assert load_rules(path, {}).names == ["c"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({"main": "include: [main.yaml]\n"}, "main.yaml:2: include[0]: ", id="itself"),
        pytest.param({"main": "include: [a.yaml]\n", "a": "\ninclude:\n- main.yaml\n"},
                     "a.yaml:4: include[0]: ", id="a circle"),
        pytest.param({"main": "include: [none.yaml]\n"}, "main.yaml:2: include[0]: the file ",
                     id="not there"),
        pytest.param({"main": "include: [.]\n"}, "main.yaml:2: include[0]: the file ",
                     id="a folder"),
        pytest.param({"main": "include: [a.yaml]\n" + TARGET, "a": TARGET},
                     "main.yaml:3: targets.staging: ", id="a target twice"),
        pytest.param({"main": "include: [a.yaml]\n" + TARGET, "a": "defaults: {unmatched: send}\n"},
                     "a.yaml:2: defaults: ", id="defaults"),
        pytest.param({"main": "include: [a.yaml]\n" + TARGET + "rules: [{name: x, skip: true}]\n",
                      "a": "rules:\n- {name: x, skip: true}\n"},
                     "main.yaml:4: rules[0].name: another rule", id="a rule twice"),
        pytest.param({"main": "include: [a.yaml]\n" + TARGET + "rules: [{name: y, skip: true}]\n",
                      "a": "rules:\n- name: x\n  skip: true\n  match: {path: {regex: '('}}\n"},
                     "a.yaml:5: rules[0].match.path.regex: ", id="in an included rule"),
        pytest.param({"main": "include: [a.yaml]\n" + TARGET, "a": "rules:\n- nam: x\n"},
                     "a.yaml:3: rules[0]", id="a misspelt key"),
        pytest.param({"main": "include: [a.yaml]\n", "a": "targets: {s: {url: '${GONE}'}}\n"},
                     "a.yaml:2: targets.s.url: the environment variable GONE", id="a variable"),
        pytest.param({"main": "include: a.yaml\n"}, "main.yaml:2: include: ", id="no list"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_to_be_where_it_is(write, tmp_path, files, message):
    """File, line and key."""
    with pytest.raises(ConfigError) as error:
        load_rules(write(**files), {})
    assert str(error.value).startswith(f"{tmp_path}/{message}")


def test_so_many_files_and_no_more(write):
    """A chain ends."""
    chain = {f"f{n}": f"include: [f{n + 1}.yaml]\n" for n in range(70)}
    path = write(main="include: [f0.yaml]\n", **chain)
    with pytest.raises(ConfigError, match="more than 64 files"):
        load_rules(path, {})
