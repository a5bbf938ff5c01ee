"""A whole run with planted secrets: none of them is in any file or output of it."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import urllib.parse

import pytest
from support.commands import Answer, Application, capturing, free_port, run, serving

from mirrorproxy import codec
from mirrorproxy.demo.verdict import files_holding
from mirrorproxy.record import Exchange
from mirrorproxy.sources.events import Captured
from mirrorproxy.sources.reading import read_capture

LARGE = 1_500_000


class Planted:
    """Hands out secrets, each of its own, and remembers them."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def __call__(self, name: str) -> str:
        self.all.append(f"Planted{len(self.all):03d}{name}Secret5f0c61d2")
        return self.all[-1]


def jwt(planted: Planted) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = json.dumps({"iss": "https://login", "sub": planted("JwtSubject")}).encode()
    head = part(b'{"alg":"HS256"}')
    return f"{head}.{part(claims)}.{planted('JwtSignature')}"


def multipart(name: str, value: str) -> bytes:
    return (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        '--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nplain\r\n--b--\r\n'
    ).encode()


def requests(plant: Planted) -> list[tuple[str, str, dict[str, str], bytes]]:
    """Return requests that hold a secret in every place that is sealed by default."""
    basic = base64.b64encode(f"{plant('BasicUser')}:{plant('BasicPassword')}".encode()).decode()
    plant.all.append(basic)
    as_json = {"Content-Type": "application/json"}
    padding = "x" * (LARGE // 2)
    large = {"a": padding, "client_secret": plant("LargeMiddle"), "b": padding}
    return [
        ("GET", "/bearer", {"Authorization": f"Bearer {plant('Bearer')}"}, b""),
        ("GET", "/jwt", {"authorization": f"bearer {jwt(plant)}"}, b""),
        ("GET", "/basic", {"Authorization": f"Basic {basic}"}, b""),
        ("GET", "/scheme", {"Authorization": f"Custom id={plant('Custom')}, x=1"}, b""),
        ("GET", "/cookie", {"Cookie": f'sid={plant("Cookie")}; q="{plant("Quoted")}"'}, b""),
        ("GET", "/key", {"X-Api-Key": plant("ApiKey")}, b""),
        ("GET", f"/query?a=1&access_token={plant('Query')}&b=2", {}, b""),
        ("GET", "/referer", {"Referer": f"https://a.example/?code={plant('Referer')}"}, b""),
        ("POST", "/json", as_json, json.dumps({"u": {"PassWord": plant("Json")}}).encode()),
        ("POST", "/escaped", as_json, b'{"pass\\u0077ord":"%s"}' % plant("Escaped").encode()),
        ("POST", "/untyped", {}, json.dumps({"otp": plant("Untyped")}).encode()),
        (
            "POST",
            "/form",
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"a=1&pass%%77ord=%s&b=2" % urllib.parse.quote(plant("Form")).encode(),
        ),
        (
            "POST",
            "/multipart",
            {"Content-Type": "multipart/form-data; boundary=b"},
            multipart("password", plant("Multipart")),
        ),
        (
            "POST",
            "/gzip",
            {**as_json, "Content-Encoding": "gzip"},
            gzip.compress(json.dumps({"password": plant("Gzip")}).encode()),
        ),
        (
            "POST",
            "/brotli",
            {**as_json, "Content-Encoding": "br"},
            json.dumps({"password": plant("Brotli")}).encode(),
        ),
        ("POST", "/large", as_json, json.dumps(large).encode()),
        (
            "POST",
            "/large-end",
            as_json,
            json.dumps({"a": "y" * LARGE, "password": plant("LargeEnd")}).encode(),
        ),
    ]


def answer(plant: Planted) -> Answer:
    """Return an answer that holds secrets itself."""
    return Answer(
        200,
        [
            ("Content-Type", "application/json"),
            ("Set-Cookie", f"sid={plant('SetCookie')}; Path=/; HttpOnly"),
            ("Location", f"https://a.example/cb?code={plant('Location')}#x"),
        ],
        json.dumps({"id": 42, "refresh_token": plant("AnswerJson")}).encode(),
    )


def send(port: int, method: str, target: str, headers: dict[str, str], body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, target, body or None, headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Capture, inspection and replay of requests with planted secrets."""
    tmp_path = tmp_path_factory.mktemp("whole")
    plant = Planted()
    answers = answer(plant)
    production, staging = Application(lambda _request: answers), Application()
    port = free_port()
    capture = ["capture", "--listen", f"127.0.0.1:{port}", "--upstream", production.url]
    capture += ["--to", "capture", "--admin", "off", "--response-body", "--workers", "1"]
    sent = requests(plant)
    token = plant("Staging")
    with serving(production, staging):
        with capturing(capture, tmp_path, port) as said:
            statuses = [send(port, *request) for request in sent]
            # Before anything is shipped and deleted: the segments too.
            _, leaks_in_spool = files_holding(tmp_path / "capture", plant.all)
        replay = ["replay", "capture", "--target", staging.url, "--auth-env", "TOKEN"]
        replay += ["--speed", "max", "--out", "out", "--json", "--fail-on", "never"]
        outputs = [
            run(arguments, tmp_path, {"TOKEN": token})
            for arguments in (["inspect", "capture"], ["inspect", "capture", "--json"], replay)
        ]
    assert statuses == [200] * len(sent)
    said += [text for output in outputs for text in (output.stdout, output.stderr)]
    (tmp_path / "said").write_text("\n".join(said))
    return plant, tmp_path, leaks_in_spool, production.requests, staging.requests, sent


def exchanges(directory) -> dict[str, Exchange]:
    found = read_capture([str(directory / "capture")])
    captured = [event.exchange for event in found if isinstance(event, Captured)]
    return {one.request.target.partition("?")[0].strip("/"): one for one in captured}


def test_no_secret_is_in_any_file_or_output(whole):
    """Not in the spool while it waits, not in the capture, not in what any command said."""
    plant, directory, leaks_in_spool, production, _, sent = whole
    assert len(production) == len(sent)  # the application got them all, unsealed
    assert leaks_in_spool == []
    searched, leaks = files_holding(directory, plant.all)
    assert searched > 5
    assert leaks == []


def test_every_request_is_recorded_and_what_is_no_secret_stays(whole):
    """Sealing takes the secret and nothing else."""
    _, directory, _, _, _, sent = whole
    found = exchanges(directory)
    assert len(found) == len(sent)
    assert found["query"].request.target.startswith("/query?a=1&access_token=")
    assert found["query"].request.target.endswith("&b=2")
    assert codec.body_of(found["form"].request).startswith(b"a=1&pass%77ord=")
    assert codec.body_of(found["multipart"].request).endswith(b"plain\r\n--b--\r\n")
    assert found["gzip"].request.omitted == "unsealable"
    assert found["brotli"].request.omitted == "unsealable"
    assert found["jwt"].credentials[0].claims == {"iss": "https://login"}


def test_nothing_sealed_is_sent(whole):
    """No mark and no production secret reaches staging; its own token does."""
    plant, _, _, _, staging, _ = whole
    assert staging
    for request in staging:
        text = f"{request.target}\n{request.headers}\n".encode() + request.body
        assert b"{h1:" not in text
        assert [secret for secret in plant.all[:-1] if secret.encode() in text] == []
    bearer = [one for one in staging if one.target == "/bearer"]
    assert [one.header("Authorization") for one in bearer] == [f"Bearer {plant.all[-1]}"]
