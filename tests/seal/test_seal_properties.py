"""Whatever the body and however it is cut: the same result, and no secret in it."""

from __future__ import annotations

import base64
import json
import string
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealing import in_pieces, jwt, sealer

from mirrorproxy.marks import find_marks

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XX"

NAMES = ["password", "access_token", "code", "apiKey", "user[secret]", "otp", "x-api-key"]
ORDINARY = ["id", "name", "country_code", "monkey", "note", "", "a.b"]

secrets = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=8, max_size=30
).map(lambda text: "\u20acS3cr" + text + "et9!")
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=12)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(ORDINARY) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def documents_with_secrets(draw: st.DrawFn) -> tuple[object, list[str]]:
    """A JSON document with secrets under sensitive names, somewhere deep in it."""
    planted = draw(st.lists(secrets, min_size=1, max_size=3))
    document: object = draw(plain)
    for secret in planted:
        shape = draw(st.integers(0, 3))
        value: object = [secret, [secret]][shape == 1] if shape < 2 else {"inner": [1, secret]}
        holder = {draw(st.sampled_from(NAMES)): value, "other": document}
        document = json.dumps(holder) if shape == 3 and draw(st.booleans()) else holder
        document = [document, draw(plain)] if draw(st.booleans()) else {"wrap": document}
    return document, planted


def spellings(secret: str) -> list[bytes]:
    raw = secret.encode()
    return [
        raw,
        json.dumps(secret)[1:-1].encode(),
        json.dumps(json.dumps(secret)[1:-1])[1:-1].encode(),
        urllib.parse.quote(secret).encode(),
        urllib.parse.quote_plus(secret).encode(),
        base64.b64encode(raw)[:-4],
        raw[4:-4],
    ]


cuts = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(documents_with_secrets(), st.booleans(), st.sampled_from([None, 2]), cuts)
def test_no_planted_secret_in_json(planted, is_ascii, indent, sizes):
    """A secret under a sensitive name never comes out, and what comes out is JSON."""
    document, secrets_in = planted
    data = json.dumps(document, ensure_ascii=is_ascii, indent=indent).encode()
    result = sealer().body(data, JSON, None)
    assert result.data is not None
    json.loads(result.data)
    assert result.data.count(b"{h1:") >= 1
    for secret in secrets_in:
        for spelling in spellings(secret):
            assert spelling not in result.data
    assert in_pieces(data, sizes, JSON) == (result.data, None)


@given(st.lists(st.tuples(st.sampled_from(ORDINARY), secrets), max_size=4), secrets, cuts)
def test_no_planted_secret_in_forms(others, secret, sizes):
    """A sensitive field of a form or query never comes out, however it is escaped."""
    secret += "only here"
    pairs = [*others, ("pass word", secret)]
    data = urllib.parse.urlencode(pairs).encode()
    result = sealer().body(data, FORM, None)
    assert result.data is not None
    assert urllib.parse.quote_plus(secret).encode() not in result.data
    assert in_pieces(data, sizes, FORM) == (result.data, None)
    head = sealer().request("/x?" + data.decode(), [])
    assert urllib.parse.quote_plus(secret) not in head.target


@given(secrets, st.binary(max_size=60), cuts)
def test_no_planted_secret_in_multipart(secret, file, sizes):
    """A sensitive part never comes out; a file beside it comes out unchanged."""
    file = file.replace(b"-", b"")
    head = b'--XX\r\nContent-Disposition: form-data; name="%s"\r\n%s\r\n'
    picture = head % (b"file", b"Content-Type: image/png\r\n") + file
    data = picture + b"\r\n" + head % (b"token", b"") + secret.encode() + b"\r\n--XX--\r\n"
    result = sealer().body(data, MULTIPART, None)
    assert result.data is not None
    assert result.data.startswith(picture)
    assert secret.encode() not in result.data
    assert in_pieces(data, sizes, MULTIPART) == (result.data, None)


fragments = st.sampled_from(
    [
        '"', "\\", '\\"', "{", "}", "[", "]", ":", ",", "&", "=", ";", "%", "%22", "\\u0070", "\n",
        "password", '"password":', '"token"', "code=", "12", "-", "1e", "true", "nul", " ", "'",
        "/",
        "eyJhbGciOi.", "eyJzdWIiOi", ".c2ln", "{h1:", "{h1:0000:" + "0" * 32 + "}", "--XX", "\r\n",
        "Content-Disposition: form-data; name=otp\r\n\r\n", "<a>", "</token>", "\0", "@", "//u:p@h",
    ]
)  # fmt: skip


@settings(max_examples=150)
@given(
    st.lists(fragments, max_size=25).map("".join),
    st.sampled_from([JSON, FORM, MULTIPART, None, "text/plain", "text/xml"]),
    cuts,
)
def test_any_text_cut_anywhere(text, content_type, sizes):
    """Broken bodies never raise, and pieces give what the whole gives."""
    data = text.encode()
    result = sealer().body(data, content_type, None)
    assert in_pieces(data, sizes, content_type) == (result.data, result.omitted)


@given(
    st.binary(max_size=200), st.sampled_from([JSON, FORM, None]), st.sampled_from([None, "gzip"])
)
def test_any_bytes(data, content_type, coding):
    """Arbitrary bytes never raise."""
    result = sealer().body(data, content_type, coding)
    assert (result.data is None) == (result.omitted is not None)


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_any_head(text):
    """Arbitrary targets and header values never raise."""
    headers = [(name, text) for name in ("Cookie", "Authorization", "Referer", "X-A", "Set-Cookie")]
    sealed = sealer().request(text, headers)
    assert [name for name, _ in sealed.headers] == [name for name, _ in headers]


def test_sealing_twice_finds_only_marks():
    """A sealed body sealed again holds marks in the same places."""
    data = b'{"password":"s3","a":[{"otp":1}],"b":"token=x"}'
    once = sealer().body(data, JSON, None).data
    twice = sealer().body(once, JSON, None).data
    assert len(find_marks(once)) == len(find_marks(twice)) == 3


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(b"eyJ", id="tokens begun"),
        pytest.param(b"eyJhbGci.eyJ", id="tokens half begun"),
        pytest.param(b"{h1:0000:", id="marks begun"),
        pytest.param(b'"\\"', id="quotes"),
        pytest.param(b'{"a":[', id="brackets"),
        pytest.param(b'{"token":[', id="brackets in a secret"),
        pytest.param(b'{"token":"', id="open strings"),
        pytest.param(b"token=;", id="semicolons"),
        pytest.param(b"%25", id="escapes"),
        pytest.param(b"//@", id="user names"),
        pytest.param(b"\r\n--XX", id="boundaries begun"),
        pytest.param(b"aaaaaaaa", id="one word"),
        pytest.param(b"1111", id="one number"),
    ],
)
@pytest.mark.parametrize("content_type", [JSON, FORM, MULTIPART, "text/plain"])
@pytest.mark.timeout(30)
def test_hostile_bodies_take_linear_time(unit: bytes, content_type: str):
    """No body of a client's makes sealing quadratic: a square of this would pass the time limit."""
    data = b"token" + unit * (100_000 // len(unit))
    result = sealer().body(data, content_type, None)
    assert (result.data is None) == (result.omitted is not None)
    in_pieces(data, [4096], content_type)


def test_marks_are_ascii_words():
    """A mark needs no escaping in JSON, headers or cookies."""
    assert set("{h1:}") <= set(string.punctuation + string.ascii_letters + string.digits)
    token = jwt(sub="x")
    sealed = sealer().body(json.dumps({"a": token}).encode(), JSON, None).data
    assert sealed is not None
    assert token.encode() not in sealed
