"""``mirrorproxy export`` as a user runs it, and what reads its files again."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest
from exported_samples import (
    MARK,
    T0,
    as_gor,
    as_har,
    exchange,
    message_body,
    read,
    request,
    write_capture,
)

from mirrorproxy import cli
from mirrorproxy.commands.export import FORMATS
from mirrorproxy.record import Credential, Response
from mirrorproxy.report.export_gor import SEPARATOR

EXCHANGES = [
    exchange(0xA1, request("POST", "/orders", body=b'{"n":1}'), response=Response(201)),
    exchange(0xA2, request("GET", "/orders/7"), response=Response(503), service="shop"),
    exchange(0xB3, request("GET", "/health")),
]


@pytest.fixture
def capture(tmp_path):
    """A capture of three exchanges."""
    return write_capture(tmp_path / "capture", *EXCHANGES)


def export(*words: object) -> int:
    return cli.main(["export", *map(str, words)])


def paths(data: bytes, name: str = "x") -> list[str]:
    return [one.request.target for one in read(data, name)]


@pytest.mark.parametrize("name", ["x.har", "x.gor", "x.har.gz", "x.gor.gz"])
def test_the_name_tells_the_format(capture, tmp_path, capsys, name):
    """And whether it is packed; only its owner can read it."""
    out = tmp_path / name
    assert export(capture, "--out", out) == 0
    assert read(out.read_bytes())[0].id == EXCHANGES[0].id
    assert (out.read_bytes()[:2] == b"\x1f\x8b") is name.endswith(".gz")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert capsys.readouterr().err == f"mirrorproxy: {out}: 3 exchanges\n"


@pytest.mark.parametrize("name", FORMATS)
def test_a_pipe_gets_all_of_it(capture, name):
    """Standard output by default, in captured order."""
    done = subprocess.run(
        [sys.executable, "-m", "mirrorproxy", "export", capture, "--format", name],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    if name == "curl":
        assert done.stdout.count(b"\ncurl -sS") == 3
    else:
        assert paths(done.stdout) == ["/orders", "/orders/7", "/health"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--limit", "2"], ["/orders", "/orders/7"]),
        (["--service", "shop"], ["/orders/7"]),
        (["--status", "5xx"], ["/orders/7"]),
        (["--method", "GET", "--path", "/orders/**"], ["/orders/7"]),
        (["--match", "{path: /health}"], ["/health"]),
        (["--id", EXCHANGES[2].id], ["/health"]),
        (["--from", "2023-11-14T22:13:20.285Z", "--limit", "1"], ["/orders/7"]),
        (["--to", "2023-11-14T22:13:20.285Z"], ["/orders"]),
    ],
)
def test_what_is_written_can_be_chosen(capture, tmp_path, words, expected):
    """By time, number, id, and as in a rule's match."""
    out = tmp_path / "x.har"
    assert export(capture, "--out", out, *words) == 0
    assert paths(out.read_bytes()) == expected


def test_a_file_is_not_replaced_unless_asked(capture, tmp_path, capsys):
    """And then at once; nothing is left beside it."""
    out = tmp_path / "x.har"
    out.write_text("precious")
    assert export(capture, "--out", out) == 2
    assert out.read_text() == "precious"
    assert capsys.readouterr().err == (
        f"mirrorproxy: --out: {out} is there already: --force replaces it\n"
    )
    assert export(capture, "--out", out, "--force", "--limit", "1") == 0
    assert paths(out.read_bytes()) == ["/orders"]
    assert sorted(os.listdir(tmp_path)) == ["capture", "x.har"]


def test_what_fails_leaves_nothing(capture, tmp_path):
    """A source that is not there, a folder that is none."""
    assert export(tmp_path / "nothing", "--out", tmp_path / "x.har") == 2
    assert export(capture, "--out", tmp_path / "no" / "x.har") == 2
    assert export(capture, "--out", tmp_path, "--format", "har") == 2
    assert os.listdir(tmp_path) == ["capture"]


def test_a_full_disk_is_told(capture, capsys):
    """In one line; a device is written to as it is."""
    assert export(capture, "--out", "/dev/full", "--format", "har") == 1
    assert capsys.readouterr().err == "mirrorproxy: /dev/full: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["x"], "--format: say which format to write: har, curl, gor"),
        (["x", "--format", "har", "--limit", "0"], "--limit: expected a whole number above 0"),
        (["sqs://q", "--format", "har"], "sqs://q: a queue has no end: name where the objects lie"),
        (["x", "--format", "har", "--from", "soon"], "--from: "),
    ],
)
def test_mistakes_are_named(words, line, capsys):
    """In one line, by the option."""
    assert export(*words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mirrorproxy: {line}")
    assert err.count("\n") == 1


def test_a_body_with_goreplay_s_separator_is_refused_by_its_id(tmp_path, capsysbinary):
    """The others are written; the status says that one was not."""
    bad = exchange(0xA2, request("POST", body=b"x" + SEPARATOR + b"y"))
    at_end = exchange(0xA3, request("POST", body=b"x" + SEPARATOR[:-1]))
    capture = write_capture(tmp_path / "c", EXCHANGES[0], bad, at_end, EXCHANGES[2])
    assert export(capture, "--format", "gor") == 1
    out, err = capsysbinary.readouterr()
    assert paths(out) == ["/orders", "/health"]
    reason = "is left out: holds GoReplay's separator, which would end it early"
    assert err.decode().splitlines() == [
        f"mirrorproxy: {bad.id} {reason}",
        f"mirrorproxy: {at_end.id} {reason}",
    ]


@pytest.mark.parametrize("name", ["curl", "gor"])
def test_what_was_not_recorded_whole_is_left_out(tmp_path, capsys, name):
    """It is another request without its body."""
    cut = exchange(0xA1, request("POST", body=b"x", truncated=True))
    bare = exchange(0xA2, request("POST", omitted="unsealable"))
    assert export(write_capture(tmp_path / "c", cut, bare), "--format", name) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"mirrorproxy: {cut.id} is left out: its body was cut",
        f"mirrorproxy: {bare.id} is left out: its body is not recorded: unsealable",
    ]


def test_a_har_holds_what_was_not_recorded_whole(tmp_path, capsysbinary):
    """And says so, so that a replay of it skips them as one of the capture does."""
    cut = exchange(0xA1, request("POST", body=b"x", truncated=True))
    bare = exchange(0xA2, request("POST", omitted="unsealable"))
    assert export(write_capture(tmp_path / "c", cut, bare), "--format", "har") == 0
    out, _ = capsysbinary.readouterr()
    assert read(out) == [cut, bare]


@pytest.mark.parametrize("name", FORMATS)
def test_a_body_in_an_object_of_its_own(tmp_path, capsysbinary, name):
    """It stands in the export; one that is lost is told."""
    ref = f"bodies/2023/11/14/22/{EXCHANGES[0].id}"
    asked = request("POST", "/large", body_ref=ref, body_bytes=5)
    capture = write_capture(tmp_path / "c", exchange(0xA1, asked), EXCHANGES[2])
    assert export(capture, "--format", name) == 1
    out, err = capsysbinary.readouterr()
    assert b"/health" in out
    assert err.decode() == (
        f"mirrorproxy: {EXCHANGES[0].id} is left out: {capture}/{ref}: No such file or directory\n"
    )
    path = capture / ref
    path.parent.mkdir(parents=True)
    path.write_bytes(b"l\xe4rge")
    assert export(capture, "--format", name) == 0
    out, err = capsysbinary.readouterr()
    assert err == b""
    assert (b"l\xe4rge" if name == "gor" else b"bORyZ2U=") in out


def test_damage_of_the_source_is_told(tmp_path, capsys):
    """The rest is written."""
    source = tmp_path / "x.gor"
    source.write_bytes(b"what is this" + SEPARATOR + as_gor(EXCHANGES[2]))
    assert export(source, "--format", "curl") == 1
    out, err = capsys.readouterr()
    assert "/health" in out
    assert err == (
        f"mirrorproxy: {source}: byte 0: no record of GoReplay: expected <1|2|3> <id> <time> "
        "(1 lost)\n"
    )


def test_nothing_that_fits_is_said(capture, capsys):
    """A filter is the likely reason."""
    assert export(capture, "--format", "har", "--service", "none") == 0
    assert capsys.readouterr().err == "mirrorproxy: hint: the filters leave none of 3\n"


# -- secrets ----------------------------------------------------------------------------

TOKEN = "eyJzZWNyZXQ"
SECRETS = exchange(
    0xA1,
    request(
        "POST",
        f"/login?api_key={TOKEN}",
        [
            ("Host", "h"),
            ("Authorization", f"Bearer {TOKEN}"),
            ("Content-Type", "application/json"),
        ],
        f'{{"password":"{TOKEN}"}}'.encode(),
    ),
    response=Response(
        200,
        [("Set-Cookie", f"sid={TOKEN}"), ("Content-Type", "application/json")],
        **message_body(f'{{"access_token":"{TOKEN}"}}'.encode()),
    ),
    node="",
    via="har",
)


def bare_har() -> bytes:
    """Return what a browser would have written of it."""
    document = json.loads(as_har(SECRETS))
    for entry in document["log"]["entries"]:
        for one in (entry, entry["request"], entry["response"]):
            one.pop("_mirrorproxy", None)
    return json.dumps(document).encode()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bare", [bare_har(), as_gor(SECRETS)], ids=["har", "gor"])
def test_secrets_of_an_import_are_sealed_as_it_is_read(tmp_path, capsys, bare, name):
    """Of requests and responses, in heads and bodies."""
    source = tmp_path / "source"
    source.write_bytes(bare)
    assert TOKEN.encode() in bare
    assert export(source, "--format", name) == 0
    out = capsys.readouterr().out
    assert TOKEN not in out
    assert "login" in out
    assert cli.main(["inspect", str(source), "--json"]) == 0
    line = capsys.readouterr().out
    assert TOKEN not in line
    names = {one["name"] for one in json.loads(line)["credentials"]}
    assert names == {"Authorization", "api_key", "password"}


def test_what_was_sealed_in_a_capture_stays_as_it_is(tmp_path, capsysbinary):
    """A HAR of ours is a capture: its fingerprints fit the tables that were made of it."""
    headers = [("Host", "h"), ("Authorization", "Bearer {" + MARK + "}")]
    credential = Credential("header", "Authorization", MARK, scheme="Bearer")
    one = exchange(1, request(headers=headers), credentials=[credential])
    source = tmp_path / "x.har"
    source.write_bytes(as_har(one))
    assert export(source, "--format", "har") == 0
    assert read(capsysbinary.readouterr().out) == [one]


def test_a_mark_of_a_stranger_s_is_sealed_itself(tmp_path, capsys):
    """A file of GoReplay's cannot say who wrote it."""
    source = tmp_path / "x.gor"
    source.write_bytes(
        as_gor(exchange(1, request(headers=[("Host", "h"), ("Cookie", f"a={{{MARK}}}")])))
    )
    assert cli.main(["inspect", str(source), "--json"]) == 0
    (credential,) = json.loads(capsys.readouterr().out)["credentials"]
    assert credential["fingerprint"] != MARK


# -- size -------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_capture(tmp_path):
    """140 MB of HAR are read and written by a process that never holds as much."""
    big = [exchange(n, request("POST", "/x", body=os.urandom(75_000))) for n in range(8)]
    source = tmp_path / "x.har"
    with source.open("wb") as file:
        head, tail = as_har().split(b"\n\n")
        file.write(head + b"\n")
        entries = [as_har(one)[len(head) + 1 : -len(tail) - 1] for one in big]
        for number in range(1400):
            entry = entries[number % 8].replace(
                b'"started_us":%d' % big[number % 8].started_us,
                b'"started_us":%d' % (T0 + number * 1_000_000),
            )
            entry = entry.replace(big[number % 8].id.encode(), b"%032x" % number)
            file.write((b",\n" if number else b"") + entry)
        file.write(b"\n" + tail)
    assert source.stat().st_size > 140_000_000
    # Not ru_maxrss: what the parent held when it started the process counts there too.
    script = (
        "import re, sys; from mirrorproxy import cli; "
        "status = cli.main(sys.argv[1:]); "
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]); "
        "sys.exit(status)"
    )
    out = tmp_path / "out.har"
    done = subprocess.run(
        [sys.executable, "-c", script, "export", source, "--out", out],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONMALLOC": "malloc"},
    )
    assert int(done.stdout) < 110_000  # KiB
    assert out.stat().st_size > 140_000_000
