"""Credentials that a replay fetches, against a real endpoint and a real target."""

from __future__ import annotations

import jwt
import pytest
from captured import bearer, cookie, fingerprint, subject
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from server import exchange, write_capture
from support.commands import Answer, Application, serving

from mirrorproxy.cli import main
from mirrorproxy.record import Credential, Response

SEALED_PASSWORD = f'{{"user":{{"name":"ann"}},"password":"{{{fingerprint(9)}}}"}}'


def sent(target, name: bytes = b"authorization") -> list[str | None]:
    return [
        None if (value := one.header(name)) is None else value.decode() for one in target.requests
    ]


def test_client_credentials_are_asked_for_once(replay, endpoint, target):
    """One token for everybody, by RFC 6749, 4.4, with HTTP Basic."""
    auth = (
        f"[{{use: {{client_credentials: {{token_url: '{endpoint.url}/token', client_id: 'a b',"
        " client_secret: 's:%', scope: orders, params: {audience: x}}}}]"
    )
    status, ledger, _ = replay([bearer(n, user) for n, user in enumerate("abcabc")], auth)
    assert status == 0
    assert sent(target) == ["Bearer tok-all-1"] * 6
    assert [(one.fields, one.basic) for one in endpoint.asked] == [
        (
            {"grant_type": "client_credentials", "scope": "orders", "audience": "x"},
            "a b:s:%",
        )
    ]
    assert ledger["token_requests"] == {"granted": 1}


def test_the_password_grant_gives_each_user_a_token(replay, endpoint, target, tmp_path):
    """Kept by the user, so that a token that production refreshed changes nothing."""
    (tmp_path / "users.csv").write_text(
        f"subject,user,password\n{subject('ann')},ann@staging,pa\n{subject('ben')},ben@staging,pb\n"
    )
    auth = (
        f"[{{use: {{password: {{token_url: '{endpoint.url}/token', client_id: app,"
        " client_auth: post, client_secret: s, users: {by: subject, file: users.csv}}}}]"
    )
    captured = [bearer(0), bearer(1, token=2), bearer(2, "ben"), bearer(3, "eve")]
    _, ledger, _ = replay(captured, auth)
    assert sorted(sent(target)) == [
        "Bearer tok-ann@staging-1",
        "Bearer tok-ann@staging-1",
        "Bearer tok-ben@staging-1",
    ]
    assert next(one.fields for one in endpoint.asked if "ann" in one.text) == {
        "grant_type": "password", "username": "ann@staging", "password": "pa",
        "client_id": "app", "client_secret": "s",
    }  # fmt: skip
    assert ledger["skipped"] == {"no credential": 1}


def test_a_refresh_token_is_exchanged(replay, endpoint, target):
    """Those that one has, by user."""
    auth = (
        f"[{{use: {{refresh_token: {{token_url: '{endpoint.url}', client_id: app,"
        f" tokens: {{by: subject, entries: {{'{subject('ann')}': r1}}}}}}}}}}]"
    )
    replay([bearer(0)], auth)
    assert sent(target) == ["Bearer tok-r1-1"]
    assert endpoint.asked[0].fields == {
        "grant_type": "refresh_token", "refresh_token": "r1", "client_id": "app",
    }  # fmt: skip


def test_a_token_that_the_target_refuses_is_refreshed_once(replay, endpoint):
    """The shot is sent again with a fresh one; what that one gets is the outcome."""
    statuses = iter([401, 200, 200])
    application = Application(lambda _request: Answer(next(statuses)))
    auth = f"[{{use: {{client_credentials: {{token_url: '{endpoint.url}', client_id: a}}}}}}]"
    with serving(application):
        status, ledger, _ = replay([bearer(0), bearer(1)], auth, "--target", application.url)
    assert status == 0
    assert [one.header("Authorization") for one in application.requests] == [
        "Bearer tok-all-1", "Bearer tok-all-2", "Bearer tok-all-2",
    ]  # fmt: skip
    assert (ledger["status"], ledger["resent"]) == ({"2xx": 2}, 1)
    assert ledger["token_requests"] == {"granted": 2}


def test_a_request_that_is_sent_twice_to_tell_noise_has_its_token(replay, endpoint):
    """It is the same request in all that it carries, and no shot of its own."""
    numbers = iter(range(99))
    application = Application(lambda _request: Answer(200, (), f"{next(numbers)}".encode()))
    auth = f"[{{use: {{client_credentials: {{token_url: '{endpoint.url}', client_id: a}}}}}}]"
    one = bearer(0)
    one.response = Response(200, [("Content-Type", "application/json")], "-1", "utf8", 2)
    with serving(application):
        options = ("--target", application.url, "--noise-probe", "1")
        status, ledger, _ = replay([one], auth, *options)
    assert (status, ledger["answered"], ledger["probes"]) == (0, 1, {"answered": 1})
    assert [request.header("Authorization") for request in application.requests] == [
        "Bearer tok-all-1", "Bearer tok-all-1",
    ]  # fmt: skip
    (finding,) = ledger["comparison"]["findings"]
    assert finding["text"] == "GET /: header content-type is missing in 100 % (1 of 1)"


def test_a_target_that_always_refuses_is_not_asked_for_ever(replay, endpoint, target):
    """One fresh token, then its 401 is the answer."""
    target.answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    auth = f"[{{use: {{client_credentials: {{token_url: '{endpoint.url}', client_id: a}}}}}}]"
    _, ledger, _ = replay([bearer(n) for n in range(20)], auth)
    assert ledger["status"] == {"4xx": 20}
    assert (ledger["token_requests"], ledger["resent"]) == ({"granted": 2}, 1)
    assert len(target.requests) == 21


def test_what_production_refused_is_no_reason_for_a_new_token(replay, endpoint, target):
    """A 401 that was recorded comes again, as it should."""
    target.answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    auth = f"[{{use: {{client_credentials: {{token_url: '{endpoint.url}', client_id: a}}}}}}]"
    one = bearer(0)
    one.response.status = 401
    _, ledger, _ = replay([one], auth)
    assert (ledger["token_requests"], ledger["resent"]) == ({"granted": 1}, 0)


def test_a_shot_without_a_token_is_not_sent(replay, endpoint, target):
    """Shed as `no token`, with one line that says why and holds no secret."""
    endpoint.answer = lambda _asked: (400, {"error": "invalid_client", "hint": "s3cret"}, {})
    auth = (
        f"[{{use: {{client_credentials: {{token_url: '{endpoint.url}/x?k=s3cret', client_id: a,"
        " client_secret: s3cret}}}]"
    )
    status, ledger, said = replay([bearer(n) for n in range(3)], auth)
    assert (status, target.requests) == (3, [])
    assert ledger["shed"] == {"no token": 3}
    assert ledger["token_requests"]["refused"] >= 1
    assert "targets.t.auth.0: no credential: 127.0.0.1: HTTP 400 invalid_client" in said
    assert "s3cret" not in said


def test_users_without_a_token_do_not_hold_up_others(replay, endpoint, target):
    """What waits for one token waits beside those that have theirs."""
    endpoint.answer = lambda asked: (
        (400, {"error": "invalid_grant"}, {})
        if asked.fields["username"] == "ann"
        else endpoint.grant(asked)
    )
    entries = ", ".join(
        f"'{subject(user)}': {{user: {user}, password: p}}" for user in ("ann", "ben")
    )
    auth = (
        f"[{{use: {{password: {{token_url: '{endpoint.url}',"
        f" users: {{by: subject, entries: {{{entries}}}}}}}}}}}]"
    )
    _, ledger, _ = replay([bearer(n, "ann" if n % 2 else "ben") for n in range(10)], auth)
    assert sent(target) == ["Bearer tok-ben-1"] * 5
    assert ledger["shed"] == {"no token": 5}


def test_an_endpoint_that_fails_for_a_moment_is_asked_again(replay, endpoint, target):
    """A shot waits for its token while the endpoint recovers."""
    endpoint.answer = lambda asked: (
        (503, "", {}) if len(endpoint.asked) == 1 else endpoint.grant(asked)
    )
    auth = f"[{{use: {{client_credentials: {{token_url: '{endpoint.url}', client_id: a}}}}}}]"
    status, ledger, said = replay([bearer(0)], auth)
    assert status == 0
    assert ledger["token_requests"] == {"failed": 1, "granted": 1}
    assert "HTTP 503" in said
    assert "credentials can be had again" in said


def pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256"])
def test_a_jwt_is_minted_of_the_captured_claims(replay, target, tmp_path, algorithm):
    """Signed with the target's key; times are fresh, whatever was captured."""
    if algorithm == "HS256":
        key = verify = "k" * 32
    else:
        private = (
            rsa.generate_private_key(65537, 2048)
            if algorithm == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )
        key, verify = pem(private), private.public_key()
    (tmp_path / "key").write_text(key)
    auth = (
        f"[{{use: {{jwt: {{key: '${{file:key}}', algorithm: {algorithm}, key_id: k1,"
        f" keep: [aud, exp], claims: {{iss: 'https://login.staging'}}, lifetime: 5m,"
        f" subjects: {{by: subject, entries: {{'{subject('ann')}': ann@staging}}}}}}}}}}]"
    )
    status, _, _ = replay([bearer(0), bearer(1)], auth)
    assert status == 0
    first, second = sent(target)
    assert first == second
    token = first.removeprefix("Bearer ")
    claims = jwt.decode(token, verify, algorithms=[algorithm], audience="orders")
    assert claims["iss"] == "https://login.staging"
    assert claims["sub"] == "ann@staging"
    assert claims["exp"] - claims["iat"] == 301
    assert jwt.get_unverified_header(token)["kid"] == "k1"


def test_a_login_gives_a_cookie(replay, endpoint, target):
    """The request is the rules' own; the cookie stands where production's stood."""
    endpoint.answer = lambda _asked: (
        302,
        "",
        {"Set-Cookie": "sid=s%3A1.x; Path=/", "Location": "/"},
    )
    entries = f"{{'{fingerprint(1)}': {{user: 'a{{password}}', password: 'p\"1'}}}}"
    auth = (
        f"[{{use: {{login: {{url: '{endpoint.url}/login',"
        " json: {login: {name: '{user}', secret: '{password}'}}, cookie: sid,"
        f" users: {{by: fingerprint, entries: {entries}}}}}}}}}]"
    )
    status, ledger, _ = replay([cookie(0), cookie(1), cookie(2, "csrf"), cookie(3, user=2)], auth)
    assert status == 0
    assert sorted(sent(target, b"cookie"), reverse=True) == [
        "theme=dark; sid=s%3A1.x", "theme=dark; sid=s%3A1.x", "theme=dark", "theme=dark",
    ]  # fmt: skip
    assert [one.text for one in endpoint.asked] == [
        '{"login":{"name":"a{password}","secret":"p\\"1"}}'
    ]
    assert ledger["token_requests"] == {"granted": 1}


def test_a_login_gives_a_token(replay, endpoint, target):
    """From a place in the JSON of its answer, for one user for all."""
    endpoint.answer = lambda _asked: (200, {"data": {"token": "t1"}}, {})
    auth = (
        f"[{{use: {{login: {{url: '{endpoint.url}/login',"
        " form: {u: '{user}', p: '{password}'}, token: $.data.token, user: ann, password: 'a&b'}}}]"
    )
    replay([bearer(0)], auth)
    assert sent(target) == ["Bearer t1"]
    assert endpoint.asked[0].fields == {"u": "ann", "p": "a&b"}


FUNCTIONS = """
def plain(asked):
    return {"value": f"{asked['scheme']}-{asked['claims']['aud']}", "expires_in": 60}

async def later(asked):
    return "later"

def broken(asked):
    raise ValueError("s3cret")
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [pytest.param("plain", "Bearer Bearer-orders", id="in a thread"),
     pytest.param("later", "Bearer later", id="async")],
)  # fmt: skip
def test_a_function_gives_the_credential(replay, target, tmp_path, monkeypatch, name, value):
    """It is told what was captured, sealed, and is asked once for a user."""
    (tmp_path / "ours.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    _, ledger, _ = replay([bearer(0), bearer(1)], f"[{{use: {{call: 'ours:{name}'}}}}]")
    assert sent(target) == [value, value]
    assert ledger["token_requests"] == {"granted": 1}


def test_a_function_fills_in_a_sealed_field(replay, target, tmp_path, monkeypatch):
    """Escaped for JSON, with the length of what is sent."""
    (tmp_path / "fields.py").write_text("def password(asked):\n    return 'p\"' + asked['name']\n")
    monkeypatch.syspath_prepend(tmp_path)
    body = SEALED_PASSWORD
    one = exchange(
        0, "POST", "/login", [("Host", "h"), ("Content-Type", "application/json")], body.encode(),
        credentials=[Credential("body", "password", fingerprint(9))],
    )  # fmt: skip
    replay([one], "[{when: {in: body}, use: {call: 'fields:password'}}]")
    assert target.requests[0].body == b'{"user":{"name":"ann"},"password":"p\\"password"}'


def test_a_body_that_lies_apart_is_filled_in_too(replay, target, tmp_path, monkeypatch):
    """It is read while the credential is fetched, and sent with its own length."""
    (tmp_path / "apart.py").write_text("def password(asked):\n    return 'staging'\n")
    monkeypatch.syspath_prepend(tmp_path)
    one = exchange(
        0, "POST", "/login", [("Host", "h"), ("Content-Type", "application/json")],
        credentials=[Credential("body", "password", fingerprint(9))],
    )  # fmt: skip
    one.request.body_ref, one.request.body_bytes = f"bodies/2023/11/14/22/{0:032x}", 99
    body = tmp_path / "capture" / one.request.body_ref
    body.parent.mkdir(parents=True)
    body.write_text(SEALED_PASSWORD)
    status, _, said = replay([one], "[{when: {in: body}, use: {call: 'apart:password'}}]")
    assert (status, said) == (0, "")
    assert target.requests[0].body == b'{"user":{"name":"ann"},"password":"staging"}'
    assert target.requests[0].header(b"content-length") == b"44"


def test_a_password_per_user_is_found_by_another_field(replay, target):
    """The user's name stands beside the sealed password."""
    body = SEALED_PASSWORD
    one = exchange(
        0, "POST", "/login", [("Host", "h"), ("Content-Type", "application/json")], body.encode(),
        credentials=[Credential("body", "password", fingerprint(9))],
    )  # fmt: skip
    replay([one], "[{use: {table: {by: 'field:user.name', entries: {ann: staging1}}}}]")
    assert target.requests[0].body == b'{"user":{"name":"ann"},"password":"staging1"}'


def test_a_query_key_is_set(replay, target):
    """Where the captured one stood; the rest of the query stays as it is."""
    one = exchange(
        0, target=f"/x?b=%20&api_key={{{fingerprint(1)}}}&c",
        credentials=[Credential("query", "api_key", fingerprint(1))],
    )  # fmt: skip
    replay([one], "[{use: {query: {api_key: 'k&1', app: z}}}]")
    assert target.requests[0].line == b"GET /x?b=%20&api_key=k%261&c&app=z HTTP/1.1"


def test_each_credential_has_the_first_entry_that_fits_it(replay, endpoint, target):
    """A token for the header, a table for the body's password."""
    one = bearer(0)
    one.request.body = SEALED_PASSWORD
    one.request.body_encoding = "utf8"
    one.credentials.append(Credential("body", "password", fingerprint(9)))
    auth = (
        f"[{{use: {{client_credentials: {{token_url: '{endpoint.url}', client_id: a}}}}}},"
        f" {{use: {{table: {{by: fingerprint, entries: {{'{fingerprint(9)}': pw}}}}}}}}]"
    )
    replay([one], auth)
    assert sent(target) == ["Bearer tok-all-1"]
    assert target.requests[0].body == b'{"user":{"name":"ann"},"password":"pw"}'


def test_users_that_nothing_maps_are_named(tmp_path, target, capfd):
    """By claims, with the most frequent: what a rule file needs to know."""
    captured = [bearer(n, "ann" if n % 3 else "ben") for n in range(9)]
    capture = write_capture(tmp_path / "capture", captured)
    main(["replay", str(capture), "--target", target.url, "--speed", "max"])
    said = capfd.readouterr().out
    assert "unmapped    9 of header Authorization Bearer iss=https://login aud=orders" in said
    assert f"6 by {subject('ann')}\n            3 by {subject('ben')}" in said
