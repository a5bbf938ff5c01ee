"""Commands of curl, run by a real curl in a real shell: what arrives is what was captured."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from exported_samples import MARK, exchange, exported, request, requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_peer import Got, RawPeer, listening

from mirrorproxy.codec import body_of
from mirrorproxy.record import Credential, Request
from mirrorproxy.report.export_curl import HEAD, MAX_ARGUMENT_BYTES, curl_command, left_out
from mirrorproxy.report.exported import NotExportedError

VARIABLE = "SEALED_5f0c61d2a77a"
SHELLS = [name for name in ("sh", "dash", "bash", "zsh") if shutil.which(name)]


@pytest.fixture(scope="module")
def peer(require_program):
    """Where curl sends to."""
    require_program("curl")
    require_program("base64")
    with listening() as one:
        yield one


def at(peer: RawPeer, asked: Request) -> Request:
    """Return a request as it would have been captured before this very peer."""
    headers = [
        (name, peer.authority if name.lower() == "host" else value) for name, value in asked.headers
    ]
    return msgspec.structs.replace(asked, headers=headers)


def sent(
    peer: RawPeer, *asked: Request, shell: str = "sh", environ: dict[str, str] | None = None
) -> list[Got]:
    """Run the commands of some requests as one script; return what arrived."""
    script = HEAD + b"".join(
        curl_command(exported(exchange(number, at(peer, one), scheme="http", response=None)))
        for number, one in enumerate(asked)
    )
    peer.got.clear()
    home = {"HOME": "/nonexistent", "PATH": os.environ["PATH"], "NO_PROXY": "*"}
    done = subprocess.run(
        [shell, "-s"],
        input=script,
        env={**home, **(environ or {})},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == b"", (done.stderr, script)
    return list(peer.got)


def expected(peer: RawPeer, asked: Request) -> Got:
    """Return what is to arrive: all of it, but for Content-Length, in its order."""
    asked = at(peer, asked)
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in asked.headers
        if name.lower() not in ("content-length", "host")
    ]
    line = f"{asked.method} {asked.target} HTTP/{asked.version}".encode("latin-1")
    return Got(line, headers, body_of(asked))


def plain(got: Got) -> Got:
    left = [one for one in got.headers if one[0].lower() not in (b"content-length", b"host")]
    return got._replace(headers=left)


QUOTES = b'it\'s "$HOME" `id` $(id) \\n !! %s \\\n\ttwo lines'
SAMPLES = [
    pytest.param(request(), id="a plain GET"),
    pytest.param(request("HEAD"), id="HEAD"),
    pytest.param(request("DELETE", "/orders/7"), id="no body"),
    pytest.param(request("POST", "/orders", body=b'{"sku":"A-1"}'), id="JSON"),
    pytest.param(request("GET", "/search", body=b"{}"), id="GET with a body"),
    pytest.param(request("PUT", body=QUOTES), id="what a shell would act on"),
    pytest.param(request("POST", body=b"@/etc/passwd"), id="no name of a file"),
    pytest.param(request("POST", body=bytes(range(256)) * 3), id="every byte"),
    pytest.param(request("POST", body=b"\x1b[31mred\r\n"), id="an escape sequence"),
    pytest.param(request("POST", body="k\u00e4se \u2713".encode()), id="UTF-8"),
    pytest.param(request("POST", body=b"x" * (MAX_ARGUMENT_BYTES + 1)), id="a long text"),
    pytest.param(request("POST", body=bytes(300_000)), id="a long binary body"),
    pytest.param(request(target="/a/../b/./c"), id="dot segments"),
    pytest.param(request(target="/a/%2e%2e/b"), id="encoded dot segments"),
    pytest.param(request(target="/a?x[]={1,2}&y=[1-3]"), id="what curl would expand"),
    pytest.param(request(target='/bl\xe5b|{}"^<>#x'), id="an ugly target"),
    pytest.param(request(target="/?"), id="an empty query"),
    pytest.param(request(target="//double"), id="two slashes"),
    pytest.param(request("OPTIONS", "*"), id="the asterisk"),
    pytest.param(request("M-SEARCH", "/-x"), id="another method"),
    pytest.param(
        request(headers=[("Host", "h"), ("X-Empty", ""), ("x-A", "1"), ("X-a", "2")]),
        id="an empty value, repeats and case",
    ),
    pytest.param(
        request(headers=[("Host", "h"), ("X-Latin", "caf\xe9"), ("-X", "\xe9 'q' %d \\")]),
        id="bytes that are no text",
    ),
    pytest.param(
        request(headers=[("Host", "h"), ("User-Agent", "it's me"), ("Accept", "a/b")]),
        id="what curl has values of its own for",
    ),
    pytest.param(
        request("POST", headers=[("Host", "h"), ("Content-Length", "0")]), id="an empty body"
    ),
]


@pytest.mark.parametrize("asked", SAMPLES)
def test_what_arrives_is_what_was_captured(peer, asked):
    """Byte for byte, with nothing that curl would add."""
    (got,) = sent(peer, asked)
    assert plain(got) == expected(peer, asked)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_reads_it_alike(peer, shell):
    """All of them in one script."""
    asked = [param.values[0] for param in SAMPLES]
    assert [plain(got) for got in sent(peer, *asked, shell=shell)] == [
        expected(peer, one) for one in asked
    ]


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(asked=st.lists(requests(), min_size=1, max_size=6))
def test_any_request_arrives_as_it_was(peer, asked):
    """Whatever stands in targets, headers and bodies; trailers aside."""
    assert [plain(got) for got in sent(peer, *asked)] == [expected(peer, one) for one in asked]


def test_an_empty_body_has_its_length(peer):
    """As it was captured; what had none, such as a DELETE, gets none."""
    empty = request("POST", headers=[("Host", "h"), ("Content-Length", "0")])
    first, second = sent(peer, empty, request("DELETE"))
    assert (b"Content-Length", b"0") in first.headers
    assert [name for name, _ in second.headers] == [b"Host"]


# -- what was sealed --------------------------------------------------------------------

SEALED = request(
    "POST",
    "/login?token={" + MARK + "}",
    [("Host", "h"), ("Authorization", "Bearer {" + MARK + "}")],
    b'{"password":"{' + MARK.encode() + b'}"}',
)
BINARY_SEALED = request("POST", body=b"\xff\x00{" + MARK.encode() + b"}\r\n\xff")


def test_what_was_sealed_is_what_a_variable_says(peer):
    """In the target, a header and a body, with quotes in it."""
    (got,) = sent(peer, SEALED, environ={VARIABLE: "it's $1"})
    assert got.line == b"POST /login?token=it's $1 HTTP/1.1"
    assert (b"Authorization", b"Bearer it's $1") in got.headers
    assert got.body == b'{"password":"it\'s $1"}'


def test_a_secret_in_bytes_that_are_no_text(peer):
    """The rest is Base64, and it stands between."""
    (got,) = sent(peer, BINARY_SEALED, environ={VARIABLE: "s3cret"})
    assert got.body == b"\xff\x00s3cret\r\n\xff"


@pytest.mark.parametrize("asked", [SEALED, BINARY_SEALED], ids=["text", "binary"])
@pytest.mark.parametrize("shell", SHELLS)
def test_without_the_variable_nothing_is_sent(peer, asked, shell, tmp_path):
    """The shell says which one is missing."""
    one = exchange(1, at(peer, asked), scheme="http")
    script = tmp_path / "script"
    script.write_bytes(curl_command(exported(one)))
    peer.got.clear()
    done = subprocess.run(
        [shell, script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert VARIABLE in done.stderr.decode()
    assert peer.got == []


def test_a_comment_says_what_the_variable_stands_for():
    """By the record's credentials."""
    credential = Credential("header", "Authorization", MARK, scheme="Bearer")
    command = curl_command(exported(exchange(1, SEALED, credentials=[credential]))).decode()
    assert f"# {VARIABLE}: header Authorization, Bearer\n" in command
    assert MARK not in "".join(line for line in command.splitlines(True) if line[0] != "#")


# -- how it reads -----------------------------------------------------------------------


def test_a_command_as_it_is_read():
    """A comment with id, time and answer; then what a person would write."""
    asked = request(
        "POST",
        "/orders?dry=1",
        [("Host", "api.example.com"), ("Content-Type", "application/json")],
        b'{"n":1}',
    )
    assert curl_command(exported(exchange(1, asked))).decode() == (
        "\n# 00000000000000000000000000000001 2023-11-14 22:13:20.124Z POST /orders?dry=1 -> 200\n"
        "curl -sS \\\n"
        "  --http1.1 \\\n"
        "  -X POST \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        "  -H 'User-Agent:' \\\n"
        "  -H 'Accept:' \\\n"
        "  -H 'Expect:' \\\n"
        "  --data-raw '{\"n\":1}' \\\n"
        "  'https://api.example.com/orders?dry=1'\n"
    )


def test_nothing_of_a_stranger_reaches_the_terminal():
    """Neither from the target nor from headers and body."""
    asked = request(
        "POST", "/\x9b31m\xff", [("Host", "h"), ("X-A", "\x9b31m")], b"\x1b]0;title\x07\x9b"
    )
    text = curl_command(exported(exchange(1, asked))).decode()
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(omitted="unsealable"), "its body is not recorded: unsealable"),
        (request(body=b"x", truncated=True), "its body was cut"),
        (request("HEAD", body=b"x"), "curl sends no body with HEAD"),
        (request(target="/a b"), "is no request of HTTP/1"),
        (request(headers=[("Host", "h"), ("X", "a\nb")]), "is no request of HTTP/1"),
        (request(headers=[("Host", "a b")]), "has no host that a URL can name"),
    ],
)
def test_what_cannot_be_sent_is_no_command(asked, reason):
    """It says why, and a comment stands in its place."""
    one = exchange(1, asked, upstream="")
    with pytest.raises(NotExportedError, match=reason):
        curl_command(exported(one))
    comment = left_out(one, "of\na reason").decode()
    assert comment.startswith("\n# 00000000000000000000000000000001 ")
    assert comment.endswith(": left out, of\\x0aa reason\n")
    assert comment.count("\n") == 2


def test_trailers_are_said_to_be_left_out():
    """curl sends none."""
    asked = request("POST", body=b"x", trailers=[("X-Sum", "1")])
    assert b"# its trailers are left out" in curl_command(exported(exchange(1, asked)))


def test_a_script_is_for_any_posix_shell():
    """Its first line says so."""
    assert Path(HEAD.decode().splitlines()[0].removeprefix("#!")) == Path("/bin/sh")
