"""Credentials: what takes the place of a sealed one, and what never leaves."""

from __future__ import annotations

import json

import pytest
from rulekit import (
    BEARER,
    FINGERPRINT,
    MARK,
    OTHER,
    OTHER_MARK,
    SUBJECT,
    exchange,
    rules_from,
    sending,
    with_bearer,
)

from mirrorproxy.errors import ConfigError
from mirrorproxy.record import Credential
from mirrorproxy.rules.plan import Plan, plan

BASIC = Credential("header", "Authorization", OTHER, scheme="Basic", subject=SUBJECT, user="ann")
COOKIE = Credential("cookie", "sid", OTHER)
PASSWORD = Credential("body", "password", OTHER)


def planned(auth: str, one=None) -> Plan:
    return plan(one or with_bearer(), rules_from(sending(f", auth: {auth}")), "seed", "run")


def header(found: Plan, name: str) -> list[str]:
    (shot,) = found.shots
    return [value for key, value in shot.headers if key.lower() == name]


@pytest.mark.parametrize(
    ("auth", "value"),
    [
        pytest.param("[{use: {bearer: tok}}]", "Bearer tok", id="a bearer token"),
        pytest.param("[{use: {basic: {user: u, password: p}}}]", "Basic dTpw", id="Basic"),
        pytest.param("[{use: {headers: {Authorization: Key k}}}]", "Key k", id="a header"),
        pytest.param(
            f"[{{use: {{table: {{by: fingerprint, entries: {{'{FINGERPRINT}': tok}}}}}}}}]",
            "Bearer tok",
            id="a table by fingerprint",
        ),
        pytest.param(
            f"[{{use: {{table: {{by: fingerprint, entries: {{'{MARK}': tok}}}}}}}}]",
            "Bearer tok",
            id="a table by mark, braces included",
        ),
        pytest.param(
            f"[{{use: {{table: {{by: subject, entries: {{'{SUBJECT}': tok}}}}}}}}]",
            "Bearer tok",
            id="a table by subject",
        ),
        pytest.param(
            "[{use: {table: {by: 'claim:aud', entries: {users: tok}}}}]",
            "Bearer tok",
            id="a table by one item of a claim",
        ),
        pytest.param(
            "[{use: {table: {by: 'claim:level', entries: {3: tok}}}}]",
            "Bearer tok",
            id="a table by a claim that is a number",
        ),
        pytest.param(
            "[{use: {table: {by: 'claim:iss',"
            " entries: {'https://login': {user: u, password: p}}}}}]",
            "Basic dTpw",
            id="a table with a user and password",
        ),
        pytest.param(
            "[{use: {table: {by: user, entries: {ann: x}}}}, {use: {bearer: tok}}]",
            "Bearer tok",
            id="a table without the user: the next entry",
        ),
        pytest.param(
            "[{when: {claim: {iss: 'https://other*'}}, use: {bearer: no}}, {use: {bearer: tok}}]",
            "Bearer tok",
            id="a claim that does not fit: the next entry",
        ),
        pytest.param(
            "[{when: {claim: {iss: 'https://log*', sub: false}}, use: {bearer: tok}}]",
            "Bearer tok",
            id="claims that fit",
        ),
        pytest.param(
            "[{when: {scheme: basic}, use: {bearer: no}},"
            " {when: {scheme: bearer, name: authorization, in: header}, use: {bearer: tok}}]",
            "Bearer tok",
            id="scheme and name, case aside",
        ),
        pytest.param(
            "[{when: {service: users}, use: {bearer: no}},"
            " {when: {service: ord*}, use: {bearer: tok}}]",
            "Bearer tok",
            id="service",
        ),
        pytest.param(
            f"[{{when: {{subject: '{SUBJECT}', fingerprint: 'h1:*'}}, use: {{bearer: tok}}}}]",
            "Bearer tok",
            id="subject and fingerprint",
        ),
    ],
)
def test_the_first_entry_that_fits_is_used(auth, value):
    """The sealed credential is replaced, and nothing else."""
    assert header(planned(auth), "authorization") == [value]


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param("[]", id="no entry"),
        pytest.param("[{when: {user: ann}, use: {bearer: tok}}]", id="none that fits"),
        pytest.param("[{use: {table: {by: user, entries: {ann: x}}}}]", id="not in the table"),
        pytest.param("[{when: {in: cookie}, use: {bearer: tok}}]", id="for another place"),
        pytest.param("[{when: {user: ann}, use: none}]", id="none, but for others"),
    ],
)
def test_without_a_replacement_nothing_is_sent(auth):
    """A sealed value that nothing replaces makes no shot."""
    found = planned(auth)
    assert (found.shots, found.skipped) == ((), "no credential")
    assert found.left_out == (("staging", "no credential"),)


def test_a_request_without_a_credential_gets_none():
    """Who was nobody in production is nobody in the target."""
    assert header(planned("[{use: {bearer: tok}}]", exchange()), "authorization") == []


@pytest.mark.parametrize("auth", ["none", "[{use: none}]"])
def test_none_sends_without_credentials(auth):
    """Sealed headers go, the rest stays."""
    one = with_bearer(headers=[("X-Api-Key", OTHER_MARK), ("X-Other", "stays")])
    (shot,) = planned(auth, one).shots
    assert [name for name, _ in shot.headers] == ["Host", "X-Other", "X-Mirrorproxy-Replay"]


def test_none_takes_out_what_no_credential_tells_of():
    """A sealed or plain header goes even where a record lists no credentials."""
    one = exchange(headers=[("Host", "h"), ("Authorization", "Bearer plain"), ("X-Key", MARK)])
    (shot,) = planned("none", one).shots
    assert [name for name, _ in shot.headers] == ["Host", "X-Mirrorproxy-Replay"]


def test_a_second_sealed_header_needs_its_own_replacement():
    """A bearer token does not stand in for an API key."""
    one = with_bearer(headers=[("X-Api-Key", OTHER_MARK)])
    assert planned("[{use: {bearer: tok}}]", one).skipped == "no credential"
    both = planned("[{use: {headers: {Authorization: Bearer a, X-Api-Key: b}}}]", one)
    assert header(both, "authorization") == ["Bearer a"]
    assert header(both, "x-api-key") == ["b"]


def test_an_api_key_gives_way_to_a_bearer_token():
    """The header that held the credential goes, Authorization comes."""
    one = exchange(
        headers=[("Host", "h"), ("X-Api-Key", OTHER_MARK)],
        credentials=[Credential("header", "X-Api-Key", OTHER)],
    )
    found = planned("[{use: {bearer: tok}}]", one)
    assert header(found, "x-api-key") == []
    assert header(found, "authorization") == ["Bearer tok"]


def test_repeated_authorization_becomes_one():
    """Two captured values do not both stay."""
    one = with_bearer(headers=[("authorization", f"Bearer {MARK}")])
    assert header(planned("[{use: {bearer: tok}}]", one), "authorization") == ["Bearer tok"]


def test_a_key_in_the_query_is_replaced_in_place():
    """The value is escaped for a query."""
    one = exchange(
        target=f"/x?a=1&access_token={OTHER_MARK}&b=2",
        credentials=[Credential("query", "access_token", OTHER)],
    )
    (shot,) = planned("[{use: {bearer: 'a b&c=%'}}]", one).shots
    assert shot.path == "/x?a=1&access_token=a+b%26c%3D%25&b=2"
    assert not [name for name, _ in shot.headers if name == "Authorization"]


def test_the_same_secret_is_replaced_wherever_it_stands():
    """A token that is in the header and in the query is one secret."""
    one = with_bearer(target=f"/x?token={MARK}")
    (shot,) = planned("[{use: {bearer: tok}}]", one).shots
    assert shot.path == "/x?token=tok"


@pytest.mark.parametrize(
    ("content_type", "body", "sent"),
    [
        pytest.param(
            "application/json",
            '{"user":"ann","password":"%s"}',
            '{"user":"ann","password":"p\\"<&\\\\ 1"}',
            id="JSON",
        ),
        pytest.param(None, '[{"password":"%s"}]', '[{"password":"p\\"<&\\\\ 1"}]', id="no type"),
        pytest.param(
            "application/x-www-form-urlencoded; charset=utf-8",
            "user=ann&password=%s",
            "user=ann&password=p%%22%%3C%%26%%5C+1".replace("%%", "%"),
            id="a form",
        ),
        pytest.param("application/soap+xml", "<p>%s</p>", "<p>p&quot;&lt;&amp;\\ 1</p>", id="XML"),
        pytest.param("text/plain", "is %s.", 'is p"<&\\ 1.', id="text"),
    ],
)
def test_a_value_in_a_body_is_escaped_for_its_place(content_type, body, sent):
    """A table gives the bare value; the body stays well-formed."""
    headers = [("Host", "h")] + ([("Content-Type", content_type)] if content_type else [])
    one = exchange(
        "POST",
        headers=headers,
        credentials=[PASSWORD],
        body=body % OTHER_MARK,
        body_encoding="utf8",
    )
    entries = json.dumps({OTHER: 'p"<&\\ 1'})
    found = planned(f"[{{use: {{table: {{by: fingerprint, entries: {entries}}}}}}}]", one)
    assert found.shots[0].body.decode() == sent
    assert found.shots[0].body_length == len(sent)


def test_a_bearer_token_is_no_password():
    """A login's sealed body is not what a static token speaks for."""
    one = exchange("POST", credentials=[PASSWORD], body=OTHER_MARK, body_encoding="utf8")
    assert planned("[{use: {bearer: tok}}]", one).skipped == "no credential"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param("ann:secret", "Basic YW5uOnNlY3JldA==", id="user and password in clear"),
        pytest.param("YW5uOng=", "Basic YW5uOng=", id="encoded already"),
    ],
)
def test_a_table_value_for_basic(value, sent):
    """User and password may be written as people know them."""
    one = exchange(
        headers=[("Host", "h"), ("Authorization", f"Basic {OTHER_MARK}")], credentials=[BASIC]
    )
    found = planned(f"[{{use: {{table: {{by: user, entries: {{ann: '{value}'}}}}}}}}]", one)
    assert header(found, "authorization") == [sent]


def test_sealed_cookies_are_taken_out_and_counted():
    """Cookies that nothing replaces go; the others stay."""
    one = exchange(
        headers=[
            ("Host", "h"),
            ("Cookie", f"sid={OTHER_MARK}; theme=dark; t={MARK}"),
            ("Cookie", f"u={MARK}"),
        ],
        credentials=[COOKIE],
    )
    found = planned("[]", one)
    assert header(found, "cookie") == ["theme=dark"]
    assert found.shots[0].cookies_removed == 3


def test_a_cookie_is_replaced_from_a_table():
    """A session of the target takes the place of production's."""
    one = exchange(
        headers=[("Host", "h"), ("Cookie", f"a=1; sid={OTHER_MARK}")], credentials=[COOKIE]
    )
    found = planned(f"[{{use: {{table: {{by: fingerprint, entries: {{'{OTHER}': s1}}}}}}}}]", one)
    assert header(found, "cookie") == ["a=1; sid=s1"]
    assert found.shots[0].cookies_removed == 0


def test_a_value_that_no_cookie_can_hold_does_not_break_the_header():
    """The cookie is taken out rather than cut in two."""
    one = exchange(
        headers=[("Host", "h"), ("Cookie", f"a=1; sid={OTHER_MARK}")], credentials=[COOKIE]
    )
    table = f"{{by: fingerprint, entries: {{'{OTHER}': 'x; admin=1'}}}}"
    found = planned(f"[{{use: {{table: {table}}}}}]", one)
    assert header(found, "cookie") == ["a=1"]


def test_a_sealed_referer_is_taken_out():
    """It is no credential: the request means the same without it."""
    one = exchange(headers=[("Host", "h"), ("Referer", f"https://x/?code={OTHER_MARK}")])
    assert header(planned("[]", one), "referer") == []


@pytest.mark.parametrize(
    "place",
    [
        pytest.param({"target": f"/x/{OTHER_MARK}"}, id="the path"),
        pytest.param({"target": "/x?a=%7Bh1:3f9a:abab%7D"}, id="the query, percent-encoded"),
        pytest.param({"headers": [("X-Any", f"a {OTHER_MARK} b")]}, id="a header"),
        pytest.param({"body": f"a {OTHER_MARK}", "body_encoding": "utf8"}, id="the body"),
        pytest.param(
            {"body": '{"a":"\\u007bh1:3f9a:abab}"}', "body_encoding": "utf8"}, id="JSON-escaped"
        ),
    ],
)
def test_nothing_sealed_is_ever_sent(place):
    """The last check looks everywhere, whatever the credentials of a record say."""
    assert planned("[{use: {bearer: tok}}]", exchange("POST", **place)).skipped == "no credential"


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        pytest.param("[{use: {}}]", "auth[0].use", id="nothing to use"),
        pytest.param("[{use: {bearer: a, headers: {X: b}}}]", "auth[0].use", id="two at once"),
        pytest.param("[{use: {bearer: ''}}]", "auth[0].use.bearer", id="an empty token"),
        pytest.param('[{use: {bearer: "s3\\ncret"}}]', "auth[0].use.bearer", id="a line break"),
        pytest.param(
            "[{use: {basic: {user: 's3cret:x', password: p}}}]",
            "auth[0].use.basic.user",
            id="a colon in the user",
        ),
        pytest.param(
            "[{use: {headers: {Content-Length: '1'}}}]",
            "auth[0].use.headers.Content-Length",
            id="framing",
        ),
        pytest.param("[{use: {headers: {'a b': s3cret}}}]", "auth[0].use.headers.a b", id="name"),
        pytest.param("[{use: {headers: {}}}]", "auth[0].use.headers", id="no header"),
        pytest.param(
            "[{use: {table: {by: name, entries: {}}}}]", "auth[0].use.table.by", id="by what"
        ),
        pytest.param(
            "[{use: {table: {by: 'claim:', entries: {}}}}]", "auth[0].use.table.by", id="no claim"
        ),
        pytest.param(
            "[{use: {table: {by: user}}}]", "auth[0].use.table", id="a table without entries"
        ),
        pytest.param(
            '[{use: {table: {by: user, entries: {ann: "s3cret\\0"}}}}]',
            "auth[0].use.table.entries.ann",
            id="a bad value in a table",
        ),
        pytest.param(
            "[{use: {table: {by: user, file: gone.yaml}}}]",
            "auth[0].use.table.file",
            id="a table that is not there",
        ),
    ],
)
def test_a_bad_auth_is_found_before_anything_is_sent(auth, key):
    """The error names line and key, never the value."""
    with pytest.raises(ConfigError) as raised:
        planned(auth)
    assert raised.value.key == f"targets.staging.{key}"
    assert raised.value.line == 2
    assert "s3cret" not in str(raised.value)


def test_a_table_is_read_from_a_file_beside_the_rules(tmp_path):
    """Names and secrets in it are expanded, too."""
    (tmp_path / "users.yaml").write_text(f"'{SUBJECT}': ${{TOKEN}}\n")
    rules = rules_from(
        sending(", auth: [{use: {table: {by: subject, file: users.yaml}}}]"),
        tmp_path,
        TOKEN="tok",
    )
    found = plan(with_bearer(), rules, "seed", "run")
    assert header(found, "authorization") == ["Bearer tok"]


def test_a_table_file_that_is_no_mapping_is_named(tmp_path):
    """The error names the table's own file."""
    (tmp_path / "users.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match=r"users\.yaml:1: expected a mapping, not a list"):
        rules_from(sending(", auth: [{use: {table: {by: user, file: users.yaml}}}]"), tmp_path)


def test_the_captured_credential_is_left_as_it_was():
    """Planning changes nothing in the exchange."""
    one = with_bearer()
    planned("[{use: {bearer: tok}}]", one)
    assert one.request.headers[1] == ("Authorization", f"Bearer {MARK}")
    assert one.credentials == [BEARER]
