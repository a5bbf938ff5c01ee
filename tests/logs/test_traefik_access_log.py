"""The access log of a real Traefik, replayed: what the client sent arrives."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Application, Received, run, serving
from traefik_log import Traefik, traefik

TARGETS = [
    "/plain?x=1&y=%20b+c",
    "/a%2Fb/c%20d/%C3%BC?q=%C3%BC&r=",
    "/empty-query?",
    "/;v=1/star*,(x)!$&'@:=",
    "/q?raw=ü|{}\"^<>'&&=&a",
    "/bad-escape?c=%zz",
    "/inv%FF",
    "/" + "long" * 2000,
]
"""Nothing in these is changed by Traefik itself: it cleans //, /./ and /../ away."""

CHANGED = ["//double//slash/../up", "/raw-ü", "/%7Etilde", "/a?b;c"]
"""These are, and reach the application, and so the log, as Traefik made them."""

HEADERS = [
    ("Accept", "application/json"),
    ("User-Agent", "curl/8"),
    ("X-Empty", ""),
    ("X-Long", "v" * 8000),
    ("X-Multi", "one"),
    ("X-Multi", "two, three"),
    ("X-Unicode", "grün"),
]

RULES = """
version: 1
targets: {{staging: {{url: "{url}", host: original, auth: {auth}}}}}
rules:
  - {{name: probes, match: {{path: /ready}}, skip: true}}
  - {{name: all, send: {send}}}
"""


def sent_through(proxy: Traefik) -> None:
    for target in (*TARGETS, *CHANGED):
        answer = proxy.get(target, *(f"{name}: {value}" for name, value in HEADERS))
        assert answer.startswith(b"HTTP/1.1 201 ")
    head = "Host: api.example.com\r\nConnection: close\r\n"
    proxy.send(f"POST /sized HTTP/1.1\r\n{head}Content-Length: 3\r\n\r\nabc".encode())
    proxy.send(f"POST /none HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n".encode())
    proxy.get("/secret", "Authorization: Bearer production", "Cookie: sid=production")
    # The last one: the application does not read chunks, and they would be its next request.
    chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    proxy.send(f"POST /chunked HTTP/1.1\r\n{head}{chunks}".encode())
    proxy.wait_logged('"/chunked"')


def replay(source: str, folder: Path, url: str, auth: str = "[]", send: str = "{}") -> dict:
    (folder / "rules.yaml").write_text(RULES.format(url=url, auth=auth, send=send))
    done = run(["replay", source, "--rules", "rules.yaml", "--speed", "max", "--json"], folder)
    assert done.returncode == 0, done.stderr
    ledger: dict = json.loads(done.stdout)
    return ledger


def joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name, repeats joined, without those of a proxy or a replay."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return {
        name: ",".join(values)
        for name, values in found.items()
        if name not in ("accept-encoding", "connection", "x-mirrorproxy-replay", "x-real-ip")
        and not name.startswith("x-forwarded-")
    }


def of(requests: list[Received]) -> list[tuple[str, str, dict[str, str]]]:
    return sorted(
        (one.method, one.target, joined(one.headers)) for one in requests if one.target != "/ready"
    )


def test_gets_reach_the_target_as_the_client_sent_them(tmp_path):
    """Method, path, query and headers; what had a body, or a secret, is skipped and counted."""
    production, staging = Application(), Application()
    with serving(production, staging):
        with traefik(production.url, tmp_path) as proxy:
            sent_through(proxy)
        ledger = replay("access.log", tmp_path, staging.url)
    expected = {name.lower(): value.encode().decode("latin-1") for name, value in HEADERS}
    expected |= {"x-multi": "one,two, three", "host": "api.example.com"}
    got = [one for one in staging.requests if one.method == "GET"]
    sent = {target.encode().decode("latin-1") for target in TARGETS}
    assert sent <= {one.target for one in got}
    assert all(joined(one.headers) == expected for one in got)
    skipped = ("/sized", "/chunked", "/secret")
    assert of(staging.requests) == of(
        [one for one in production.requests if one.target not in skipped]
    )
    assert ledger["balanced"]
    assert ledger["skipped"] == {
        "rule": ledger["skipped"]["rule"],
        "no body in log": 2,
        "no credential": 1,
    }
    assert ledger["selected"] == len(TARGETS) + len(CHANGED) + 1
    assert ledger["status"] == {"2xx": ledger["selected"]}


def test_what_had_a_body_goes_without_it_where_the_rule_says_so(tmp_path):
    """And a redacted credential is replaced like a sealed one; the cookie is taken out."""
    production, staging = Application(), Application()
    with serving(production, staging):
        with traefik(production.url, tmp_path) as proxy:
            sent_through(proxy)
        auth = '[{use: {bearer: "of-staging"}}]'
        ledger = replay("access.log", tmp_path, staging.url, auth, "{without_body: true}")
    assert list(ledger["skipped"]) == ["rule"]
    by_target = {one.target: one for one in staging.requests}
    for target in ("/sized", "/chunked", "/none"):
        assert (by_target[target].method, by_target[target].body) == ("POST", b"")
        assert by_target[target].header("Content-Length") == "0"
    secret = by_target["/secret"]
    assert (secret.header("Authorization"), secret.header("Cookie")) == ("Bearer of-staging", None)


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> tuple[list[bytes], int]:
    """Lines of a real log, and how many of them tell of a GET without secrets."""
    folder = tmp_path_factory.mktemp("logged")
    production = Application()
    with serving(production), traefik(production.url, folder) as proxy:
        for number in range(30):
            proxy.get(f"/orders/{number}")
        proxy.wait_logged('"/orders/29"')
    lines = [line for line in (folder / "access.log").read_bytes().splitlines(keepends=True)
             if b'"/orders/' in line]  # fmt: skip
    return lines, len(lines)


def test_a_directory_of_rotated_logs_is_merged_and_duplicates_are_removed(tmp_path, logged):
    """In the order of their times, whatever the names say; a gzip file is known by its bytes."""
    lines, count = logged
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "access.log").write_bytes(b"".join(lines[20:]))
    (logs / "access.log.1").write_bytes(b"".join(lines[10:22]))
    (logs / "access.log.2.gz").write_bytes(gzip.compress(b"".join(lines[:10])))
    staging = Application()
    with serving(staging):
        ledger = replay("logs", tmp_path, staging.url)
    assert (ledger["read"], ledger["duplicates"], ledger["selected"]) == (count + 2, 2, count)
    shown = run(["inspect", "logs", "--json"], tmp_path)
    assert [json.loads(line)["request"]["target"] for line in shown.stdout.splitlines()] == [
        f"/orders/{number}" for number in range(count)
    ]


def test_standard_input_is_read_too(tmp_path, logged):
    """`kubectl logs`, `zcat`, `aws s3 cp` and a pipe."""
    lines, count = logged
    staging = Application()
    with serving(staging):
        done = subprocess.run(
            [sys.executable, "-m", "mirrorproxy", "replay", "-", "--target", staging.url,
             "--speed", "max", "--json"],
            input=b"".join(lines), capture_output=True, check=False, timeout=60, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answered"] == count
