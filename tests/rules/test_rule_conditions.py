"""Matching on what a request came with: its body, its client, its credential, its time."""

from __future__ import annotations

import base64
import gzip

import pytest
from rulekit import BEARER, FINGERPRINT, SUBJECT, exchange, rules_from, with_bearer

from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.facts import BodyUnreadError, Facts
from mirrorproxy.rules.plan import plan

JSON = [("Content-Type", "application/json; charset=utf-8")]
AT_NOON_US = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z


def fits(match, one):
    text = (
        "version: 1\ntargets: {t: {url: 'http://t'}}\n"
        f"rules: [{{name: r, match: {match}, skip: true}}]"
    )
    return rules_from(text).decide(one).rule == "r"


def posted(body, headers=None, **request):
    return exchange("POST", "/orders", headers or JSON, body=body, body_encoding="utf8", **request)


@pytest.mark.parametrize(
    ("match", "is_taken"),
    [
        pytest.param("{content_type: application/json}", True, id="a type without parameters"),
        pytest.param("{content_type: APPLICATION/*}", True, id="any case, any glob"),
        pytest.param("{content_type: text/plain}", False, id="another type"),
        pytest.param("{json: {$.kind: gift}}", True, id="a value"),
        pytest.param("{json: {$.kind: [card, 'g*']}}", True, id="one of several"),
        pytest.param("{json: {$.total: '12.50'}}", True, id="a number as it is spelled"),
        pytest.param("{json: {$.test: false}}", True, id="not there"),
        pytest.param("{json: {$.kind: true}}", True, id="there"),
        pytest.param("{json: {$.kind: card}}", False, id="another value"),
        pytest.param("{json: {'$..sku': 'A-*'}}", True, id="at any depth"),
        pytest.param("{json: {$.kind: gift, $.total: 1}}", False, id="all paths must fit"),
        pytest.param("{not: {json: {$.kind: gift}}}", False, id="inside of not"),
    ],
)
def test_bodies(match, is_taken):
    """By type and by value."""
    body = '{"kind":"gift","total":12.50,"lines":[{"sku":"A-1"}]}'
    assert fits(match, posted(body)) is is_taken


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(posted("kind=gift"), id="a form"),
        pytest.param(exchange("POST", "/orders", JSON), id="no body"),
        pytest.param(
            exchange("POST", "/orders", [*JSON, ("Content-Encoding", "br")], body="AAAA",
                     body_encoding="base64"), id="compressed otherwise",
        ),
        pytest.param(exchange(body_ref="bodies/2026/03/01/12/" + "0" * 32), id="apart, unread"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_has_no_values(one):
    """It fits where a value must not be there, and nowhere else."""
    assert not fits("{json: {$.kind: true}}", one)
    assert fits("{json: {$.kind: false}}", one)


def test_a_compressed_body_is_looked_into():
    """gzip and deflate."""
    packed = base64.b64encode(gzip.compress(b'{"kind":"gift"}')).decode()
    one = exchange(
        "POST", "/", [*JSON, ("Content-Encoding", "gzip")], body=packed, body_encoding="base64"
    )
    assert fits("{json: {$.kind: gift}}", one)


@pytest.mark.parametrize(
    ("match", "is_taken"),
    [
        pytest.param("{credential: {}}", True, id="any credential"),
        pytest.param("{credential: false}", False, id="none"),
        pytest.param("{credential: {in: header, name: authorization, scheme: bearer}}", True,
                     id="place, name and scheme"),
        pytest.param("{credential: {in: cookie}}", False, id="another place"),
        pytest.param(f"{{credential: {{subject: '{SUBJECT}'}}}}", True, id="the user"),
        pytest.param(f"{{credential: {{fingerprint: '{FINGERPRINT}'}}}}", True, id="the secret"),
        pytest.param("{credential: {claim: {iss: 'https://*', aud: users}}}", True, id="claims"),
        pytest.param("{credential: {claim: {level: [2, 3]}}}", True, id="numbers"),
        pytest.param("{credential: {claim: {level: '3'}}}", True, id="a number as text"),
        pytest.param("{credential: {claim: {azp: false}}}", True, id="a claim that is not there"),
        pytest.param("{credential: {claim: {iss: other}}}", False, id="another claim"),
        pytest.param("{credential: {user: ann}}", False, id="no user name"),
    ],
)  # fmt: skip
def test_credentials(match, is_taken):
    """By what capture tells of the secret."""
    assert fits(match, with_bearer()) is is_taken


def test_one_credential_has_to_fit_alone():
    """Not the place of one and the name of another."""
    cookie = BEARER.__class__("cookie", "sid", FINGERPRINT)
    one = exchange(credentials=[BEARER, cookie])
    assert fits("{credential: {in: cookie, name: sid}}", one)
    assert not fits("{credential: {in: header, name: sid}}", one)


@pytest.mark.parametrize(
    ("client", "is_taken"),
    [
        pytest.param("203.0.113.7", True, id="inside"),
        pytest.param("203.0.114.1", False, id="outside"),
        pytest.param("::ffff:203.0.113.9", True, id="IPv4 behind a listener for both"),
        pytest.param("2001:db8::1", True, id="IPv6"),
        pytest.param("", False, id="unknown"),
        pytest.param("unix:", False, id="no address"),
    ],
)
def test_clients(client, is_taken):
    """By network."""
    match = "{client: [203.0.113.0/24, '2001:db8::/32']}"
    assert fits(match, exchange(client=client)) is is_taken


@pytest.mark.parametrize(
    ("size", "is_taken"),
    [
        pytest.param("{min: 1KiB}", True, id="at least"),
        pytest.param("{max: 1023}", False, id="at most"),
        pytest.param("{min: 1KiB, max: 1KiB}", True, id="both ends are in"),
        pytest.param("{min: 1025}", False, id="too small"),
    ],
)
def test_sizes(size, is_taken):
    """Of the body on the wire."""
    one = exchange(body_ref="bodies/2026/03/01/12/" + "0" * 32, body_bytes=1024)
    assert fits(f"{{size: {size}}}", one) is is_taken


@pytest.mark.parametrize(
    ("time", "is_taken"),
    [
        pytest.param("{from: '2026-03-01T12:00:00Z'}", True, id="from then on"),
        pytest.param("{from: '2026-03-01T12:00:01Z'}", False, id="not before"),
        pytest.param("{until: '2026-03-01T12:00:00Z'}", False, id="the end is out"),
        pytest.param("{until: '2026-03-01T13:00:01+01:00'}", True, id="in another zone"),
        pytest.param("{daily: '12:00-12:01'}", True, id="a time of day"),
        pytest.param("{daily: '22:00-06:00'}", False, id="over midnight, outside"),
        pytest.param("{daily: '11:00-02:00'}", True, id="over midnight, inside"),
        pytest.param("{daily: '06:00-12:00'}", False, id="the end of the day's window is out"),
    ],
)
def test_times(time, is_taken):
    """When it was captured."""
    one = exchange()
    one.started_us = AT_NOON_US
    assert fits(f"{{time: {time}}}", one) is is_taken


@pytest.mark.parametrize(
    ("match", "key"),
    [
        ("{client: 10.0.0.1/8}", "match.client"),
        ("{client: []}", "match.client"),
        ("{client: [10.0.0.0/8, here]}", r"match.client\[1\]"),
        ("{size: {}}", "match.size"),
        ("{size: {min: 2, max: 1}}", "match.size.max"),
        ("{size: {min: lots}}", "match.size.min"),
        ("{time: {}}", "match.time"),
        ("{time: {from: '2026-03-01'}}", "match.time.from"),
        ("{time: {from: '2026-03-01T00:00:00'}}", "match.time.from"),
        (
            "{time: {from: '2026-03-02T00:00:00Z', until: '2026-03-01T00:00:00Z'}}",
            "match.time.until",
        ),
        ("{time: {daily: '25:00-26:00'}}", "match.time.daily"),
        ("{json: {kind: gift}}", "match.json.kind"),
        ("{json: {$.a: []}}", r"match.json.\$.a"),
        ("{credential: true}", "match.credential"),
        ("{credential: {place: header}}", "match.credential.place"),
        ("{content_type: []}", "match.content_type"),
    ],
)
def test_mistakes_name_their_key(match, key):
    """With the line, before anything is sent."""
    with pytest.raises(ConfigError, match=rf"rules.yaml:3: rules\[0\].{key}:"):
        fits(match, exchange())


def test_a_body_that_lies_apart_is_read_for_rules_that_look_at_it():
    """By others never."""
    text = (
        "version: 1\ntargets: {t: {url: 'http://t'}}\nrules:\n"
        "- {name: health, match: {path: /health}, skip: true}\n"
        "- {name: gifts, match: {path: /orders, json: {$.kind: gift}}, skip: true}\n"
        "- {name: rest, send: {}}\n"
    )
    rules = rules_from(text)
    read = []

    def read_body(ref):
        read.append(ref)
        return b'{"kind":"gift"}'

    ref = "bodies/2026/03/01/12/" + "0" * 32
    for target in ("/health", "/users"):
        one = exchange("POST", target, JSON, body_ref=ref)
        assert plan(one, rules, "s", "r", read_body=read_body).rule in ("health", "rest")
    assert read == []
    one = exchange("POST", "/orders", JSON, body_ref=ref)
    assert plan(one, rules, "s", "r", read_body=read_body).rule == "gifts"
    assert read == [ref]


def test_a_body_that_cannot_be_read_decides_nothing():
    """A later rule might send what this one would have kept back."""

    def read_body(_ref):
        raise BodyUnreadError

    rules = rules_from(
        "version: 1\ntargets: {t: {url: 'http://t'}}\nrules:\n"
        "- {name: gifts, match: {json: {$.kind: gift}}, skip: true}\n"
        "- {name: rest, send: {}}\n"
    )
    one = exchange("POST", "/orders", JSON, body_ref="bodies/2026/03/01/12/" + "0" * 32)
    assert plan(one, rules, "s", "r", read_body=read_body).skipped == "body unreadable"


def test_a_body_is_decoded_once():
    """However many rules look at it."""
    calls = []

    def read_body(ref):
        calls.append(ref)
        return b"{}"

    facts = Facts(exchange(body_ref="bodies/2026/03/01/12/" + "0" * 32), read_body)
    assert (facts.body, facts.body, len(calls)) == (b"{}", b"{}", 1)
