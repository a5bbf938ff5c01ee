"""What captured headers become, known or not, and the quick look for marks in a body."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rulekit import BEARER, MARK, exchange, rules_from, sending, with_bearer

from mirrorproxy.marks import contains_mark
from mirrorproxy.rules.plan import plan
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.rules.unseal import may_hold_mark

TO_STAGING = RuleSet.simple("https://staging.example.com")
LONG = "v" * 5000


def sent(rules, headers, **changes):
    """The headers of the one shot, planned twice: the second time from memory."""
    for _ in range(2):
        (shot,) = plan(exchange(headers=headers, **changes), rules, "seed", "run").shots
    assert shot.headers[0] == ("Host", "staging.example.com")
    assert shot.headers[-1] == ("X-Mirrorproxy-Replay", f"run/{'0' * 32}")
    return shot.headers[1:-1]


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        pytest.param(
            [("Host", "a"), ("X", "1"), ("x", "2"), ("X", "1")],
            [("X", "1"), ("x", "2"), ("X", "1")],
            id="order, case and repeats",
        ),
        pytest.param([("X", LONG), ("host", "a"), ("Y", "")], [("X", LONG), ("Y", "")], id="long"),
        pytest.param(
            [("Hop", "1"), ("Connection", "hop"), ("End", "2"), ("Keep-Alive", "3")],
            [("End", "2")],
            id="what Connection names",
        ),
        pytest.param([("Content-Length", "3"), ("X-Mirrorproxy-App", "a")], [], id="ours"),
    ],
)  # fmt: skip
def test_headers_that_are_sent(headers, kept):
    """As they were captured, but for what belongs to one connection or is written anew."""
    assert sent(TO_STAGING, headers) == kept


@pytest.mark.parametrize("beside", [("X", "1"), ("X", LONG)], ids=["known", "long"])
def test_what_was_replayed_is_known_beside_any_header(beside):
    """No cascade starts because a head is unusual."""
    for headers in (
        [beside, ("x-mirrorproxy-REPLAY", "r/1")],
        [("X-Mirrorproxy-Replay", ""), beside],
    ):
        assert plan(exchange(headers=headers), TO_STAGING, "s", "r").skipped == "replayed traffic"


def test_a_long_sealed_header_is_sealed():
    """What is not remembered is looked at each time."""
    headers = [("X-Secret", LONG + MARK)]
    assert plan(exchange(headers=headers), TO_STAGING, "s", "r").skipped == "no credential"


def test_a_sealed_host_is_never_sent():
    """Nor any other header, host: original or not."""
    rules = rules_from(sending(target=", host: original"))
    assert plan(exchange(headers=[("Host", MARK)]), rules, "s", "r").skipped == "no credential"


def test_what_one_user_is_given_is_not_given_to_another():
    """Though everything but the fingerprint is the same."""
    other = BEARER.fingerprint.replace("ab", "12")
    table = f"{{'{BEARER.fingerprint}': one, '{other}': two}}"
    rules = rules_from(
        sending(target=f", auth: [{{use: {{table: {{by: fingerprint, entries: {table}}}}}}}]")
    )
    found = []
    for fingerprint in (BEARER.fingerprint, other) * 2:
        record = with_bearer()
        record.request.headers[1] = ("Authorization", f"Bearer {{{fingerprint}}}")
        record.credentials[0] = type(BEARER)("header", "Authorization", fingerprint, "Bearer")
        (shot,) = plan(record, rules, "s", "r").shots
        found.append(shot.headers[1][1])
    assert found == ["Bearer one", "Bearer two"] * 2


PIECES = [b"{", b"{h1:3f9a:0123456789abcdef}", b"{H1:3F9A:0", b"%7Bh1%3A3f9a%3a0",
          b"\\u007bh1:3f9a:0", b"h1:3f9a:0", b'{"a":1}', b"{" * 20, b"x", b"h", b"1"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4)).map(b"".join))
@example(b"{" * 30 + b"{h1:3f9a:0")
def test_no_mark_escapes_the_quick_look(body):
    """It may say yes for nothing, but never no for something."""
    assert may_hold_mark(body) or not contains_mark(body)


def test_the_quick_look_spares_usual_bodies():
    """Otherwise it would be of no use."""
    assert not may_hold_mark(b'{"sku":"A-1","lines":[{"h1":1},{"a":{"b":"h1:3f9a:0"}}]}')
    assert not may_hold_mark(b"")
