"""Paths into JSON: what they find, what they change, and that nothing else changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.rules.jsonpath import NotJsonError, edit, find_texts, parse_path
from mirrorproxy.rules.patterns import Fault

BODY = b'{"id":7,"user":{"email":"a@b.c","tags":["x","y"]},"lines":[{"id":1},{"id":2}],"n":null}'


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        pytest.param("$.id", ["7"], id="a number as it is spelled"),
        pytest.param("$.user.email", ["a@b.c"], id="a string bare"),
        pytest.param("$['user'][\"email\"]", ["a@b.c"], id="names in brackets"),
        pytest.param("$.user.tags[0]", ["x"], id="an item"),
        pytest.param("$.user.tags[-1]", ["y"], id="an item from the end"),
        pytest.param("$.user.tags[2]", [], id="no such item"),
        pytest.param("$.lines[*].id", ["1", "2"], id="all items"),
        pytest.param("$.user.*", ["a@b.c", '["x","y"]'], id="all members"),
        pytest.param("$..id", ["7", "1", "2"], id="at every depth"),
        pytest.param("$..tags[1]", ["y"], id="behind a name at any depth"),
        pytest.param("$.n", ["null"], id="null is there"),
        pytest.param("$.id.x", [], id="not in a number"),
        pytest.param("$.nobody", [], id="nothing"),
    ],
)
def test_what_a_path_finds(path, texts):
    """In the order of the body, what is nearer first."""
    assert find_texts(BODY, parse_path(path, ())) == texts


@pytest.mark.parametrize(
    "path",
    ["", "user", "$user", "$.", "$.a.", "$...a", "$[a]", "$[1:2]", "$[?@.a]", "$['a','b']", "$.a b",
     "$..", "$[", "$['a", "$" + ".a" * 300],
)  # fmt: skip
def test_what_is_no_path_is_refused(path):
    """With what is expected, before anything is sent."""
    with pytest.raises(Fault, match="path"):
        parse_path(path, ("here",))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(
            "$.user.email",
            b'{"id":7,"user":{"email":0,"tags":["x","y"]},"lines":[{"id":1},{"id":2}],"n":null}',
            id="one value",
        ),
        pytest.param(
            "$..id",
            b'{"id":0,"user":{"email":"a@b.c","tags":["x","y"]},"lines":[{"id":0},{"id":0}],'
            b'"n":null}',
            id="at every depth",
        ),
        pytest.param("$", b"0", id="the whole"),
        pytest.param("$.nobody", BODY, id="nothing"),
    ],
)
def test_values_are_replaced(path, body):
    """All that the path leads to, and nothing else."""
    assert edit(BODY, parse_path(path, ()), lambda _value: b"0") == body


def test_values_are_taken_out():
    """Members and items alike."""
    out = edit(BODY, parse_path("$.lines[0]", ()), lambda _value: None)
    assert json.loads(out)["lines"] == [{"id": 2}]
    out = edit(BODY, parse_path("$..email", ()), lambda _value: None)
    assert json.loads(out)["user"] == {"tags": ["x", "y"]}


def test_a_missing_name_is_added_where_its_object_is():
    """Not where there is none."""
    added = edit(BODY, parse_path("$.user.vip", ()), lambda _value: b"1", b"1")
    assert json.loads(added)["user"]["vip"] == 1
    assert edit(BODY, parse_path("$.nobody.vip", ()), lambda _value: b"1", b"1") == BODY


def test_what_is_beside_a_path_stays_byte_for_byte():
    """Numbers that no float holds, escapes, spaces."""
    beside = rb'[1.10, 123456789012345678901234567890, 1e400, "\u00e9\/" ,{ "b":1,"b":2 } ]'
    body = b'{ "a" : 1, "beside":' + beside + b"}"
    assert edit(body, parse_path("$.a", ()), lambda _value: b"2") == (
        b'{"a":2,"beside":' + beside + b"}"
    )


def test_a_name_given_twice_is_kept_once_where_it_is_rewritten():
    """What is set cannot stand beside what was there."""
    body = b'{"email":"real@b.c","\\u0065mail":"other@b.c"}'
    assert edit(body, parse_path("$.email", ()), lambda _value: b'"x"') == b'{"email":"x"}'


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b'{"a":1}x', b'{"a":1', b"a=1", b"\xff", b'{"a":"\\ud800"}',
        b"[" * 5000 + b"]" * 5000, b'{"a":' * 150 + b"1" + b"}" * 150,
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused_whole(body):
    """Nothing is half rewritten, and nothing deep overflows."""
    with pytest.raises(NotJsonError):
        edit(body, parse_path("$..a", ()), lambda _value: b"2")
    with pytest.raises(NotJsonError):
        find_texts(body, parse_path("$..a", ()))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=12,
)


def replaced(value, *, is_a=False):
    """What `$..a` set to 0 makes of a value, in plain Python."""
    if is_a:
        return 0
    if isinstance(value, dict):
        return {key: replaced(inner, is_a=key == "a") for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner) for inner in value]
    return value


@given(VALUES)
def test_any_document_is_edited_as_plain_python_would(value):
    """Whatever its shape."""
    body = json.dumps(value).encode()
    out = edit(body, parse_path("$..a", ()), lambda _value: b"0")
    assert json.loads(out) == replaced(value)
