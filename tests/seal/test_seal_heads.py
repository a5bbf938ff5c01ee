"""Secrets in targets, headers and cookies are replaced, and nothing else is."""

from __future__ import annotations

import pytest
from sealing import jwt, mark, sealer

from mirrorproxy.capture.seal import SealPolicy
from mirrorproxy.record import Credential

TOKEN = jwt(sub="user-7", iss="https://login", aud="orders", email="ada@example.test", exp=1)


def header(name: str, value: str, **policy: object) -> str | None:
    sealed = sealer(**policy).request("/", [(name, value)]).headers
    return sealed[0][1] if sealed else None


@pytest.mark.parametrize(
    ("value", "sealed"),
    [
        pytest.param("Bearer abc.def", f"Bearer {mark('abc.def')}", id="bearer"),
        pytest.param("bearer  abc", f"bearer  {mark('abc')}", id="lower case, two spaces"),
        pytest.param("Bearer abc ", f"Bearer {mark('abc')}", id="space after it"),
        pytest.param(f"Bearer {TOKEN}", f"Bearer {mark(TOKEN)}", id="a JWT"),
        pytest.param("Basic YWRhOnB3", f"Basic {mark('YWRhOnB3')}", id="basic"),
        pytest.param("Basic bm9jb2xvbg==", f"Basic {mark('bm9jb2xvbg==')}", id="basic, no colon"),
        pytest.param("Basic %%%", f"Basic {mark('%%%')}", id="basic, not base64"),
        pytest.param("opensesame", mark("opensesame"), id="no scheme"),
        pytest.param("my secret words", mark("my secret words"), id="unknown scheme"),
        pytest.param(
            "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=fe",
            f"AWS4-HMAC-SHA256 {mark('Credential=AKIA/x, Signature=fe')}",
            id="AWS signature",
        ),
        pytest.param(
            'Digest username="ada", response="9f"',
            "Digest " + mark('username="ada", response="9f"'),
            id="digest",
        ),
        pytest.param("Bearer s\xe9cret", f"Bearer {mark(bytes([115, 233]) + b'cret')}", id="latin"),
        pytest.param("", "", id="empty"),
    ],
)
def test_authorization(value: str, sealed: str):
    """A known scheme stays; whatever else stands there does not."""
    assert header("Authorization", value) == sealed
    assert header("PROXY-authorization", value) == sealed
    assert header("Grpc-Metadata-Authorization", value) == sealed


@pytest.mark.parametrize(
    "name",
    [
        "X-Consumer-Key", "X-Subscription-Key", "Authentication", "X-Session", "X-App-Key",
        "X-Api-Key", "apikey", "Api_Key", "X-Auth-Token", "x-amz-security-token", "X-CSRF-Token",
        "Ocp-Apim-Subscription-Key", "X-Goog-Api-Key", "Private-Token", "X-Client-Secret",
        "X-Vault-Token", "X-Password", "X-GitHub-OTP", "X-Passcode",
    ],
)  # fmt: skip
def test_headers_that_hold_keys(name: str):
    """The usual headers for keys and tokens are sealed whole, whatever their case."""
    assert header(name, "s3cr3t value") == mark("s3cr3t value")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "api.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("Content-Type", 'multipart/form-data; boundary="a=b"'),
        ("Idempotency-Key", "0192-7711"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZQ=="),
        ("If-None-Match", 'W/"abc"'),
        ("Referer", "https://shop.example/list?page=2&sort=price#top"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Cache-Control", "max-age=0, s-maxage=10"),
    ],
)
def test_ordinary_headers_stay(name: str, value: str):
    """What is no secret is recorded byte for byte."""
    assert header(name, value) == value


@pytest.mark.parametrize(
    ("value", "sealed"),
    [
        pytest.param("a=1; b=2", f"a={mark('1')}; b={mark('2')}", id="each value"),
        pytest.param('a="q v";b=', f'a="{mark("q v")}";b=', id="quoted, empty"),
        pytest.param("alone", mark("alone"), id="no equals sign"),
        pytest.param("a=x=y==; a=z", f"a={mark('x=y==')}; a={mark('z')}", id="equals, repeated"),
        pytest.param("a= 1 ;  b=2 ", f"a= {mark('1')} ;  b={mark('2')} ", id="odd spacing"),
        pytest.param('a="', f"a={mark(chr(34))}", id="a lone quote"),
    ],
)
def test_cookies(value: str, sealed: str):
    """Each cookie's value is sealed, unquoted; names and spacing stay."""
    assert header("Cookie", value) == sealed


def test_set_cookie_keeps_attributes():
    """Of a new cookie only the value goes."""
    sealed = sealer().response(
        [("Set-Cookie", "sid=abc; Path=/; HttpOnly; Max-Age=60"), ("set-cookie", 'x="v"; Secure')]
    )
    assert sealed == [
        ("Set-Cookie", f"sid={mark('abc')}; Path=/; HttpOnly; Max-Age=60"),
        ("set-cookie", f'x="{mark("v")}"; Secure'),
    ]


@pytest.mark.parametrize(
    ("target", "sealed"),
    [
        pytest.param("/a?page=2&q=x", "/a?page=2&q=x", id="nothing"),
        pytest.param('/a?b=\xe5|{}"^<>&c=1', '/a?b=\xe5|{}"^<>&c=1', id="ugly but harmless"),
        pytest.param("/a?token=s3", f"/a?token={mark('s3')}", id="token"),
        pytest.param("/a?x=1&Access_Token=s3&y", f"/a?x=1&Access_Token={mark('s3')}&y", id="case"),
        pytest.param("/a?pass%77ord=s%2B3", f"/a?pass%77ord={mark('s+3')}", id="escaped"),
        pytest.param("/a?%74oken=s3", f"/a?%74oken={mark('s3')}", id="first letter escaped"),
        pytest.param("/a?password=s+3", f"/a?password={mark('s 3')}", id="plus sign"),
        pytest.param("/a?u[password]=s", f"/a?u[password]={mark('s')}", id="nested name"),
        pytest.param("/a?x=1;token=s3", f"/a?x=1;token={mark('s3')}", id="semicolon"),
        pytest.param("/a?token=s;3", f"/a?token={mark('s;3')}", id="semicolon in the secret"),
        pytest.param(
            "/a?token=1&token=2", f"/a?token={mark('1')}&token={mark('2')}", id="repeated"
        ),
        pytest.param("/a?sig=s3&code=c", f"/a?sig={mark('s3')}&code={mark('c')}", id="signed"),
        pytest.param("/a#access_token=s3&x=1", f"/a#access_token={mark('s3')}&x=1", id="fragment"),
        pytest.param("/a#/cb?code=s3", f"/a#/cb?code={mark('s3')}", id="query in fragment"),
        pytest.param("/a;jsessionid=s3?x=1", f"/a;jsessionid={mark('s3')}?x=1", id="path"),
        pytest.param("http://u:p@h/a", f"http://{mark('u:p')}@h/a", id="absolute, user"),
        pytest.param("http://u:p@x@h/a", f"http://{mark('u:p@x')}@h/a", id="two at signs"),
        pytest.param("u:p@h:443", f"{mark('u:p')}@h:443", id="authority form"),
        pytest.param(f"/reset/{TOKEN}", f"/reset/{mark(TOKEN)}", id="a JWT in the path"),
        pytest.param("/a?n=/b?token=s3", f"/a?n=/b?token={mark('s3')}", id="URL in a value"),
        pytest.param(
            "/a?n=%2Fb%3Ftoken%3Ds3&x=1", f"/a?n={mark('/b?token=s3')}&x=1", id="escaped URL"
        ),
        pytest.param(
            "/a?n=%252Fb%253Ftoken%253Ds3", f"/a?n={mark('%2Fb%3Ftoken%3Ds3')}", id="twice escaped"
        ),
        pytest.param(
            "/a?f=%7B%22password%22:%22s3%22%7D",
            "/a?f=" + mark('{"password":"s3"}'),
            id="JSON in a value",
        ),
    ],
)
def test_targets(target: str, sealed: str):
    """Names are compared unescaped; only a secret's own bytes change."""
    assert sealer().request(target, []).target == sealed


def test_urls_in_headers_are_sealed_like_targets():
    """Location and Referer are URLs: user, query and fragment."""
    url = "https://u:p@h/cb?code=s3&state=1#id_token=s3"
    sealed = f"https://{mark('u:p')}@h/cb?code={mark('s3')}&state=1#id_token={mark('s3')}"
    assert header("Referer", url) == sealed
    assert sealer().response([("location", url)]) == [("location", sealed)]


def test_other_headers_are_looked_into():
    """Tokens and named secrets do not pass in headers of any name."""
    assert header("X-Debug", f"t={TOKEN};") == f"t={mark(TOKEN)};"
    assert header("X-Debug", 'a=1, token="s3"') == f'a=1, token="{mark("s3")}"'
    assert header("Link", "<https://h/?token=s3>; rel=next") == (
        f"<https://h/?token={mark('s3')}>; rel=next"
    )
    assert header("Refresh", "0; url=https://u:p@h/") == f"0; url=https://{mark('u:p')}@h/"


def test_a_forged_mark_is_sealed_itself():
    """Whoever sends somebody's mark gets a mark of that mark."""
    forged = mark("victim")
    assert header("X-Note", forged) == mark(forged)
    assert header("Authorization", f"Bearer {forged}") == f"Bearer {mark(forged)}"
    assert sealer().request(f"/a?n={forged}", []).target == f"/a?n={mark(forged)}"
    assert header("Cookie", f"a={forged}") == f"a={mark(forged)}"


def test_credentials_of_a_token():
    """Of a JWT some claims are told, and whose it is only as a fingerprint."""
    found = sealer().request("/", [("Authorization", f"Bearer {TOKEN}")]).credentials
    assert found == [
        Credential(
            "header",
            "Authorization",
            mark(TOKEN)[1:-1],
            scheme="Bearer",
            subject=mark("user-7")[1:-1],
            claims={"iss": "https://login", "aud": "orders"},
        )
    ]


def test_the_subject_outlives_the_token():
    """A refreshed token has another fingerprint and the same subject."""
    first, second = (
        sealer().request("/", [("Authorization", f"Bearer {token}")]).credentials[0]
        for token in (jwt(sub="u", exp=1), jwt(sub="u", exp=2))
    )
    assert first.subject == second.subject
    assert first.fingerprint != second.fingerprint


def test_basic_tells_the_user_only_by_choice():
    """The user name is a fingerprint unless the policy says otherwise."""
    headers = [("Authorization", "Basic YWRhOnB3")]
    hidden = sealer().request("/", headers).credentials[0]
    told = sealer(basic_user=True).request("/", headers).credentials[0]
    assert (hidden.user, hidden.subject) == (None, mark("ada")[1:-1])
    assert (told.user, told.subject) == ("ada", mark("ada")[1:-1])


def test_one_secret_has_one_mark_everywhere():
    """Header, cookie, query, form, JSON and multipart agree about a secret."""
    sealed = sealer()
    head = sealed.request("/?token=s%203", [("Cookie", 'c="s 3"'), ("X-Api-Key", "s 3")])
    bodies = [
        sealed.body(b"token=s+3", "application/x-www-form-urlencoded", None),
        sealed.body(b'{"token":"s\\u00203"}', "application/json", None),
        sealed.body(
            b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\ns 3\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            None,
        ),
    ]
    found = [*head.credentials, *(entry for body in bodies for entry in body.credentials)]
    assert [entry.fingerprint for entry in found] == [mark("s 3")[1:-1]] * 6
    assert [entry.place for entry in found] == ["query", "cookie", "header", "body", "body", "body"]


@pytest.mark.parametrize(
    ("policy", "name", "value", "expected"),
    [
        pytest.param({"headers": {"X-Api-Key": "keep"}}, "x-api-key", "s", "s", id="keep header"),
        pytest.param({"headers": {"X-Api-Key": "drop"}}, "X-API-Key", "s", None, id="drop header"),
        pytest.param({"headers": {"X-Odd": "seal"}}, "x-odd", "s", mark("s"), id="seal header"),
        pytest.param(
            {"cookies": {"theme": "keep"}}, "Cookie", "theme=d; b=2", f"theme=d; b={mark('2')}",
            id="keep cookie",
        ),
        pytest.param({"cookies": {"a": "drop"}}, "Cookie", "a=1; b=2", f"b={mark('2')}", id="drop"),
    ],
)  # fmt: skip
def test_modes(policy: dict[str, object], name: str, value: str, expected: str | None):
    """A name's mode says whether its value is sealed, dropped or kept."""
    assert header(name, value, **policy) == expected


def test_what_is_kept_is_listed():
    """The warning at start-up names all that is recorded in the clear."""
    policy = SealPolicy(headers={"x-a": "keep", "x-b": "seal"}, fields={"code": "keep"})
    assert policy.kept() == ["header x-a", "field code"]
