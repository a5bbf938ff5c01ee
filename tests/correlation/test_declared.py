"""What a rule file declares to be learned and used, and what it may not."""

from __future__ import annotations

import pytest
from correlated import Correlated
from rulekit import rules_from

from mirrorproxy.errors import ConfigError
from mirrorproxy.replay.correlate import Correlation

HEAD = "version: 1\ntargets:\n  staging: {url: 'https://staging.example.com'}\nrules:\n"
RULE = HEAD + "- {name: all, send: {}, learn: [%s], use: [%s]}\n"


def correlated(learn: str, use: str) -> Correlated:
    """A correlation by a rule that takes everything."""
    return Correlated(Correlation(rules=rules_from(RULE % (learn, use)).correlated))


@pytest.mark.parametrize(
    ("learn", "produced", "answered"),
    [
        pytest.param("{from: response.json, path: $.receipt.no, as: it}",
                     {"receipt": {"no": 42}}, {"receipt": {"no": 77}}, id="json"),
        pytest.param("{from: response.json, path: '$.all[*]', as: it}",
                     {"all": [41, 42]}, {"all": [76, 77]}, id="several"),
        pytest.param("{from: response.text, regex: 'no=([0-9]+);', as: it}",
                     b"ok no=42;", b"ok no=77;", id="text"),
    ],
)  # fmt: skip
def test_bodies(learn, produced, answered):
    one = correlated(learn, "{in: path, path: '/receipts/{it}'}")
    one.teach("POST", "/checkout", produced, answered, rule="all")
    assert one.path("/receipts/42", rule="all") == "/receipts/77"
    assert one.path("/receipts/42/lines", rule="all") == "/receipts/42/lines"


@pytest.mark.parametrize(
    ("learn", "name", "produced", "answered"),
    [
        ("{from: response.header, name: x-basket, as: it}", "X-Basket", "42", "77"),
        ("{from: response.header, name: X-Basket, regex: 'b=([0-9]+)', as: it}",
         "X-Basket", "a=1, b=42", "a=2, b=77"),
        ("{from: response.cookie, name: basket, as: it}",
         "Set-Cookie", "basket=42; Path=/", "basket=77; Path=/"),
    ],
)  # fmt: skip
def test_headers_and_cookies(learn, name, produced, answered):
    one = correlated(learn, "{in: query, name: b, as: it}")
    one.teach(
        "POST", "/x", None, None, rule="all",
        produced_headers=[(name, produced)], answered_headers=[(name, answered)],
    )  # fmt: skip
    assert one.path("/x?a=42&b=42", rule="all") == "/x?a=42&b=77"


@pytest.mark.parametrize(
    ("use", "kind", "body", "sent"),
    [
        ("{in: json, path: '$.l[1].qty', as: it}", "application/json",
         '{"l": [{"qty":42},{"qty":42, "n":42}]}', '{"l": [{"qty":42},{"qty":77, "n":42}]}'),
        ("{in: json, path: '$..origin', as: it}", "application/json",
         '{"a":[[{"origin":"42"}]],"b":42}', '{"a":[[{"origin":"77"}]],"b":42}'),
        ("{in: json, path: '$[1]', as: it}", "application/json", "[42,42]", "[42,77]"),
        ("{in: form, name: q, as: it}", "application/x-www-form-urlencoded",
         "p=42&q=42", "p=42&q=77"),
    ],
)  # fmt: skip
def test_uses_in_bodies(use, kind, body, sent):
    one = correlated("{from: response.json, path: $.no, as: it}", use)
    one.teach("POST", "/x", {"no": 42}, {"no": 77}, rule="all")
    headers = [("Content-Type", kind)]
    got = one.sent("POST", "/x", headers=headers, body=body.encode(), rule="all")
    assert got.body.decode() == sent


@pytest.mark.parametrize(
    ("use", "header", "sent"),
    [
        ("{in: header, name: X-Any, as: it}", ("X-Any", "42"), "77"),
        ("{in: cookie, name: b, as: it}", ("Cookie", "a=42; b=42"), "a=42; b=77"),
    ],
)
def test_uses_in_headers(use, header, sent):
    one = correlated("{from: response.json, path: $.no, as: it}", use)
    one.teach("POST", "/x", {"no": 42}, {"no": 77}, rule="all")
    assert dict(one.sent("GET", "/x", headers=[header], rule="all").headers)[header[0]] == sent


def test_what_is_declared_comes_before_what_is_found():
    one = correlated(
        "{from: response.json, path: $.ticket, as: ticket}",
        "{in: path, path: '/orders/{ticket}'}",
    )
    one.teach("POST", "/orders", {"id": 42, "ticket": 42}, {"id": 77, "ticket": 99}, rule="all")
    assert one.path("/orders/42", rule="all") == "/orders/99"
    assert one.path("/orders/42/items", rule="all") == "/orders/77/items"


def test_a_rule_can_stay_out():
    rules = rules_from(
        HEAD + "- {name: out, match: {path: /out}, send: {}, correlate: false}\n"
        "- {name: in, send: {}}\n"
    )
    one = Correlated(Correlation(rules=rules.correlated))
    one.teach("POST", "/orders", {"id": 42}, {"id": 77}, rule="out")
    assert one.path("/orders/42", rule="in") == "/orders/42"
    one.teach("POST", "/orders", {"id": 42}, {"id": 77}, rule="in")
    assert one.path("/orders/42", rule="in") == "/orders/77"
    assert one.path("/orders/42", rule="out") == "/orders/42"


def test_a_file_can_stay_out_but_for_some():
    rules = rules_from(
        "defaults: {correlate: false}\n" + HEAD + "- {name: a, send: {}, match: {path: /a}}\n"
        "- {name: b, send: {}, correlate: true}\n"
    )
    assert {name: one.is_on for name, one in rules.correlated.items()} == {"a": False, "b": True}


@pytest.mark.parametrize(
    ("rule", "message", "key"),
    [
        ("learn: {from: response.json, as: a}", "from: response.json needs path", "learn[0]"),
        ("learn: {from: response.json, path: id, as: a}", "it begins with $", "learn[0].path"),
        ("learn: {from: response.json, path: $.a, name: b, as: a}", "means nothing",
         "learn[0].name"),
        ("learn: {from: response.text, regex: '(a)(b)', as: a}", "one group", "learn[0].regex"),
        ("learn: {from: response.text, regex: '(', as: a}", "not a regular expression",
         "learn[0].regex"),
        ("learn: {from: response.cookie, name: a, as: 'a b'}", "expected a name", "learn[0].as"),
        ("use: {in: query, as: a}", "in: query needs name", "use[0]"),
        ("use: {in: query, name: a}", "as is missing", "use[0]"),
        ("use: {in: json, name: a, path: $.a, as: a}", "in: json has no name", "use[0]"),
        ("use: {in: path, path: /orders/x}", "names no value", "use[0].path"),
        ("use: {in: path, path: '/orders/a{b}'}", "a whole segment", "use[0].path"),
        ("use: {in: path, path: '/{a}', as: b}", "names values", "use[0]"),
        ("correlate: false, use: {in: path, path: '/{a}'}", "correlate: false", "use"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line_and_key(rule, message, key):
    with pytest.raises(ConfigError) as caught:
        rules_from(HEAD + f"- {{name: all, send: {{}}, {rule}}}\n")
    assert message in str(caught.value)
    assert caught.value.key == f"rules[0].{key}"
    assert caught.value.line == 5


def test_what_is_skipped_teaches_nothing():
    with pytest.raises(ConfigError, match="nothing is sent"):
        rules_from(HEAD + "- {name: a, skip: true, learn: {from: response.json, path: $, as: a}}\n")
