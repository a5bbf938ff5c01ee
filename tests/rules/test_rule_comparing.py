"""What rules say of the comparison with production."""

from __future__ import annotations

import pytest

from mirrorproxy.commands.check import described
from mirrorproxy.rules.comparing import EVERYTHING, Comparing, compile_compare
from mirrorproxy.rules.patterns import Fault
from mirrorproxy.rules.ruleset import compile_rules
from mirrorproxy.rules.schema import Compare, Defaults, Rule, RuleFile, Send, Target


@pytest.mark.parametrize(
    ("rule", "path", "is_ignored"),
    [
        ("$.a", ["a"], True),
        ("$.a", ["b"], False),
        ("$.a", ["a", "b", 0, "c"], True),
        ("$.a.b", ["a"], False),
        ("$", ["anything"], True),
        ("$.a[*].b", ["a", 7, "b"], True),
        ("$.a[*].b", ["a", "x", "b"], True),
        ("$.a[0]", ["a", 0], True),
        ("$.a[0]", ["a", 1], False),
        ("$.a[-1]", ["a", 5], True),
        ("$..id", ["a", 0, "b", "id"], True),
        ("$..id", ["id"], True),
        ("$..id", ["a", 0, "ids"], False),
        ("$..meta.took", ["meta", "x", "meta", "took"], True),
        ("$..meta.took", ["meta", "x", "took"], False),
        ("$.*", ["a"], True),
        ("$['a b']", ["a b"], True),
    ],
)
def test_paths_that_are_left_out(rule, path, is_ignored):
    """With all that is below them."""
    comparing = compile_compare(Compare(ignore=[rule]), EVERYTHING, ())
    assert comparing.ignores(path) is is_ignored


def test_many_descents_do_not_explode():
    """A rule's path is tried at each place once, whatever it is made of."""
    comparing = compile_compare(Compare(ignore=["$" + "..a" * 100 + ".b"]), EVERYTHING, ())
    assert not comparing.ignores(["a"] * 1000)


@pytest.mark.parametrize(
    ("compare", "at"),
    [
        (Compare(ignore=["a"]), ("ignore", 0)),
        (Compare(ignore=["$.a", "$.a[?(@.b)]"]), ("ignore", 1)),
        (Compare(ignore=["header: "]), ("ignore", 0)),
        (Compare(headers=["X Y"]), ("headers", 0)),
        (Compare(probe=["post"]), ("probe", 0)),
    ],
)
def test_mistakes_are_named(compare, at):
    """Before anything is sent."""
    with pytest.raises(Fault) as error:
        compile_compare(compare, EVERYTHING, ())
    assert error.value.at == at


def test_a_rule_adds_to_the_defaults():
    """What is switched off for all can be switched on for one."""
    file = RuleFile(
        version=1,
        targets={"t": Target(url="http://t")},
        defaults=Defaults(unmatched="send", compare=Compare(ignore=["$.a", "header:ETag"])),
        rules=[
            Rule(name="more", send=Send(), compare=Compare(headers=["X-A"], probe=["POST"])),
            Rule(name="off", send=Send(), compare=False),
            Rule(name="same", send=Send()),
            Rule(name="skipped", skip=True),
        ],
    )
    rules = compile_rules(file)
    assert [described(one) for one in rules.decisions][1:3] == [
        "send to t; not compared",
        "send to t",
    ]
    found = rules.comparing
    defaults = found[None]
    assert (len(defaults.paths), defaults.ignored) == (1, {"etag"})
    assert found["same"] == defaults
    assert found["off"] == defaults._replace(is_off=True)
    assert found["more"] == Comparing(
        defaults.paths,
        frozenset({"x-a"}),
        frozenset({"etag"}),
        False,
        frozenset({"GET", "HEAD", "POST"}),
    )
    assert found["skipped"] == EVERYTHING


def test_what_is_skipped_is_not_compared():
    """Saying how is a mistake."""
    file = RuleFile(version=1, rules=[Rule(name="a", skip=True, compare=True)])
    with pytest.raises(Fault, match="nothing is compared"):
        compile_rules(file)
