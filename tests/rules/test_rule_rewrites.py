"""Rewrites: what becomes of each part of a request, and of bodies that can't be rewritten."""

from __future__ import annotations

import base64
import gzip
import zlib

import pytest
from rulekit import MARK, exchange, rules_from, sending, with_bearer

from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.plan import plan, with_body

JSON = [("Content-Type", "application/json")]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
REF = "bodies/2026/03/01/12/" + "0" * 32


def planned(one, rewrite, send="", **options):
    rules = rules_from(sending("", f", rewrite: {rewrite}").replace("{target: staging}",
                       f"{{target: staging{send}}}"))  # fmt: skip
    return plan(one, rules, "seed", "run7", **options)


def shot_of(one, rewrite, **options):
    (shot,) = planned(one, rewrite, **options).shots
    return shot


def posted(body, headers, **more):
    return exchange("POST", "/orders", headers, body=body, body_encoding="utf8", **more)


def packed(data, coding):
    headers = [*JSON, ("Content-Encoding", coding)]
    text = base64.b64encode(data).decode()
    return exchange("POST", "/orders", headers, body=text, body_encoding="base64")


@pytest.mark.parametrize(
    ("target", "rewrite", "path"),
    [
        pytest.param("/a?x=1&y=2&x=3", "{remove: x}", "/a?y=2", id="taken out, all of them"),
        pytest.param("/a?x=1", "{remove: x}", "/a", id="none is left"),
        pytest.param("/a?utm_a=1&b=2", "{remove: [utm_*]}", "/a?b=2", id="by glob"),
        pytest.param("/a?q=%20x&r", "{rename: {q: query}}", "/a?query=%20x&r", id="renamed"),
        pytest.param("/a?x=1&y=2&x=3", "{set: {x: 'é &'}}", "/a?x=%C3%A9+%26&y=2", id="set once"),
        pytest.param("/a", "{set: {x: '1'}}", "/a?x=1", id="added"),
        pytest.param("/a?%78=1", "{remove: x}", "/a", id="names are compared decoded"),
        pytest.param("/a?b=%2f&c=+", "{set: {d: ''}}", "/a?b=%2f&c=+&d=", id="others stay"),
    ],
)
def test_the_query(target, rewrite, path):
    """By name; what is not named stays byte for byte."""
    assert shot_of(exchange(target=target), f"{{query: {rewrite}}}").path == path


@pytest.mark.parametrize(
    ("cookies", "rewrite", "sent"),
    [
        pytest.param(["a=1; b=2"], "{remove: a}", ["b=2"], id="taken out"),
        pytest.param(["a=1"], "{remove: '*'}", [], id="the header goes with the last"),
        pytest.param(["a=1; b=2"], "{rename: {a: c}}", ["c=1; b=2"], id="renamed"),
        pytest.param(["a=1; b=2; a=3"], "{set: {a: x}}", ["a=x; b=2"], id="set once"),
        pytest.param([], "{set: {a: x}}", ["a=x"], id="added with its header"),
        pytest.param(["b=1", "c=2"], "{set: {a: x}}", ["b=1; a=x", "c=2"], id="added"),
        pytest.param([f"sid={MARK}; b=2"], "{set: {sid: x}}", ["sid=x; b=2"], id="a sealed one"),
    ],
)
def test_cookies(cookies, rewrite, sent):
    """By name, case included."""
    shot = shot_of(
        exchange(headers=[("Cookie", one) for one in cookies]), f"{{cookies: {rewrite}}}"
    )
    assert [value for name, value in shot.headers if name == "Cookie"] == sent


def test_headers_are_renamed():
    """With their values and in their place; case of the old name does not count."""
    one = exchange(headers=[("x-tenant", "acme"), ("Accept", "*/*")])
    shot = shot_of(one, "{headers: {rename: {X-Tenant: X-Org}}}")
    assert shot.headers[1:3] == [("X-Org", "acme"), ("Accept", "*/*")]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        pytest.param("https://staging", ("http", "staging", 80), id="the default port follows"),
        pytest.param("https://staging:8443", ("http", "staging", 8443), id="another port stays"),
        pytest.param("http://staging", ("http", "staging", 80), id="it was that already"),
    ],
)
def test_the_scheme(url, origin):
    """Of the connection. The guard is told of such places, too."""
    text = sending("", ", rewrite: {scheme: http}").replace("https://staging.example.com", url)
    rules = rules_from(text)
    (shot,) = plan(exchange(), rules, "seed", "run").shots
    assert shot.origin == origin
    assert origin in rules.origins(rules.targets["staging"])


@pytest.mark.parametrize(
    ("rewrite", "body"),
    [
        pytest.param("{json: {path: $.email, set: x}}", '{"email":"x","n":1.10}', id="set"),
        pytest.param("{json: {path: $.n, set: {a: [1, null]}}}",
                     '{"email":"e","n":{"a": [1, null]}}', id="to anything"),
        pytest.param("{json: [{path: $.email, remove: true}]}", '{"n":1.10}', id="taken out"),
        pytest.param("{json: {path: $.new, set: é, create: true}}",
                     '{"email":"e","n":1.10,"new":"é"}', id="added"),
        pytest.param("{json: {path: $.new, set: 1}}", '{"email":"e","n":1.10}', id="not added"),
        pytest.param("{body: {from: '\"e\"', to: '\"$$\"'}}", '{"email":"$","n":1.10}', id="text"),
        pytest.param("{json: {path: $.email, set: a}, body: {from: a, to: b}}",
                     '{"embil":"b","n":1.10}', id="text comes after JSON"),
    ],
)  # fmt: skip
def test_bodies(rewrite, body):
    """Content-Length follows."""
    shot = shot_of(posted('{"email":"e","n":1.10}', JSON), rewrite)
    assert shot.body.decode() == body
    assert shot.body_length == len(body.encode())


def test_forms():
    """Alike the query."""
    shot = shot_of(
        posted("email=a%40b&x=1&y=%2f", FORM),
        "{form: {set: {email: c@d}, remove: x, rename: {y: z}}, json: {path: $.email, set: 1}}",
    )
    assert shot.body == b"email=c%40d&z=%2f"


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(("gzip", gzip.compress, gzip.decompress), id="gzip"),
        pytest.param(("deflate", zlib.compress, zlib.decompress), id="deflate"),
    ],
)
def test_compressed_bodies_stay_compressed(pack):
    """So that Content-Encoding stays true; what was not changed keeps its bytes."""
    coding, compress, decompress = pack
    data = compress(b'{"email":"e"}')
    shot = shot_of(packed(data, coding), "{json: {path: $.email, set: x}}")
    assert decompress(shot.body) == b'{"email":"x"}'
    assert ("Content-Encoding", coding) in shot.headers
    assert shot.body_length == len(shot.body)
    assert shot_of(packed(data, coding), "{json: {path: $.none, set: x}}").body == data


@pytest.mark.parametrize(
    ("one", "rewrite", "reason"),
    [
        pytest.param(posted("a=1", FORM), "{json: {path: $.a, set: 1}}", "body not JSON",
                     id="form"),
        pytest.param(posted("{", JSON), "{json: {path: $.a, set: 1}}", "body not JSON",
                     id="damaged"),
        pytest.param(posted("{}", JSON), "{form: {remove: a}}", "body not a form", id="JSON"),
        pytest.param(posted("{", JSON), "{shift: {json: [$.a]}}", "body not JSON", id="times"),
        pytest.param(packed(b"\xff\xfe", "identity"), "{body: {from: a, to: b}}", "body not text",
                     id="binary"),
        pytest.param(packed(b"xx", "br"), "{body: {from: a, to: b}}", "body compressed", id="br"),
        pytest.param(packed(b"xx", "gzip"), "{body: {from: a, to: b}}", "body compressed",
                     id="not gzip at all"),
        pytest.param(packed(gzip.compress(b"{}" * 99)[:-9], "gzip"), "{body: {from: a, to: b}}",
                     "body compressed", id="cut"),
        pytest.param(packed(gzip.compress(gzip.compress(b"{}")), "gzip, gzip"),
                     "{json: {path: $.a, set: 1}}", "body compressed", id="twice"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_rewritten_is_not_sent(one, rewrite, reason):
    """Counted by reason; never sent as it was, never by half."""
    assert planned(one, rewrite).skipped == reason
    one.request.body_ref, body = REF, one.request.body
    one.request.body = None
    data = base64.b64decode(body) if one.request.body_encoding == "base64" else body.encode()
    one.request.body_encoding = None
    (shot,) = planned(one, rewrite).shots
    assert with_body(shot, data) == reason


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(gzip.compress(bytes(65 << 20), 1), id="one"),
        pytest.param(gzip.compress(bytes(64 << 20), 1) + gzip.compress(b"x"), id="of two members"),
    ],
)
def test_a_bomb_is_not_unpacked(bomb):
    """No more than any body may be."""
    one = exchange(headers=[*JSON, ("Content-Encoding", "gzip")], body_ref=REF)
    shot = shot_of(one, "{json: {path: $.a, set: 1}}")
    assert with_body(shot, bomb) == "body compressed"


def test_what_has_no_body_is_sent():
    """There is nothing to rewrite."""
    assert shot_of(exchange(), "{json: {path: $.a, set: 1}}").body == b""


def test_a_body_apart_is_rewritten_when_it_is_read():
    """After credentials were put in."""
    one = exchange("POST", "/orders", JSON, body_ref=REF)
    shot = with_body(shot_of(one, "{json: {path: $.email, set: x}}"), b'{"email":"real"}')
    assert (shot.body, shot.body_length) == (b'{"email":"x"}', 13)


def test_what_is_sealed_is_never_sent_though_the_rest_is_rewritten():
    """A rewrite of the sealed value itself lets it go."""
    one = posted(f'{{"password":"{MARK}","a":1}}', JSON)
    assert planned(one, "{json: {path: $.a, set: 2}}").skipped == "no credential"
    shot = shot_of(one, "{json: {path: $.password, set: pw}}")
    assert shot.body == b'{"password":"pw","a":1}'


@pytest.mark.parametrize(
    ("rewrite", "key"),
    [
        ("{json: {path: a, set: 1}}", "json.path"),
        ("{json: [{path: $.a}]}", r"json\[0\]"),
        ("{json: {path: $.a, set: 1, remove: true}}", "json"),
        ("{json: {path: $, remove: true}}", "json.path"),
        ("{json: {path: '$.a[0]', set: 1, create: true}}", "json.create"),
        ("{json: {path: $.a, set: 1.0e999}}", "json.set"),
        ("{body: {from: '(', to: x}}", "body.from"),
        ("{body: [{from: a, to: $1}]}", r"body\[0\].to"),
        ("{headers: {rename: {Host: X}}}", "headers.rename.Host"),
        ("{headers: {rename: {X: 'a b'}}}", "headers.rename.X"),
        ("{cookies: {set: {a: 'x;y'}}}", "cookies.set.a"),
        ("{cookies: {rename: {a: 'x='}}}", "cookies.rename.a"),
        ("{query: {remove: []  , removes: x}}", "query.removes"),
        ("{scheme: ftp}", "scheme"),
        ("{shift: {json: [a]}}", r"shift.json\[0\]"),
        ("{unique: {headers: [Content-Length]}}", r"unique.headers\[0\]"),
    ],
)
def test_mistakes_name_their_key(rewrite, key):
    """With the line, before anything is sent."""
    with pytest.raises(ConfigError, match=rf"rules.yaml:3: rules\[0\].rewrite.{key}:"):
        planned(exchange(), rewrite)


# -- copies and times -------------------------------------------------------------


def test_each_copy_has_an_idempotency_key_of_its_own():
    """The first keeps the captured one; others are the same in each run of that name."""
    key = "0b52e771-4fa6-439c-8d10-e2f5a7b6c948"
    one = exchange("POST", "/orders", [("idempotency-key", key)])
    shots = planned(one, "{}", ", percent: 300").shots
    keys = [dict(shot.headers)["idempotency-key"] for shot in shots]
    assert keys[0] == key
    assert len(set(keys)) == 3
    assert [k[14] for k in keys] == ["4", "4", "4"]
    again = planned(one, "{}", ", percent: 300").shots
    assert [dict(shot.headers)["idempotency-key"] for shot in again] == keys


def test_declared_values_are_fresh_in_each_copy():
    """In headers, query, JSON and forms; the rest is the same."""
    unique = "{unique: {headers: [X-Id], query: [id], json: [$.no, $.n], form: [no]}}"
    headers = [*JSON, ("X-Id", "a1b2c3d4"), ("X-Other", "a1b2c3d4")]
    body = '{"no":"ord-2026-0001","n":12345,"other":1}'
    one = exchange("POST", "/orders?id=77&x=1", headers, body=body, body_encoding="utf8")
    first, second = planned(one, unique, ", percent: 200").shots
    assert (first.path, first.body.decode()) == ("/orders?id=77&x=1", body)
    assert second.path.startswith("/orders?id=")
    assert second.path.endswith("&x=1")
    assert second.path != first.path
    assert second.body.startswith(b'{"no":"ord-')
    assert second.body.endswith(b',"other":1}')
    assert b"0001" not in second.body
    assert b"12345" not in second.body
    assert second.body_length == len(second.body)
    sent = dict(second.headers)
    assert sent["X-Other"] == "a1b2c3d4" != sent["X-Id"]
    form = exchange("POST", "/o", FORM, body="no=A1B2C3D4E5&x=1", body_encoding="utf8")
    first, second = planned(form, unique, ", percent: 200").shots
    assert first.body == b"no=A1B2C3D4E5&x=1"
    assert second.body != first.body
    assert second.body.endswith(b"&x=1")


def test_a_body_apart_is_fresh_in_each_copy():
    """When it is read."""
    one = exchange("POST", "/orders", JSON, body_ref=REF)
    first, second = planned(one, "{unique: {json: [$.no]}}", ", percent: 200").shots
    assert with_body(first, b'{"no":"12345678"}').body == b'{"no":"12345678"}'
    assert with_body(second, b'{"no":"12345678"}').body != b'{"no":"12345678"}'


def test_a_retry_repeats_its_key_in_each_copy():
    """Two requests of production with one key have one key in each copy."""
    shots = []
    for record_id in ("1" * 32, "2" * 32):
        one = exchange("POST", "/o", [("Idempotency-Key", "k-12345678")], record_id=record_id)
        shots.append(planned(one, "{}", ", percent: 200").shots[1])
    assert dict(shots[0].headers)["Idempotency-Key"] == dict(shots[1].headers)["Idempotency-Key"]


def test_times_move_to_when_they_are_sent():
    """Declared ones alone, by the offset of this request."""
    one = exchange(
        "POST", "/o?ts=1700000000&at=1700000000", [*JSON, ("X-Time", "1700000000000")],
        body='{"at":"2023-11-14T22:13:20.5Z","n":1700000000,"o":1700000000}', body_encoding="utf8",
    )  # fmt: skip
    rewrite = "{shift: {query: [ts], json: [$.at, $.n], headers: [x-time]}}"
    shot = shot_of(one, rewrite, offset_us=86_400_000_000)
    assert shot.path == "/o?ts=1700086400&at=1700000000"
    assert shot.body == b'{"at":"2023-11-15T22:13:20.5Z","n":1700086400,"o":1700000000}'
    assert dict(shot.headers)["X-Time"] == "1700086400000"
    assert shot_of(one, rewrite).path == "/o?ts=1700000000&at=1700000000"


def test_a_rewrite_comes_after_credentials():
    """What the user sets by hand has the last word."""
    text = sending(
        ", auth: [{use: {bearer: t}}]", ", rewrite: {headers: {set: {Authorization: Bearer other}}}"
    )
    (shot,) = plan(with_bearer(), rules_from(text), "seed", "run").shots
    assert ("Authorization", "Bearer other") in shot.headers
