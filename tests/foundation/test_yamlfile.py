"""YAML documents: what is read, what is refused, and where an error says it is."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.errors import ConfigError
from mirrorproxy.units import Seconds
from mirrorproxy.yamlfile import convert, dotted, expand, load


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    timeout: Seconds = Seconds(1)
    mode: Literal["seal", "keep"] = "seal"
    size: int | None = None
    text: str = ""


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner | list[Inner] | None = None
    named: dict[str, Inner] = {}
    needed: int = 0
    word: str | list[str] | None = None


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        convert(load(text, name="f.yaml"), Outer)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        pytest.param("on: no", {"on": "no"}, id="on and no are text"),
        pytest.param("a: 1:30", {"a": "1:30"}, id="no base 60"),
        pytest.param("a: 2024-01-01", {"a": "2024-01-01"}, id="a date is text"),
        pytest.param("a: [1, 0x1f, 0o17, -2]", {"a": [1, 31, 15, -2]}, id="whole numbers"),
        pytest.param("a: [1.5, 1e3, .5]", {"a": [1.5, 1000.0, 0.5]}, id="fractions"),
        pytest.param("a: [true, False, ~, null, ]", {"a": [True, False, None, None]}, id="words"),
        pytest.param("a: ['1', \"true\", !!str 1]", {"a": ["1", "true", "1"]}, id="quoted is text"),
        pytest.param("200: x", {"200": "x"}, id="a key is text"),
        pytest.param("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}, id="an alias"),
        pytest.param("a: |\n  b\n  c\n", {"a": "b\nc\n"}, id="a block"),
        pytest.param('{"a": ["b"]}', {"a": ["b"]}, id="JSON"),
        pytest.param("", None, id="an empty file"),
        pytest.param("# nothing\n", None, id="only a comment"),
    ],
)
def test_plain_data_is_read_as_yaml_1_2(text, data):
    """Scalars are those of the core schema, keys are text."""
    assert load(text, name="f").data == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: 1\nb: 2\na: 3", "f:3: a: repeated; it stands on line 1", id="repeated"),
        pytest.param("a: !!python/name:os.system x", "f:1: a: tags", id="an object"),
        pytest.param("a: [\n", "f:2: not valid YAML", id="unfinished"),
        pytest.param("a: 1\n---\nb: 2", "f:2: more than one document", id="two documents"),
        pytest.param("b:\n  <<: {a: 1}", "f:2: b: merge keys", id="a merge key"),
        pytest.param("? [a]\n: b", "f:1: a key must be plain text", id="a list as a key"),
        pytest.param("a: *b", "f:1: a: an alias of nothing", id="an unknown alias"),
        pytest.param("a: &b [*b]", "f:1: a[0]: an alias of nothing", id="an alias of itself"),
        pytest.param("a\0b", "f: not valid YAML: a character", id="a null byte"),
        pytest.param("[" * 100, "f:1: nested deeper than 64", id="deep lists"),
        pytest.param("a: \ud800", "f: not valid YAML: a character", id="half a character"),
    ],
)
def test_what_is_not_plain_is_refused_at_its_line(text, message):
    """The error names file, line and key."""
    with pytest.raises(ConfigError) as raised:
        load(text, name="f")
    assert str(raised.value).startswith(message)


def test_a_bomb_of_aliases_is_refused():
    """Aliases count as often as they are used."""
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 10):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    with pytest.raises(ConfigError, match="aliases written out"):
        load(text, name="f")


def test_a_tower_of_aliases_is_refused():
    """What aliases stack up counts as deep as it is."""
    text = "a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n"
    for level in range(1, 8):
        text += f"a{level}: &a{level} [[[[[[[[[*a{level - 1}]]]]]]]]]\n"
    with pytest.raises(ConfigError, match="f:7: nested deeper than 64 levels"):
        load(text, name="f")


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path):
    """A file costs no more than its bound."""
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * 2_000_001)
    with pytest.raises(ConfigError, match=r"large\.yaml: larger than 1 MiB"):
        load(path, name="large.yaml", max_bytes=1 << 20)


def test_a_file_is_read_whatever_its_byte_order_mark(tmp_path):
    """Editors of Windows begin a file with a mark."""
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert load(path, name="f").data == {"a": 1}


def test_a_file_that_is_not_text_is_refused_at_its_line(tmp_path):
    """The line of the first bad byte is named."""
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(ConfigError, match="f:2: not UTF-8 text"):
        load(path, name="f")


def test_a_missing_file_is_one_line(tmp_path):
    """No traceback for a name that is wrong."""
    with pytest.raises(ConfigError, match=r"^f: cannot be read: No such file or directory$"):
        load(tmp_path / "missing", name="f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "named:\n  x.y: {text: a}\n  x.z:\n    timeout: 5x",
            "f.yaml:4: named.x.z.timeout: expected a duration such as 800ms, 10s, 5m or 1h30m",
            id="in the one of several keys that is wrong",
        ),
        pytest.param(
            "inner: {tmeout: 1s}",
            "f.yaml:1: inner.tmeout: unknown key; did you mean timeout?",
            id="a misspelt key, with the one that was meant",
        ),
        pytest.param(
            "inner:\n- text: a\n- zzz: 1",
            "f.yaml:3: inner[1].zzz: unknown key; known here: mode, size, text, timeout",
            id="a key that is like none",
        ),
        pytest.param(
            "inner: {mode: hunter2}",
            "f.yaml:1: inner.mode: expected keep or seal",
            id="a word that is not one of those",
        ),
        pytest.param(
            "inner: {size: 1.5}",
            "f.yaml:1: inner.size: expected a whole number, not a fraction",
            id="a fraction",
        ),
        pytest.param(
            "word: {a: b}",
            "f.yaml:1: word: expected text or a list, not a mapping",
            id="a mapping",
        ),
        pytest.param("- a", "f.yaml:1: expected a mapping, not a list", id="a list at the top"),
        pytest.param("", "f.yaml: the file is empty", id="nothing"),
    ],
)
def test_what_does_not_fit_is_named_with_line_and_key(text, message):
    """The error says what is expected and never repeats a value."""
    assert error_of(text) == message


def test_a_missing_key_is_named():
    """A required key that is not there is named, with where it should be."""

    class Needs(msgspec.Struct):
        url: str

    with pytest.raises(ConfigError, match=r"^f:2: b: url is missing$"):
        convert(load("a: {url: x}\nb:\n  c: 1", name="f"), dict[str, Needs])


def test_names_and_files_are_put_into_values_only(tmp_path):
    """Expansion happens inside scalars, after parsing, once."""
    document = load('${A}: ["x${A}y", "${file:secret}", "$${A}", "$5", "${B}"]\nn: 1', name="f")
    environ = {"A": "one: [", "B": "${A}"}
    expanded = expand(document, environ, lambda name: f"content of {name}\n")
    assert expanded.data == {
        "${A}": ["xone: [y", "content of secret", "${A}", "$5", "${A}"],
        "n": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("${NO}", "f:1: a: the environment variable NO is not set", id="not set"),
        pytest.param("${file:gone}", "f:1: a: the file gone cannot be read: gone!", id="no file"),
        pytest.param("${file:}", "f:1: a: ${ begins neither", id="no file name"),
        pytest.param("${A", "f:1: a: ${ begins neither", id="not closed"),
        pytest.param("${A-B}", "f:1: a: ${ begins neither", id="not a name"),
        pytest.param("${}", "f:1: a: ${ begins neither", id="empty"),
    ],
)
def test_what_cannot_be_put_in_is_named_without_a_value(text, message):
    """A missing variable or file is named with line and key."""

    def read(name: str) -> str:
        raise OSError(2, f"{name}!")

    with pytest.raises(ConfigError) as raised:
        expand(load(f"a: '{text}'", name="f"), {"A": "secret"}, read)
    assert str(raised.value).startswith(message)
    assert "secret" not in str(raised.value)


def test_a_secret_never_stands_in_an_error():
    """A value that was put in and does not fit is not repeated."""
    document = expand(load("inner: {mode: '${S}'}", name="f"), {"S": "hunter2"}, str)
    with pytest.raises(ConfigError) as raised:
        convert(document, Outer)
    assert "hunter2" not in str(raised.value)


def test_a_number_may_come_from_the_environment():
    """What is put in is text; where a number is expected it is read as one."""
    document = expand(load("inner: {size: '${N}', text: '${N}'}", name="f"), {"N": "42"}, str)
    assert convert(document, Outer).inner == Inner(size=42, text="42")


def test_paths_are_written_as_people_write_them():
    """Keys are joined by dots, items stand in brackets."""
    assert dotted(("rules", 0, "match", "path")) == "rules[0].match.path"
    assert dotted(("a\nb",)) == "a\\nb"


@given(st.text(alphabet="ab:{}[]-&*!|>'\"#%? \n\t,0", max_size=60))
def test_any_text_is_read_or_refused_as_a_config_error(text):
    """No text makes the reader fail in another way."""
    refusal = ""
    try:
        load(text, name="f")
    except ConfigError as error:
        refusal = str(error)
    assert "\n" not in refusal
