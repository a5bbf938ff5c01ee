"""The index never changes which rule takes a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rulekit import exchange

from mirrorproxy.rules.facts import Facts
from mirrorproxy.rules.match import compile_match
from mirrorproxy.rules.patterns import literal_start
from mirrorproxy.rules.ruleset import compile_rules
from mirrorproxy.rules.schema import Match, Regex, Rule, RuleFile

SEGMENTS = st.sampled_from(["a", "ab", "b", "", "v1"])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts))
GLOBS = st.lists(SEGMENTS | st.sampled_from(["*", "**", "a*", "?"]), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
PATTERNS = GLOBS | st.sampled_from(
    ["^/a", "^/a/v[0-9]", "b$", "^/a|b", "(?i)A", "^/ab?", "/a"]
).map(Regex)


@given(st.lists(PATTERNS, min_size=1, max_size=12), st.lists(PATHS, max_size=8))
def test_the_first_that_fits_decides(patterns, paths):
    """As if every rule was asked in turn."""
    rules = [Rule(f"r{n}", Match(path=one), skip=True) for n, one in enumerate(patterns)]
    compiled = compile_rules(RuleFile(version=1, rules=rules))
    tests = [compile_match(rule.match) for rule in rules]
    for path in [*paths, "*"]:
        one = exchange(target=path)
        wanted = next((f"r{n}" for n, test in enumerate(tests) if test.takes(Facts(one))), None)
        assert compiled.decide(one).rule == wanted


@pytest.mark.parametrize(
    ("regex", "start"),
    [
        ("^/api/v[0-9]", "/api/v"),
        ("/thing/(export|import)", "/thing/"),
        ("/a|/b", ""),
        ("(/a|/b)", ""),
        ("/ab?", "/a"),
        ("^a*", ""),
        ("?", ""),
        (r"/a\|[b|]|/c", ""),
        (r"\Q(\E|b", ""),
        ("/x[)]|b", ""),
        ("", ""),
        ("^", ""),
    ],
)
def test_what_a_regular_expression_begins_with(regex, start):
    """Known only where nothing else can be."""
    assert literal_start(regex) == start
