"""From an exchange to its shots."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rulekit import (
    FINGERPRINT,
    MARK,
    OTHER_MARK,
    SUBJECT,
    exchange,
    rules_from,
    sending,
    with_bearer,
)

from mirrorproxy.codec import MalformedRecord
from mirrorproxy.rules.plan import plan, with_body
from mirrorproxy.rules.ruleset import RuleSet


def shot_of(one, target="", rest=""):
    (shot,) = plan(one, rules_from(sending(target, rest)), "seed", "run7").shots
    return shot


def test_a_shot_is_the_request_for_another_host():
    """Host and the mark of a replay aside, it is what was captured."""
    one = exchange(
        "POST",
        "/orders?x=%20&y",
        [
            ("Host", "api.example.com"),
            ("User-Agent", "curl/8"),
            ("accept", "a"),
            ("Accept", "b"),
            ("Content-Type", "application/json"),
            ("Content-Length", "2"),
        ],
        status=201,
        body="{}",
        body_encoding="utf8",
        body_bytes=2,
    )
    shot = shot_of(one)
    assert (shot.method, shot.path, shot.body, shot.body_length) == (
        "POST",
        "/orders?x=%20&y",
        b"{}",
        2,
    )
    assert shot.headers == [
        ("Host", "staging.example.com"),
        ("User-Agent", "curl/8"),
        ("accept", "a"),
        ("Accept", "b"),
        ("Content-Type", "application/json"),
        ("X-Mirrorproxy-Replay", f"run7/{'0' * 32}"),
    ]
    assert shot.origin == ("https", "staging.example.com", 443)
    assert (shot.rule, shot.target, shot.copy) == ("all", "staging", 0)
    assert (shot.started_us, shot.duration_us, shot.status) == (1_700_000_000_000_000, 12_000, 201)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        pytest.param(
            exchange(headers=[("Host", "h"), ("x-mirrorproxy-replay", "r/1")]),
            "replayed traffic",
            id="sent by a replay",
        ),
        pytest.param(exchange(truncated=True), "truncated", id="a cut body"),
        pytest.param(exchange(omitted="unsealable"), "omitted", id="a body left out"),
        pytest.param(exchange(status=101), "upgrade", id="a tunnel"),
        pytest.param(exchange("CONNECT", "h:443"), "upgrade", id="a tunnel that was asked for"),
    ],
)
def test_what_may_never_be_replayed(one, reason):
    """No rule changes that."""
    assert plan(one, rules_from(sending()), "seed", "run").skipped == reason


@pytest.mark.parametrize(
    ("method", "headers", "length"),
    [
        pytest.param("GET", [], None, id="a GET has no length"),
        pytest.param("POST", [], 0, id="a POST says zero"),
        pytest.param("DELETE", [("Content-Length", "0")], 0, id="said zero in production"),
        pytest.param("DELETE", [], None, id="said nothing in production"),
    ],
)
def test_an_empty_body_is_framed_as_it_was(method, headers, length):
    """Content-Length appears where it stood or where HTTP wants it."""
    assert shot_of(exchange(method, headers=headers)).body_length == length


def test_headers_of_one_connection_are_left_behind():
    """Foreign captures may hold hop-by-hop headers, and the proxy's own."""
    one = exchange(
        headers=[
            ("Host", "h"),
            ("Connection", "keep-alive, X-Hop"),
            ("X-Hop", "1"),
            ("Transfer-Encoding", "chunked"),
            ("X-Mirrorproxy-App", "orders"),
            ("X-Stays", "1"),
        ]
    )
    assert [name for name, _ in shot_of(one).headers] == ["Host", "X-Stays", "X-Mirrorproxy-Replay"]


@pytest.mark.parametrize(
    ("target", "rest", "host"),
    [
        pytest.param("", "", "staging.example.com", id="the target's"),
        pytest.param(", host: original", "", "api.example.com:8443", id="the captured one"),
        pytest.param("", ", rewrite: {host: 'other:81'}", "other:81", id="the rule's"),
        pytest.param(
            ", host: original", ", rewrite: {host: other}", "other", id="the rule before all"
        ),
    ],
)
def test_the_host_header(target, rest, host):
    """There is exactly one, and it comes first."""
    one = exchange(headers=[("Accept", "*/*"), ("host", "api.example.com:8443")])
    headers = shot_of(one, target, rest).headers
    assert headers[0] == ("Host", host)
    assert [name for name, _ in headers].count("host") == 0


@pytest.mark.parametrize(
    ("setting", "agent"),
    [
        pytest.param("keep", ["curl/8"], id="kept"),
        pytest.param("append", ["curl/8 mirrorproxy/0.1.0"], id="marked"),
        pytest.param("set", ["mirrorproxy/0.1.0"], id="replaced"),
    ],
)
def test_the_user_agent(setting, agent):
    """Kept unless told to mark it."""
    one = exchange(headers=[("Host", "h"), ("User-Agent", "curl/8")])
    shot = shot_of(one, f", user_agent: {setting}")
    assert [value for name, value in shot.headers if name == "User-Agent"] == agent


@pytest.mark.parametrize(
    ("url", "target", "path"),
    [
        pytest.param("http://s:81/base", "/a?b", "/base/a?b", id="a base path"),
        pytest.param("http://s/base/", "/a", "/base/a", id="a slash at its end"),
        pytest.param("http://s/base", "*", "*", id="the server as a whole"),
        pytest.param("http://s", "http://x/a?b", "/a?b", id="an absolute target"),
    ],
)
def test_a_path_goes_below_the_targets(url, target, path):
    """The base path comes first, the query stays."""
    rules = RuleSet.simple(url)
    (shot,) = plan(exchange("OPTIONS", target), rules, "seed", "run").shots
    assert shot.path == path


@pytest.mark.parametrize(
    ("rewrite", "path"),
    [
        pytest.param("{from: '^/api/v1/', to: /api/v2/}", "/api/v2/orders/7?v=1", id="a prefix"),
        pytest.param("{from: '/([a-z]+)/([0-9]+)$', to: /$2/$1}", "/api/v1/7/orders?v=1", id="$"),
        pytest.param("{from: '^/api/', to: ''}", "/v1/orders/7?v=1", id="a slash comes back"),
        pytest.param(
            "[{from: v1, to: v2}, {from: v2, to: v3}]", "/api/v3/orders/7?v=1", id="one by one"
        ),
        pytest.param("{from: nothing, to: x}", "/api/v1/orders/7?v=1", id="not found"),
        pytest.param("{from: r, to: R}", "/api/v1/oRdeRs/7?v=1", id="every place"),
    ],
)
def test_a_path_is_rewritten_without_its_query(rewrite, path):
    """Rewrites work on the path as captured."""
    assert (
        shot_of(exchange(target="/api/v1/orders/7?v=1"), "", f", rewrite: {{path: {rewrite}}}").path
        == path
    )


def test_headers_are_taken_out_then_set():
    """Globs take out, whatever the case; what is set keeps its place."""
    one = exchange(
        headers=[("Host", "h"), ("X-Internal-A", "1"), ("x-env", "prod"), ("x-internal-b", "2")]
    )
    shot = shot_of(
        one, "", ", rewrite: {headers: {remove: ['X-Internal-*'], set: {X-Env: s, X-New: n}}}"
    )
    assert shot.headers[1:-1] == [("x-env", "s"), ("X-New", "n")]


def test_what_a_rule_sets_by_hand_has_the_last_word():
    """A rule may replace a sealed header without any auth."""
    shot = shot_of(with_bearer(), "", ", rewrite: {headers: {set: {Authorization: Bearer x}}}")
    assert ("Authorization", "Bearer x") in shot.headers


def test_binary_bodies_stay_as_they_are():
    """Base64 in the record, bytes in the shot."""
    data = bytes(range(256))
    one = exchange(
        "PUT", body=base64.b64encode(data).decode(), body_encoding="base64", body_bytes=256
    )
    assert shot_of(one).body == data


def test_a_body_that_cannot_be_decoded_is_said_so():
    """The caller counts it as unreadable."""
    with pytest.raises(MalformedRecord):
        shot_of(exchange("PUT", body="!!", body_encoding="base64"))


@pytest.mark.parametrize(
    ("percent", "copies"),
    [
        pytest.param(0, [], id="none"),
        pytest.param(100, [0], id="one"),
        pytest.param(300, [0, 1, 2], id="three"),
    ],
)
def test_percent_is_how_often_a_request_is_sent(percent, copies):
    """Copies are numbered from 0."""
    rules = rules_from(
        sending().replace("target: staging}", f"target: staging, percent: {percent}}}")
    )
    found = plan(exchange(), rules, "seed", "run")
    assert [shot.copy for shot in found.shots] == copies
    assert found.skipped == (None if copies else "sampled")


def test_a_session_is_kept_or_dropped_as_a_whole():
    """By session, all requests of a user share one fate, in every rule; by id they do not."""
    text = (
        "version: 1\ntargets: {s: {url: 'http://s', auth: none}}\nrules:\n"
        "- {name: a, match: {method: GET}, send: {target: s, percent: 40, percent_by: session}}\n"
        "- {name: b, send: {target: s, percent: 40, percent_by: session}}\n"
    )

    def kept(rules, seed):
        return [
            {
                method: bool(
                    plan(exchange(method, client=f"10.0.0.{user}"), rules, seed, "r").shots
                )
                for method in ("GET", "POST")
            }
            for user in range(100)
        ]

    by_session = kept(rules_from(text), "seed")
    assert all(fate["GET"] == fate["POST"] for fate in by_session)
    assert 20 < sum(fate["GET"] for fate in by_session) < 60
    assert kept(rules_from(text), "another") != by_session


def test_several_targets_get_the_same():
    """One shot for each, and one that lacks a credential does not stop the other."""
    rules = rules_from(
        "version: 1\n"
        "targets: {a: {url: 'http://a', auth: [{use: {bearer: t}}]}, b: {url: 'http://b'}}\n"
        "rules: [{name: both, send: {target: [a, b], percent: 200}}]\n"
    )
    found = plan(exchange(), rules, "seed", "run")
    assert [(shot.target, shot.copy) for shot in found.shots] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
    ]
    found = plan(with_bearer(), rules, "seed", "run")
    assert [(shot.target, shot.copy) for shot in found.shots] == [("a", 0), ("a", 1)]
    assert (found.skipped, found.left_out) == (None, (("b", "no credential"),))


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        pytest.param(b"plain", b"plain", id="nothing sealed"),
        pytest.param(f'{{"t":"{MARK}"}}'.encode(), b'{"t":"tok"}', id="a known secret"),
    ],
)
def test_a_body_that_lies_apart_is_put_in_later(body, sent):
    """With the same replacements, and its length."""
    one = with_bearer(method="POST", body_ref="bodies/2026/11/23/08/" + "0" * 32, body_bytes=99)
    shot = shot_of(one, ", auth: [{use: {bearer: tok}}]")
    assert (shot.body, shot.body_ref, shot.body_bytes) == (b"", one.request.body_ref, 99)
    full = with_body(shot, body)
    assert not isinstance(full, str)
    assert (full.body, full.body_length, shot.body) == (sent, len(sent), b"")


def test_a_body_that_lies_apart_is_looked_through_before_it_is_sent():
    """What is sealed in it and has no replacement stops the shot."""
    one = exchange("POST", body_ref="bodies/2026/11/23/08/" + "0" * 32, body_bytes=99)
    assert with_body(shot_of(one), f"a {OTHER_MARK}".encode()) == "no credential"


@given(
    st.lists(st.sampled_from([MARK, OTHER_MARK, "{h1:", "}", "a", " ", "%7bh1", ":3f9a:ab"])),
    st.sampled_from(["header", "query", "body", "path"]),
    st.sampled_from(["[]", "none", "[{use: {bearer: tok}}]"]),
)
def test_no_mark_passes_whatever_it_stands_in(pieces, place, auth):
    """Fingerprints never occur in a shot."""
    text = "".join(pieces)
    one = with_bearer(
        method="POST",
        target="/"
        + (text.strip() if place == "path" else "")
        + ("?q=" + text)[: 99 * (place == "query")],
        headers=[("X-A", text)] if place == "header" else [],
        body=text if place == "body" else None,
        body_encoding="utf8" if place == "body" else None,
    )
    for shot in plan(one, rules_from(sending(f", auth: {auth}")), "seed", "run").shots:
        whole = shot.path + repr(shot.headers) + shot.body.decode()
        assert FINGERPRINT not in whole
        assert SUBJECT not in whole
        assert OTHER_MARK not in whole


def unlogged(method="POST", size=3):
    """A request that an access log tells of: its body is not there."""
    headers = [("Host", "api.example.com"), ("Content-Length", str(size))]
    return exchange(method, "/orders", headers, body_bytes=size, omitted="not in the log")


def test_a_request_whose_body_was_not_logged_is_skipped():
    """To send it empty would be another request."""
    made = plan(unlogged(), rules_from(sending()), "seed", "run7")
    assert (made.shots, made.skipped) == ((), "no body in log")


def test_a_request_whose_body_was_not_logged_is_sent_without_it_if_the_rule_says_so():
    """It then says that it has none."""
    text = """
        version: 1
        targets: {staging: {url: "https://staging.example.com"}}
        rules: [{name: all, send: {without_body: true}}]
    """
    (shot,) = plan(unlogged(), rules_from(text), "seed", "run7").shots
    assert (shot.method, shot.body, shot.body_length, shot.body_bytes) == ("POST", b"", 0, 0)
    assert "Content-Length" not in dict(shot.headers)


def test_a_rule_that_skips_is_the_reason_before_a_missing_body():
    """Each exchange stands in one place of the ledger."""
    text = "{version: 1, rules: [{name: no writes, skip: true}]}"
    assert plan(unlogged(), rules_from(text), "seed", "run7").skipped == "rule"
