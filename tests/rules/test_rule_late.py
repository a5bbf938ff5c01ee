"""Credentials that are fetched: what a rule file may say, and what a shot wants."""

from __future__ import annotations

import msgspec
import pytest
from rulekit import BEARER, FINGERPRINT, MARK, OTHER, exchange, rules_from, sending, with_bearer

from mirrorproxy.errors import ConfigError
from mirrorproxy.record import Credential
from mirrorproxy.rules.plan import plan
from mirrorproxy.rules.unseal import fill_late, set_query

GRANT = "{client_credentials: {token_url: 'https://login/token', client_id: a}}"


def shot_of(auth: str, one=None):
    (shot,) = plan(one or with_bearer(), rules_from(sending(f", auth: {auth}")), "s", "r").shots
    return shot


def test_a_shot_says_what_it_wants():
    """A placeholder stands where the token goes; nothing sealed does."""
    shot = shot_of(f"[{{use: {GRANT}}}]")
    (want,) = shot.wants
    assert (want.source, want.key, want.credential) == ("targets.staging.auth.0", "", BEARER)
    assert shot.is_late_in_head
    assert ("Authorization", f"Bearer {want.placeholder}") in shot.headers
    filled = fill_late(shot, {want.placeholder: "tok"})
    assert ("Authorization", "Bearer tok") in filled.headers


def test_a_token_in_a_query_is_escaped():
    """It is put in with the rest of the path, so not in the head as it is."""
    one = exchange(target=f"/x?t={MARK}", credentials=[Credential("query", "t", FINGERPRINT)])
    shot = shot_of(f"[{{use: {GRANT}}}]", one)
    assert not shot.is_late_in_head
    assert fill_late(shot, {shot.wants[0].placeholder: "a&b c"}).path == "/x?t=a%26b+c"


def test_a_value_that_no_cookie_can_hold_is_not_sent():
    """Rather than a header that says something else."""
    one = exchange(
        headers=[("Host", "h"), ("Cookie", f"sid={MARK}")],
        credentials=[Credential("cookie", "sid", FINGERPRINT)],
    )
    shot = shot_of("[{use: {login: {url: 'https://h/login', cookie: sid}}}]", one)
    assert fill_late(shot, {shot.wants[0].placeholder: "x; admin=1"}) is None


def test_what_a_rewrite_took_out_is_not_wanted():
    """No token is asked for that is not sent."""
    auth = f", auth: [{{use: {GRANT}}}]"
    rules = rules_from(sending(auth, ", rewrite: {headers: {remove: Authorization}}"))
    (shot,) = plan(with_bearer(), rules, "s", "r").shots
    assert shot.wants == ()


def test_a_rewritten_body_keeps_what_is_put_in_late():
    """In every copy, beside what is fresh in it."""
    one = exchange(
        "POST",
        headers=[("Host", "h"), ("Content-Type", "application/json")],
        body=f'{{"t":"{MARK}","n":"{"0" * 31}1","x":1}}',
        credentials=[Credential("body", "t", FINGERPRINT)],
    )
    rules = rules_from(
        sending(
            f", auth: [{{when: {{in: body}}, use: {GRANT}}}]",
            ", rewrite: {json: {path: $.x, set: 2}, unique: {json: [$.n]}}",
        ).replace("send: {target: staging}", "send: {target: staging, percent: 200}")
    )
    first, second = plan(one, rules, "s", "r").shots
    bodies = []
    for shot in (first, second):
        filled = fill_late(shot, {shot.wants[0].placeholder: 'a"b'})
        bodies.append(msgspec.json.decode(filled.body))
        assert filled.body_length == len(filled.body)
    assert [(body["t"], body["x"]) for body in bodies] == [('a"b', 2)] * 2
    assert bodies[0]["n"] != bodies[1]["n"]


def test_users_share_what_the_rules_say_they_share():
    """Two tokens of one user are one want, two users are two."""
    auth = (
        "[{use: {password: {token_url: 'https://login', users: {by: user,"
        " entries: {ann: {user: a, password: b}, ben: {user: c, password: d}}}}}}]"
    )

    def want(user: str, fingerprint: str):
        sealed = f"Basic {{{fingerprint}}}"
        one = Credential("header", "Authorization", fingerprint, scheme="Basic", user=user)
        found = exchange(headers=[("Host", "h"), ("Authorization", sealed)], credentials=[one])
        return shot_of(auth, found).wants[0].key

    assert [want("ann", FINGERPRINT), want("ann", OTHER), want("ben", OTHER)] == [
        "ann", "ann", "ben",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "set_"),
    [
        pytest.param("", "?k=v%26", id="none"),
        pytest.param("?a=1", "?a=1&k=v%26", id="another"),
        pytest.param("?k=1&a&k=2", "?k=v%26&a", id="where it stood, once"),
    ],
)
def test_a_key_of_the_query_is_set(query, set_):
    """What else stands there stays byte for byte."""
    assert set_query(query, {"k": "v&"}) == set_


@pytest.mark.parametrize(
    ("use", "said"),
    [
        pytest.param(
            "{client_credentials: {token_url: login, client_id: a}}",
            "client_credentials.token_url: not a URL such as https://login.example.com/token",
            id="no URL",
        ),
        pytest.param(
            "{password: {token_url: 'https://h', user: a}}",
            "password: user and password go together",
            id="no password",
        ),
        pytest.param(
            "{password: {token_url: 'https://h'}}",
            "password: expected either users, or user and password",
            id="nobody",
        ),
        pytest.param(
            "{password: {token_url: 'https://h', users: {by: user, entries: {ann: x}}}}",
            "password.users.entries.ann: expected {user, password}",
            id="a text for a user",
        ),
        pytest.param(
            "{refresh_token: {token_url: 'https://h'}}",
            "refresh_token: expected either token or tokens",
            id="no refresh token",
        ),
        pytest.param(
            "{jwt: {key: short, algorithm: HS256}}",
            "jwt.key: a key of HS256 has 32 bytes or more",
            id="a short key",
        ),
        pytest.param(
            "{jwt: {key: x, algorithm: ES256}}",
            "jwt.key: not a private key of ES256 in PEM",
            id="no key",
        ),
        pytest.param(
            "{login: {url: 'https://h'}}",
            "login: expected either cookie or token: what of the answer is used",
            id="a login for nothing",
        ),
        pytest.param(
            "{call: nothing}", "call: expected package.module:function", id="no function's name"
        ),
        pytest.param(
            "{call: 'no.such:thing'}",
            "call: no.such cannot be loaded: ModuleNotFoundError (PYTHONPATH says where)",
            id="no module",
        ),
        pytest.param("{call: 'json:nothing'}", "call: json has no function nothing", id="none"),
        pytest.param("{headers: {}}", "headers: names nothing", id="no header"),
        pytest.param("{query: {a: ''}}", "query.a: is empty", id="an empty key"),
        pytest.param(
            "{table: {by: 'field:', entries: {}}}",
            "table.by: expected fingerprint, subject, user, claim:<name> or field:<name>",
            id="no field",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_sent(use, said):
    """With the key that they stand in."""
    with pytest.raises(ConfigError) as caught:
        rules_from(sending(f", auth: [{{use: {use}}}]"))
    assert str(caught.value) == f"rules.yaml:2: targets.staging.auth[0].use.{said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("user,secret\n", "t.csv:1: expected a first line such as", id="columns"),
        pytest.param("user,token\na,b,c\n", "t.csv:2: expected 2 columns", id="too many"),
        pytest.param("user,token\na,b\na,c\n", "t.csv:3: repeated", id="twice"),
        pytest.param('user,token\na,"b\n', "t.csv:2: not valid CSV", id="an open quote"),
    ],
)
def test_mistakes_in_a_csv_file_have_their_line(text, said, tmp_path):
    """And never the value."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ConfigError) as caught:
        rules_from(sending(", auth: [{use: {table: {by: user, file: t.csv}}}]"), tmp_path)
    assert said in str(caught.value)


def test_a_csv_file_of_tokens(tmp_path):
    """Quotes, line ends of any kind, and a byte order mark are no matter."""
    (tmp_path / "t.csv").write_bytes(f'\ufeffsubject, token\r\n{OTHER},"a,""b"\r\n'.encode())
    one = exchange(
        headers=[("Host", "h"), ("Authorization", f"Bearer {MARK}")],
        credentials=[Credential("header", "Authorization", FINGERPRINT, subject=OTHER)],
    )
    rules = rules_from(sending(", auth: [{use: {table: {by: subject, file: t.csv}}}]"), tmp_path)
    (shot,) = plan(one, rules, "s", "r").shots
    assert ("Authorization", 'Bearer a,"b') in shot.headers
