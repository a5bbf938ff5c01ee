"""Globs and regular expressions of rule files."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.rules.patterns import (
    Fault,
    Kind,
    compile_patterns,
    compile_regex,
    compile_template,
    literal_prefix,
)
from mirrorproxy.rules.schema import Regex


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        pytest.param("/orders", "/orders", True, id="plain: the same"),
        pytest.param("/orders", "/orders/1", False, id="plain: nothing below"),
        pytest.param("/api/**", "/api", True, id="two stars at the end: the path itself"),
        pytest.param("/api/**", "/api/", True, id="two stars at the end: the slash"),
        pytest.param("/api/**", "/api/v1/x", True, id="two stars at the end: all below"),
        pytest.param("/api/**", "/apis", False, id="two stars at the end: not beside"),
        pytest.param("/api/*", "/api/v1", True, id="a star: one segment"),
        pytest.param("/api/*", "/api/v1/x", False, id="a star: not two"),
        pytest.param("/api/*", "/api/", True, id="a star: an empty segment"),
        pytest.param("/a/**/b", "/a/b", True, id="two stars between: nothing"),
        pytest.param("/a/**/b", "/a/x/y/b", True, id="two stars between: segments"),
        pytest.param("/a/**/b", "/a/xb", False, id="two stars between: whole segments"),
        pytest.param("**/b", "/x/b", True, id="two stars in front"),
        pytest.param("/**", "/anything/at all", True, id="everything"),
        pytest.param("/v?/x", "/v1/x", True, id="a question mark: one character"),
        pytest.param("/v?/x", "/v//x", False, id="a question mark: no slash"),
        pytest.param("/a.b", "/axb", False, id="a dot is a dot"),
        pytest.param("/a*/c+d", "/ab/c+d", True, id="a plus is a plus"),
        pytest.param("/caf\xe9/*", "/caf\xe9/x", True, id="beyond ASCII"),
        pytest.param("/a/**/**", "/a", True, id="two stars twice"),
        pytest.param("/A/*", "/a/b", False, id="case counts"),
    ],
)
def test_a_glob_of_a_path(glob, path, fits):
    """A star stays in its segment, two stars do not."""
    assert compile_patterns(glob, Kind.PATH, ())(path) is fits


@pytest.mark.parametrize(
    ("glob", "text", "fits"),
    [
        pytest.param("*.example.com", "api.eu.example.com", True, id="a suffix"),
        pytest.param("*.example.com", "example.com", False, id="a suffix is not the whole"),
        pytest.param("api.*", "api.example.com", True, id="a prefix"),
        pytest.param("*exam*", "api.example.com", True, id="a part"),
        pytest.param("a*c*e", "abcde", True, id="several stars"),
        pytest.param("API.*", "api.example.com", True, id="case does not count"),
        pytest.param("a?c", "abc", True, id="a question mark"),
        pytest.param("*", "", True, id="anything"),
        pytest.param(["x", "y*"], "yes", True, id="either of a list"),
        pytest.param(["x", "y"], "z", False, id="none of a list"),
        pytest.param(Regex(r"^API\d$"), "api7", True, id="a regular expression, case aside"),
    ],
)
def test_a_glob_of_a_host_or_header_name(glob, text, fits):
    """A star is anything, and case does not count."""
    assert compile_patterns(glob, Kind.FOLDED, ())(text) is fits


@given(st.text(alphabet="ab/*?", min_size=1, max_size=8), st.text(alphabet="ab/", max_size=8))
def test_a_path_that_fits_begins_with_the_prefix(glob, path):
    """What the index of rules tells apart by prefix is told apart rightly."""
    if compile_patterns(glob, Kind.PATH, ())(path):
        assert path.startswith(literal_prefix(glob))


@pytest.mark.parametrize(
    ("regex", "prefix"),
    [
        pytest.param("^/api/v[0-9]/", "/api/v", id="up to the first special character"),
        pytest.param("^/apis?/", "/api", id="a quantifier takes the character before it"),
        pytest.param("^/api+", "/api", id="a plus needs its character"),
        pytest.param("/api", "", id="not anchored"),
        pytest.param("^/a|^/b", "", id="alternatives"),
        pytest.param("^/orders", "/orders", id="nothing special"),
        pytest.param(r"^/a\.b", "/a", id="an escape"),
    ],
)
def test_the_prefix_of_a_regular_expression(regex, prefix):
    """Only what every match must begin with."""
    assert literal_prefix(Regex(regex)) == prefix


@pytest.mark.parametrize(
    ("pattern", "at", "message"),
    [
        pytest.param(Regex("(a"), ("regex",), "not a regular expression of RE2: ", id="not closed"),
        pytest.param(Regex("(?=a)"), ("regex",), "not a regular", id="look-ahead"),
        pytest.param(Regex(r"(a)\1"), ("regex",), "not a regular", id="a back reference"),
        pytest.param(Regex("a" * 2001), ("regex",), "a regular expression of more", id="long"),
        pytest.param([], (), "an empty list matches nothing", id="an empty list"),
        pytest.param("", (), "an empty pattern", id="an empty glob"),
        pytest.param(["a", ""], (1,), "an empty pattern", id="an empty glob in a list"),
        pytest.param(
            Regex("((a{1,90}){1,90}){1,90}"), ("regex",), "not a regular", id="too large a program"
        ),
    ],
)
def test_a_bad_pattern_is_found_while_compiling(pattern, at, message):
    """The fault names the key it stands in."""
    with pytest.raises(Fault) as raised:
        compile_patterns(pattern, Kind.TEXT, ())
    assert raised.value.at == at
    assert raised.value.message.startswith(message)


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(Regex("(a+)+$"), id="nested repeats"),
        pytest.param(Regex("(a|a)*b"), id="alternatives that overlap"),
        pytest.param(Regex(".*a.*a.*a.*a.*a.*b"), id="many stars"),
        pytest.param("*a" * 20 + "b", id="a glob of many stars"),
    ],
)
def test_no_pattern_hangs(pattern):
    """What takes years in a backtracking engine takes a moment here."""
    test = compile_patterns(pattern, Kind.TEXT, ())
    started = time.process_time()
    assert not test("a" * 50_000 + "!")
    # Years against milliseconds: this tells the engines apart on any machine.
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        pytest.param("/v2/$1", "/v2/orders", id="a group"),
        pytest.param("$2-$1-$0", "7-orders-/orders/7", id="several, and all of it"),
        pytest.param("$$1", "$1", id="a dollar"),
        pytest.param("/x", "/x", id="nothing to fill"),
    ],
)
def test_a_template_is_filled_with_groups(template, filled):
    """Groups go in by number."""
    pattern = compile_regex("^/([a-z]+)/([0-9]+)$", (), capture=True)
    match = pattern.search(b"/orders/7")
    assert match is not None
    assert compile_template(template, 2, ())(match).decode() == filled


@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param("$3", "$3 is a group that the pattern does not have", id="no such group"),
        pytest.param("a$", "$ stands before a group's number", id="a lone dollar"),
        pytest.param("${1}", "$ stands before a group's number", id="braces"),
    ],
)
def test_a_bad_template_is_found_while_compiling(template, message):
    """A group that does not exist is no surprise in the middle of a replay."""
    with pytest.raises(Fault) as raised:
        compile_template(template, 2, ("to",))
    assert raised.value.message.startswith(message)
