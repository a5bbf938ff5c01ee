"""Secrets in bodies are replaced in place, or the body is not recorded."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from sealing import in_pieces, jwt, mark, sealer

TOKEN = jwt(sub="user-7", iss="https://login")
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
S = mark("s3")
N = mark("12")


def body(data: str | bytes, content_type: str | None = JSON, coding: str | None = None, **policy):
    raw = data.encode() if isinstance(data, str) else data
    return sealer(**policy).body(raw, content_type, coding)


SEALED = [
    pytest.param('{"password":"s3"}', JSON, f'{{"password":"{S}"}}', id="plain"),
    pytest.param('{"Pass_Word" : "s3" }', JSON, f'{{"Pass_Word" : "{S}" }}', id="case, spacing"),
    pytest.param('{"pass\\u0077ord":"s3"}', JSON, f'{{"pass\\u0077ord":"{S}"}}', id="escaped key"),
    pytest.param('{"password":"s\\u0033"}', JSON, f'{{"password":"{S}"}}', id="escaped value"),
    pytest.param('{"password":"\\""}', JSON, f'{{"password":"{mark(chr(34))}"}}', id="quote"),
    pytest.param('{"a":{"b":[{"otp":12}]}}', JSON, f'{{"a":{{"b":[{{"otp":"{N}"}}]}}}}', id="deep"),
    pytest.param('{"otp":12}', JSON, f'{{"otp":"{N}"}}', id="a number becomes a string"),
    pytest.param('{"otp":-1.5e3}', JSON, f'{{"otp":"{mark("-1.5e3")}"}}', id="odd number"),
    pytest.param('{"token":null,"secret":""}', JSON, '{"token":null,"secret":""}', id="nothing"),
    pytest.param('{"token":true}', JSON, '{"token":true}', id="a truth is no secret"),
    pytest.param(
        '{"token":{"a":["s3",12,null],"b":{"c":"s3"}},"d":"x"}', JSON,
        f'{{"token":{{"a":["{S}","{N}",null],"b":{{"c":"{S}"}}}},"d":"x"}}', id="object and array",
    ),
    pytest.param(
        '{"token":"s3","token":"x","token":[]}', JSON,
        f'{{"token":"{S}","token":"{mark("x")}","token":[]}}', id="duplicate keys",
    ),
    pytest.param('{"a":1}\n{"secret":"s3"}\n', "application/x-ndjson",
                 f'{{"a":1}}\n{{"secret":"{S}"}}\n', id="NDJSON"),
    pytest.param('[{"secret":"s3"}]', None, f'[{{"secret":"{S}"}}]', id="no content type"),
    pytest.param('{"secret":"s3"}', FORM, f'{{"secret":"{S}"}}', id="JSON sent as a form"),
    pytest.param(' \n{"secret":"s3"}', "text/plain", f' \n{{"secret":"{S}"}}', id="as text"),
    pytest.param('{"secret":"s3"}', "application/vnd.api+json; charset=utf-8",
                 f'{{"secret":"{S}"}}', id="some JSON"),
    pytest.param('{"secret":"s3"}', "application/json; charset=utf-16",
                 f'{{"secret":"{S}"}}', id="wrong charset"),
    pytest.param('\ufeff{"secret":"s3"}', JSON, f'\ufeff{{"secret":"{S}"}}', id="byte order mark"),
    pytest.param('{"secret":"s3', JSON, f'{{"secret":"{S}', id="cut in the secret"),
    pytest.param('{"secret":12', JSON, f'{{"secret":"{N}"', id="cut after a number"),
    pytest.param('{"secret":{"a":"s3', JSON, f'{{"secret":{{"a":"{S}', id="cut in an object"),
    pytest.param('{"a":"s3","secr', JSON, '{"a":"s3","secr', id="cut in a key"),
    pytest.param(f'{{"a":"x {TOKEN}."}}', JSON, f'{{"a":"x {mark(TOKEN)}."}}', id="JWT in text"),
    pytest.param(f'{{"id_token":"{TOKEN}"}}', JSON, f'{{"id_token":"{mark(TOKEN)}"}}', id="JWT"),
    pytest.param('{"b":"{\\"secret\\":\\"s3\\",\\"c\\":1}"}', JSON,
                 f'{{"b":"{{\\"secret\\":\\"{S}\\",\\"c\\":1}}"}}', id="JSON in a string"),
    pytest.param('{"b":"{\\"otp\\":12}"}', JSON, f'{{"b":"{{\\"otp\\":\\"{N}\\"}}"}}',
                 id="number in JSON in a string"),
    pytest.param('{"b":"a=1&secret=s3&c=2"}', JSON, f'{{"b":"a=1&secret={S}&c=2"}}',
                 id="form in a string"),
    pytest.param('{"b":"a=1\\u0026secret=s3\\u0026c=2"}', JSON,
                 f'{{"b":"a=1\\u0026secret={S}\\u0026c=2"}}', id="escaped form in a string"),
    pytest.param('{"query":"mutation { login(password: \\"s3\\") }"}', JSON,
                 f'{{"query":"mutation {{ login(password: \\"{S}\\") }}"}}', id="GraphQL inline"),
    pytest.param('{"query":"q","variables":{"input":{"password":"s3"}}}', JSON,
                 f'{{"query":"q","variables":{{"input":{{"password":"{S}"}}}}}}', id="variables"),
    pytest.param('{"authorization":"Bearer s3"}', JSON, f'{{"authorization":"Bearer {S}"}}',
                 id="a header's value"),
    pytest.param('{"n":"{h1:0000:00000000000000000000000000000000}"}', JSON,
                 f'{{"n":"{mark("{h1:0000:" + "0" * 32 + "}")}"}}', id="forged mark"),
    pytest.param("a=1&password=s3&b=2", FORM, f"a=1&password={S}&b=2", id="form"),
    pytest.param("pass%77ord=s%33", FORM, f"pass%77ord={S}", id="escaped form"),
    pytest.param("%74oken=s3", FORM, f"%74oken={S}", id="first letter escaped"),
    pytest.param("a=x;secret=s3&b", FORM, f"a=x;secret={S}&b", id="form, semicolon"),
    pytest.param("user[password]=s3&data.0.api_key=s3", FORM,
                 f"user[password]={S}&data.0.api_key={S}", id="nested names"),
    pytest.param("payload=%7B%22token%22%3A%22s3%22%7D", FORM,
                 "payload=" + mark('{"token":"s3"}'), id="JSON in a form"),
    pytest.param("secret=s3&a=1", None, f"secret={S}&a=1", id="form without content type"),
    pytest.param(f"hello\n{TOKEN}\n", "text/plain", f"hello\n{mark(TOKEN)}\n", id="JWT in text"),
    pytest.param("log: token=s3, x\nb", "text/plain", f"log: token={S}, x\nb", id="text"),
    pytest.param('<a href="/r?token=s3">', "text/html", f'<a href="/r?token={S}">', id="link"),
    pytest.param('<p><input type="hidden" name="csrf_token" value="s3"></p>', "text/html",
                 f'<p><input type="hidden" name="csrf_token" value="{S}"></p>', id="HTML form"),
    pytest.param("<INPUT value='s3' NAME=form_token />\n<input name=a value=b>", "text/html",
                 f"<INPUT value='{S}' NAME=form_token />\n<input name=a value=b>",
                 id="HTML form, other spellings"),
    pytest.param('<input name="token" value="a&amp;b">', "text/html",
                 f'<input name="token" value="{mark("a&b")}">', id="HTML form, escaped value"),
    pytest.param('<!DOCTYPE html><meta name="csrf-token" content="s3"><meta name="a" content="b">',
                 None, f'<!DOCTYPE html><meta name="csrf-token" content="{S}">'
                 '<meta name="a" content="b">', id="HTML meta element"),
    pytest.param(
        '--b\r\nContent-Disposition: form-data; name="password"\r\n\r\ns3\r\n--b\r\n'
        'content-disposition: form-data; NAME=note\r\n\r\nhello\r\n--b--\r\n',
        'multipart/form-data; boundary="b"',
        f'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n{S}\r\n--b\r\n'
        'content-disposition: form-data; NAME=note\r\n\r\nhello\r\n--b--\r\n', id="multipart",
    ),
    pytest.param(
        '--b\nContent-Disposition: form-data; name="j"\nContent-Type: application/json\n\n'
        '{"secret":"s3"}\n--b--', "multipart/mixed; boundary=b",
        '--b\nContent-Disposition: form-data; name="j"\nContent-Type: application/json\n\n'
        f'{{"secret":"{S}"}}\n--b--', id="JSON in a part, bare newlines",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "content_type", "sealed"), SEALED)
def test_sealed_in_place(data: str, content_type: str | None, sealed: str):
    """Only the secret's own bytes change, whole or in pieces of any size."""
    result = body(data, content_type)
    assert (result.data and result.data.decode(), result.omitted) == (sealed, None)
    for size in (1, 2, 3, 7, 50):
        assert in_pieces(data.encode(), [size], content_type) == (sealed.encode(), None)


CLEAN = [
    pytest.param(b'{"country_code":"DE","author":"x","monkey":1}', JSON, id="near names"),
    pytest.param(b'{"a":"the password is long","passenger":"s3"}', JSON, id="prose"),
    pytest.param(b'{"a" 1}', JSON, id="not JSON, no names"),
    pytest.param(b"a=1&b=%20+&c", FORM, id="form"),
    pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0token\0", "image/png", id="picture"),
    pytest.param(b"\xff\xd8\0secret\0\0", None, id="binary"),
    pytest.param(b"<a><b>secret</b></a>", "text/xml", id="XML without secrets"),
    pytest.param(b"", JSON, id="empty"),
    pytest.param(b"{", JSON, id="one byte"),
]


@pytest.mark.parametrize(("data", "content_type"), CLEAN)
def test_left_alone(data: bytes, content_type: str | None):
    """Without a secret not one byte changes."""
    assert body(data, content_type)[:2] == (data, None)
    for size in (1, 3, 100):
        assert in_pieces(data, [size], content_type) == (data, None)


PLAIN = b'{"password":"s3","a":1}'
OMITTED = [
    pytest.param(b"{'password':'s3'}", JSON, None, id="not JSON: single quotes"),
    pytest.param(b'{password:"s3"}', JSON, None, id="not JSON: no quotes"),
    pytest.param(b'{/* " */"password":"s3"}', JSON, None, id="not JSON: comment"),
    pytest.param(b'{"a":"b"c", "password":"s3"}', JSON, None, id="not JSON: a quote too many"),
    pytest.param(b'{"password":s3}', JSON, None, id="bare word for a secret"),
    pytest.param(b"{'pass\\u0077ord':'s3'}", JSON, None, id="not JSON: escaped"),
    pytest.param(b"<a><password>s3</password></a>", "text/xml", None, id="XML element"),
    pytest.param(b'<w:Password Type="x">s3</w:Password>', "application/soap+xml", None, id="SOAP"),
    pytest.param(b"<a password='s3'/>", None, None, id="XML attribute"),
    pytest.param(PLAIN.decode().encode("utf-16"), JSON, None, id="UTF-16"),
    pytest.param(PLAIN.decode().encode("utf-16-le"), None, None, id="UTF-16 without mark"),
    pytest.param(PLAIN.decode().encode("utf-32-be"), JSON, None, id="UTF-32"),
    pytest.param(gzip.compress(PLAIN), JSON, "gzip", id="gzip"),
    pytest.param(gzip.compress(b"{") + gzip.compress(PLAIN[1:]), JSON, "x-gzip", id="members"),
    pytest.param(zlib.compress(PLAIN), JSON, "deflate", id="deflate"),
    pytest.param(zlib.compress(PLAIN, wbits=-15), JSON, "deflate", id="deflate, raw"),
    pytest.param(gzip.compress(PLAIN), "application/octet-stream", None, id="gzip undeclared"),
    pytest.param(gzip.compress(TOKEN.encode()), "text/plain", "gzip", id="JWT in gzip"),
    pytest.param(b"anything", JSON, "br", id="brotli"),
    pytest.param(b"anything", JSON, "gzip, gzip", id="two codings"),
    pytest.param(b"not gzip", JSON, "gzip", id="broken gzip"),
    pytest.param(gzip.compress(bytes(32 << 20)), JSON, "gzip", id="bomb"),
    pytest.param(b"--x\r\nsecret", "multipart/form-data", None, id="multipart, no boundary"),
    pytest.param(
        b'--b\r\nContent-Disposition: form-data; name="j"\r\nContent-Type: application/json\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\neyJwYXNzd29yZCI6InMzIn0=\r\n--b--",
        "multipart/form-data; boundary=b", None, id="a part in base64",
    ),
    pytest.param(
        b"--b\r\nContent-Type: application/http\r\n\r\nGET / HTTP/1.1\r\nAuthorization: Bearer s3"
        b"\r\n\r\n--b--", "multipart/mixed; boundary=b", None, id="a request in a part",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "content_type", "coding"), OMITTED)
def test_unsealable(data: bytes, content_type: str | None, coding: str | None):
    """What holds a secret, or may, and cannot be sealed in place is not recorded."""
    assert body(data, content_type, coding)[:2] == (None, "unsealable")
    if len(data) < 1000:
        assert in_pieces(data, [1], content_type, coding) == (None, "unsealable")
    assert in_pieces(data, [4096], content_type, coding) == (None, "unsealable")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_without_secrets(coding: str):
    """A compressed body that was looked into is recorded as it came."""
    text = json.dumps([{"sku": f"A-{n}", "qty": n} for n in range(200)]).encode()
    data = gzip.compress(text) if coding == "gzip" else zlib.compress(text)
    assert body(data, JSON, coding)[:2] == (data, None)
    assert in_pieces(data, [100], JSON, coding) == (data, None)


def test_a_gzip_file_that_is_none_is_recorded():
    """An upload that merely begins like gzip is not a coding that has to be undone."""
    data = b"\x1f\x8b\x08 not gzip at all"
    assert body(data, "application/octet-stream")[:2] == (data, None)


@pytest.mark.parametrize(
    ("mode", "data", "content_type", "expected"),
    [
        pytest.param("keep", b'{"code":"s3"}', JSON, b'{"code":"s3"}', id="keep"),
        pytest.param("drop", b'{"code":"s3"}', JSON, b'{"code":""}', id="drop a string"),
        pytest.param("drop", b'{"code":12}', JSON, b'{"code":""}', id="drop a number"),
        pytest.param("drop", b"a=1&code=s3", FORM, b"a=1&code=", id="drop in a form"),
    ],
)
def test_modes_of_fields(mode: str, data: bytes, content_type: str, expected: bytes):
    """A field's mode says whether its value is sealed, dropped or kept."""
    assert body(data, content_type, fields={"code": mode}).data == expected


def test_fields_of_ones_own():
    """A name of the policy's is sealed wherever fields are."""
    assert body('{"ssn":"s3"}', fields={"SSN": "seal"}).data == f'{{"ssn":"{S}"}}'.encode()
    assert body("ssn=s3", FORM, fields={"ssn": "seal"}).data == f"ssn={S}".encode()


@pytest.mark.parametrize(
    ("text", "content_type", "sealed"),
    [
        pytest.param('{"Paßwort":"s3"}', JSON, f'{{"Paßwort":"{S}"}}', id="as in the policy"),
        pytest.param(r'{"Pa\u00dfwort":"s3"}', JSON, rf'{{"Pa\u00dfwort":"{S}"}}', id="escaped"),
        pytest.param('{"PASSWORT":"s3"}', JSON, f'{{"PASSWORT":"{S}"}}', id="in capitals"),
        pytest.param('{"ÖFFNER":"s3"}', JSON, f'{{"ÖFFNER":"{S}"}}', id="another case"),
        pytest.param(r'{"\u00d6ffner":"s3"}', JSON, rf'{{"\u00d6ffner":"{S}"}}', id="both"),
        pytest.param("%C3%96ffner=s3", FORM, f"%C3%96ffner={S}", id="in a form"),
        pytest.param('{"affner":"s3"}', JSON, '{"affner":"s3"}', id="another name"),
    ],
)
def test_fields_of_ones_own_beyond_ascii(text: str, content_type: str, sealed: str):
    """A name of the policy's is found in any case, and escaped as clients do."""
    policy = {"Paßwort": "seal", "öffner": "seal"}
    assert body(text, content_type, fields=policy).data == sealed.encode()


def test_credentials_name_the_field():
    """A sealed field is told once by name and fingerprint, a token with its claims."""
    found = body(f'{{"password":"s3","password":"s3","id_token":"{TOKEN}"}}').credentials
    assert [(entry.place, entry.name, entry.fingerprint) for entry in found] == [
        ("body", "password", S[1:-1]),
        ("body", "id_token", mark(TOKEN)[1:-1]),
    ]
    assert found[1].subject == mark("user-7")[1:-1]
    assert found[1].claims == {"iss": "https://login"}


def test_a_secret_too_long_to_hold():
    """Over 1 MiB a secret in a stream cannot be sealed; any other string passes."""
    long = b"x" * (3 << 20)
    assert in_pieces(b'{"password":"' + long + b'"}', [65536], JSON)[1] == "unsealable"
    other = b'{"picture":"' + long + b'","password":"s3"}'
    assert in_pieces(other, [65536], JSON) == (other.replace(b"s3", S.encode()), None)
    form = b"picture=" + long + b"&password=s3"
    assert in_pieces(form, [65536], FORM) == (form.replace(b"s3", S.encode()), None)


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"", id="nothing escaped"),
        pytest.param(rb"\"", id="a quote"),
        pytest.param(rb"\\", id="a backslash before the end"),
        pytest.param(rb"\\\" \u0022,", id="both"),
    ],
)
@pytest.mark.parametrize("piece", [65536, 65537])
def test_what_is_escaped_does_not_end_a_long_string(tail, piece):
    """Wherever the pieces part; the secret behind the string is sealed."""
    picture = b"x" * (2 << 20) + tail + b"x" * 65536 + tail
    data = b'{"picture":"' + picture + b'","password":"s3"}'
    assert in_pieces(data, [piece], JSON) == (data.replace(b"s3", S.encode()), None)


def test_names_in_any_spelling():
    """Separators and case do not matter, digits after a name neither."""
    for name in (
        "accessToken", "ACCESS-TOKEN", "refresh token", "apiKey", "API_KEY", "x-api-key", "token1",
        "client_secret", "newPassword", "password_confirmation", "userPwd", "client_assertion",
        "TOTP", "code", "authCode", "code_verifier", "X-Amz-Signature", "JSESSIONID", "private_key",
        "two_factor_code", "verification-code", "SAMLResponse", "auth_key", "secretAccessKey",
    ):  # fmt: skip
        data = json.dumps({"a": 1, name: "s3"})
        sealed = body(data).data
        assert sealed is not None, name
        assert sealed.decode() == data.replace('"s3"', f'"{S}"'), name


def test_nuls_further_on_do_not_hide_names_in_a_stream() -> None:
    """What begins as JSON of single bytes is read as that, whole or in pieces."""
    body = b'{"user":"u","pass\\u0077ord":' + b"\0e\0n\0" * 20 + b'"secret"}'
    stream = sealer().stream(JSON, None)
    pieces = b"".join(stream.feed(body[at : at + 6]) for at in range(0, len(body), 6))
    pieces += stream.finish()
    assert (stream.omitted, sealer().body(body, JSON, None).omitted) == ("unsealable",) * 2
    assert b"secret" not in pieces
