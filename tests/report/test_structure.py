"""What differs in two structures has a path, and values stay out of it."""

from __future__ import annotations

import time

import msgspec
import pytest

from mirrorproxy.report.body_diff import compare_bodies
from mirrorproxy.report.structure import MAX_DIFFERENCES, Walk

MARK = "{h1:3f9a:5f0c61d25f0c61d25f0c61d25f0c61d2}"
NO_MOMENTS = (0.0, 0.0)


def walked(production: object, target: object, ignores=None) -> Walk:
    """Compare two values."""
    walk = Walk(None, ignores, NO_MOMENTS)
    walk.compare(production, target)
    return walk


def bodies(kind: str, production: str, target: str) -> dict[str, str]:
    """Return what differs in two bodies."""
    walk = Walk(None, None, NO_MOMENTS)
    compare_bodies(walk, kind, production.encode(), target.encode())
    return walk.differences


@pytest.mark.parametrize(
    ("production", "target", "differences"),
    [
        pytest.param({"a": 1}, {"a": 1.0}, {}, id="one number in two forms"),
        pytest.param({"price": 9.5}, {"price": 9.9}, {"$.price": "changed"}, id="a number"),
        pytest.param({"a": "x"}, {"a": "y"}, {"$.a": "changed"}, id="a text"),
        pytest.param({"a": True}, {"a": False}, {"$.a": "changed"}, id="a truth"),
        pytest.param({"a": True}, {"a": 1}, {"$.a": "type changed"}, id="a truth became a number"),
        pytest.param({"a": 1}, {"a": "1"}, {"$.a": "type changed"}, id="a number became text"),
        pytest.param({"a": 1}, {"a": None}, {"$.a": "type changed"}, id="a number became null"),
        pytest.param({"a": {}}, {"a": []}, {"$.a": "type changed"}, id="an object became a list"),
        pytest.param({"a": 1}, {}, {"$.a": "missing"}, id="missing"),
        pytest.param({}, {"a": 1}, {"$.a": "added"}, id="added"),
        pytest.param({"a": 1}, {"b": 1}, {"$.a": "missing", "$.b": "added"}, id="renamed"),
        pytest.param([1, 2], [1], {"$": "length changed"}, id="another length"),
        pytest.param(
            {"n": [3, 1, 2]}, {"n": [1, 2, 3]}, {"$.n": "order changed"}, id="another order"
        ),
        pytest.param(
            {"n": [{"a": 1}, {"a": 2}]},
            {"n": [{"a": 3}, {"a": 4}]},
            {"$.n[*].a": "changed"},
            id="items have one path",
        ),
        pytest.param({"a b": 1}, {"a b": 2}, {"$['a b']": "changed"}, id="a name with a space"),
        pytest.param(
            {"\x1b[2J": 1}, {"\x1b[2J": 2}, {"$['\\x1b[2J']": "changed"}, id="not printable"
        ),
        pytest.param({"17": {"n": 1}}, {"17": {"n": 2}}, {"$.*.n": "changed"}, id="a map by ids"),
        pytest.param({"x9K2mQ7pL4vB8nR1": 1}, {}, {"$.*": "missing"}, id="a name like a secret"),
        pytest.param({"17": {"n": 1}}, {"99": {"n": 1}}, {}, id="a map by other ids"),
        pytest.param(
            {"17": {"n": 1}}, {"99": {"n": 2}}, {"$.*.n": "changed"}, id="and what is in it"
        ),
        pytest.param({"pin": MARK}, {"pin": 1234}, {}, id="a secret may be a number"),
        pytest.param(
            {"pin": MARK}, {"pin": {"a": 1}}, {"$.pin": "type changed"}, id="but no object"
        ),
    ],
)
def test_differences(production, target, differences):
    """Each has its path and its kind."""
    assert walked(production, target).differences == differences


def test_an_order_that_changed_hides_nothing_beside_it():
    """The same field may differ for good in the next item."""
    ours = [{"tags": [{"k": 1}, {"k": 2}]}, {"tags": [{"k": 1}, {"k": 2}]}]
    theirs = [{"tags": [{"k": 2}, {"k": 1}]}, {"tags": [{"k": 1}, {"k": 9}]}]
    assert walked(ours, theirs).differences == {
        "$[*].tags": "order changed",
        "$[*].tags[*].k": "changed",
    }


def test_names_are_bounded():
    """A stranger's key must not fill the page."""
    (path,) = walked({"k" * 5000: 1}, {"k" * 5000: 2}).differences
    assert len(path) < 60


def test_so_many_differences_are_kept():
    """What differs everywhere is another answer."""
    walk = walked({f"k{n}": 1 for n in range(500)}, {f"k{n}": 2 for n in range(500)})
    assert len(walk.differences) == MAX_DIFFERENCES
    assert walk.is_cut


def test_what_is_ignored_is_noise():
    """And said to be declared."""
    walk = walked({"a": {"b": 1}}, {"a": {"b": 2}}, ignores=lambda path: path[:1] == ["a"])
    assert walk.differences == {}
    assert walk.noise == {"$.a.b": "declared"}


def test_it_is_linear():
    """Ten times the items take ten times as long, and no hundred times."""

    def took(count: int) -> float:
        one = [{"id": n, "tags": ["a", "b"], "n": n} for n in range(count)]
        other = [{"id": n + 7, "tags": ["b", "a"], "n": n + 1} for n in range(count)]
        best = 1e9
        for _ in range(3):
            started = time.process_time()
            walked(one, other)
            best = min(best, time.process_time() - started)
        return best

    assert took(4_000) < 50 * took(400) + 0.1


def test_what_is_nested_deeply_ends():
    """Neither the stack nor the time runs out."""
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    assert bodies("application/json", deep, deep.replace("1", "2")) == {"body": "changed"}
    one = msgspec.json.decode('{"a":' * 200 + "1" + "}" * 200)
    other = msgspec.json.decode('{"a":' * 200 + "2" + "}" * 200)
    assert walked(one, other).differences == {}


@pytest.mark.parametrize(
    ("kind", "production", "target", "differences"),
    [
        pytest.param("application/json", '{"a":1}', '{ "a" : 1 }', {}, id="JSON with spaces"),
        pytest.param(
            "application/problem+json", '{"a":1}', '{"a":2}', {"$.a": "changed"}, id="+json"
        ),
        pytest.param(
            "application/json", '{"a":1}', "<html>", {"body": "changed"}, id="no JSON any more"
        ),
        pytest.param(
            "application/json", '{"a":1}', "", {"body": "length changed"}, id="nothing any more"
        ),
        pytest.param(
            "application/xml", "<o><n>1</n></o>", "<o> <n>1</n> </o>", {}, id="XML with spaces"
        ),
        pytest.param(
            "text/xml", "<o><n>a</n></o>", "<o><n>b</n></o>", {"$.o.n": "changed"}, id="XML"
        ),
        pytest.param(
            "text/xml",
            '<o k="1"><n/></o>',
            '<o k="2"><n/></o>',
            {"$.o['@k']": "changed"},
            id="attribute",
        ),
        pytest.param(
            "text/xml",
            "<o><n>a</n></o>",
            "<o><n>a</n><n>b</n></o>",
            {"$.o.n": "length changed"},
            id="one element became two",
        ),
        pytest.param(
            "text/xml",
            '<!DOCTYPE o [<!ENTITY e "x">]><o>&e;</o>',
            "<o>y</o>",
            {"body": "changed"},
            id="entities are not expanded",
        ),
        pytest.param(
            "text/xml",
            '<?xml version="1.0" encoding="klingon"?><o/>',
            "<o>y</o>",
            {"body": "changed"},
            id="an encoding that nobody knows",
        ),
        pytest.param(
            "application/json",
            '{"a":' + "1" * 400 + "}",
            '{"a":' + "2" * 310 + ".5e9}",
            {"body": "changed"},
            id="a number that no float holds",
        ),
        pytest.param(
            "application/json",
            '{"a":' + "1" * 400 + "}",
            '{"a":' + "2" * 400 + "}",
            {},
            id="integers without end are ids",
        ),
        pytest.param(
            "application/x-www-form-urlencoded", "a=x&b=2", "b=2&a=y", {"$.a": "changed"}, id="form"
        ),
        pytest.param("text/plain", "one two", "one three", {"body": "changed"}, id="text"),
        pytest.param(
            "text/html",
            '<i v="5f0c61d25f0c61d2">',
            '<i v="9a7b61d25f0c6100">',
            {},
            id="a token in HTML",
        ),
        pytest.param(
            "application/octet-stream", "a\x00", "b\x00", {"body": "changed"}, id="anything else"
        ),
    ],
)
def test_bodies(kind, production, target, differences):
    """By what production's Content-Type says."""
    assert bodies(kind, production, target) == differences
