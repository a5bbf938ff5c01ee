"""``mirrorproxy replay`` from captures on disk to a target on a socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from server import Target, exchange, write_capture

from mirrorproxy import cli
from mirrorproxy.cli import main
from mirrorproxy.codec import encode_line
from mirrorproxy.commands.replay_options import settings_of
from mirrorproxy.record import Credential

MARK = "{h1:3f9a:5f0c61d25f0c61d25f0c61d25f0c61d2}"
SEALED = {
    "headers": [("Host", "api.example.com"), ("Authorization", f"Bearer {MARK}")],
    "credentials": [Credential("header", "Authorization", MARK[1:-1], scheme="Bearer")],
}


@pytest.fixture
def target():
    target = Target()
    yield target
    target.close()


@pytest.fixture
def replay(capfd):
    """Run the command in this process; return its status, its JSON and its standard error."""

    def run(*arguments: object) -> tuple[int, dict, str]:
        status = main(["replay", "--json", "--speed", "max", *map(str, arguments)])
        out, err = capfd.readouterr()
        return status, json.loads(out) if out else {}, err

    return run


def test_what_was_captured_arrives(tmp_path, target, replay):
    """Method, target, headers in order with repeats and case, and body: byte for byte."""
    captured = [
        exchange(0, "GET", '/a?q=bl\xe5b|{}"^<>'),
        exchange(1, "POST", "/b", [("host", "x"), ("X-a", "1"), ("x-A", "2\xe9")], b"\x00\xff\r\n"),
        exchange(2, "PUT", "/c", [("Content-Type", "text/plain")], "h\u00e9llo".encode()),
        exchange(3, "DELETE", "/d"),
        exchange(4, "OPTIONS", "*"),
    ]
    status, ledger, _ = replay(
        write_capture(tmp_path, captured), "--target", target.url, "--concurrency", 1, "--run", "r1"
    )
    assert status == 0
    assert [request.line for request in target.requests] == [
        b'GET /a?q=bl\xe5b|{}"^<> HTTP/1.1',
        b"POST /b HTTP/1.1",
        b"PUT /c HTTP/1.1",
        b"DELETE /d HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    ]
    host = f"Host: 127.0.0.1:{target.port}".encode()
    assert target.requests[1].headers == [
        host, b"X-a: 1", b"x-A: 2\xe9", b"X-Mirrorproxy-Replay: r1/" + b"1".zfill(32),
        b"Content-Length: 4",
    ]  # fmt: skip
    assert [request.body for request in target.requests] == [
        b"", b"\x00\xff\r\n", "h\u00e9llo".encode(), b"", b"",
    ]  # fmt: skip
    assert (ledger["read"], ledger["answered"], ledger["balanced"]) == (5, 5, True)
    assert ledger["status"] == {"2xx": 5}


def test_outcomes_and_ledger_are_written(tmp_path, target, replay):
    """One line for each shot; the ledger beside them is the one that is printed."""
    capture = write_capture(tmp_path / "capture", [exchange(n) for n in range(300)])
    out = tmp_path / "deep" / "out"
    _, ledger, _ = replay(capture, "--target", target.url, "--out", out)
    lines = [json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()]
    assert sorted(line["id"] for line in lines) == [f"{n:032x}" for n in range(300)]
    assert set(lines[0]) == {
        "id", "copy", "target", "due_us", "lag_us", "lag_cause", "latency_us", "status",
        "production",
    }  # fmt: skip
    assert lines[0]["production"] == {"duration_us": 10, "status": 200}
    assert json.loads((out / "ledger.json").read_text()) == ledger


def test_a_body_object_is_sent(tmp_path, target, replay):
    """The body that lies apart is put in when its shot is near."""
    ref = "bodies/2023/11/14/22/" + "0" * 32
    one = exchange(0, "POST", "/upload")
    one.request.body_ref = ref
    one.request.body_bytes = 3_000_000
    write_capture(tmp_path, [one])
    (tmp_path / ref).parent.mkdir(parents=True)
    (tmp_path / ref).write_bytes(b"abc" * 1_000_000)
    status, ledger, _ = replay(tmp_path, "--target", target.url)
    assert (status, ledger["answered"]) == (0, 1)
    assert target.requests[0].body == b"abc" * 1_000_000


def test_a_missing_body_object_is_lost_input(tmp_path, target, replay):
    """Its shot is shed, the file is named, the rest is replayed, the status is 1."""
    one = exchange(0, "POST", "/upload")
    one.request.body_ref = "bodies/2023/11/14/22/" + "0" * 32
    write_capture(tmp_path, [one, exchange(1)])
    status, ledger, err = replay(tmp_path, "--target", target.url)
    assert status == 1
    assert (ledger["answered"], ledger["shed"], ledger["unreadable"]) == (
        1, {"body unreadable": 1}, 1,
    )  # fmt: skip
    assert ledger["balanced"]
    assert one.request.body_ref in err


def test_damage_is_named_and_the_rest_is_replayed(tmp_path, target, replay):
    """By file and offset; the status says that input was lost."""
    file = tmp_path / "capture.ndjson"
    file.write_bytes(encode_line(exchange(0)) + b"{broken\n" + encode_line(exchange(1)))
    status, ledger, err = replay(file, "--target", target.url)
    assert (status, ledger["answered"], ledger["unreadable"]) == (1, 2, 1)
    assert f"unreadable: {file}: byte {len(encode_line(exchange(0)))}: " in err


def test_what_must_not_be_sent_is_skipped(tmp_path, target, replay):
    """Cut, unsealable and replayed requests, and those without a credential, each by its reason."""
    cut, unsealable = exchange(0, body=b"x"), exchange(1)
    cut.request.truncated = True
    unsealable.request.omitted = "unsealable"
    replayed = exchange(2, headers=[("Host", "x"), ("x-mirrorproxy-replay", "r/1")])
    capture = write_capture(tmp_path, [cut, unsealable, replayed, exchange(3, **SEALED)])
    status, ledger, _ = replay(capture, "--target", target.url)
    assert ledger["skipped"] == {
        "truncated": 1, "omitted": 1, "replayed traffic": 1, "no credential": 1,
    }  # fmt: skip
    assert (status, ledger["balanced"], target.requests) == (3, True, [])


def test_a_token_from_the_environment_takes_the_place_of_a_sealed_one(
    tmp_path, target, replay, monkeypatch, capfd
):
    """It reaches the target, and no file and no output."""
    monkeypatch.setenv("STAGING_TOKEN", "s3cr3t-of-staging")
    capture = write_capture(tmp_path / "capture", [exchange(0, **SEALED)])
    status, ledger, err = replay(
        capture, "--target", target.url, "--auth-env", "STAGING_TOKEN", "--out", tmp_path / "out"
    )
    assert status == 0
    assert target.requests[0].header(b"authorization") == b"Bearer s3cr3t-of-staging"
    written = [path.read_text() for path in (tmp_path / "out").iterdir()]
    assert len(written) == 3
    assert not any("s3cr3t" in text for text in (*written, err, json.dumps(ledger)))


def test_rules_decide(tmp_path, target, replay):
    """A rule file skips, sends and rewrites; --target takes the place of its target's URL."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "version: 1\n"
        "targets: {staging: {url: 'https://staging.example.com'}}\n"
        "rules:\n"
        "  - {name: health, match: {path: /health}, skip: true}\n"
        "  - name: writes\n"
        "    match: {method: POST}\n"
        "    send: {target: staging, percent: 200}\n"
        "    rewrite: {path: [{from: '^/v1/', to: '/v2/'}]}\n"
    )
    captured = [exchange(0, "GET", "/health"), exchange(1, "POST", "/v1/x"), exchange(2)]
    capture = write_capture(tmp_path / "capture", captured)
    out = tmp_path / "out"
    status, ledger, _ = replay(capture, "--rules", rules, "--target", target.url, "--out", out)
    assert status == 0
    assert ledger["skipped"] == {"rule": 1, "no rule": 1}
    assert (ledger["selected"], ledger["planned"], ledger["answered"]) == (1, 2, 2)
    assert [request.line for request in target.requests] == [b"POST /v2/x HTTP/1.1"] * 2
    outcomes = [json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()]
    assert sorted((one["copy"], one["rule"]) for one in outcomes) == [(0, "writes"), (1, "writes")]


def test_production_is_not_sent_to(tmp_path, target, replay):
    """Neither as an authority nor as an upstream, though only the last exchange says so."""
    captured = [*map(exchange, range(50)), exchange(50, upstream=target.url)]
    capture = write_capture(tmp_path, captured)
    status, ledger, err = replay(capture, "--target", target.url)
    assert (status, ledger, target.requests) == (2, {}, [])
    assert err.count("\n") == 1
    assert "allow_production" in err
    status, ledger, _ = replay(capture, "--target", target.url, "--allow-production")
    assert (status, ledger["answered"]) == (0, 51)


def test_a_target_that_refuses_is_a_failure(tmp_path, replay):
    """No answer: not a status, but a kind of failure; the exit status is 3 unless it is allowed."""
    closed = Target()
    closed.close()
    capture = write_capture(tmp_path, [exchange(0), exchange(1)])
    status, ledger, _ = replay(capture, "--target", closed.url)
    assert (status, ledger["failed"], ledger["status"]) == (3, {"connect_refused": 2}, {})
    assert replay(capture, "--target", closed.url, "--fail-on", "failed>2")[0] == 0


def test_a_target_that_does_not_answer_times_out(tmp_path, replay):
    """After --timeout, and the replay goes on to its end."""
    silent = Target(answer=b"")
    try:
        capture = write_capture(tmp_path, [exchange(0)])
        status, ledger, _ = replay(capture, "--target", silent.url, "--timeout", "100ms")
    finally:
        silent.close()
    assert (status, ledger["failed"]) == (3, {"response_timeout": 1})


def test_server_errors_can_fail_the_replay(tmp_path, replay):
    """An answer is an answer, unless --fail-on says more."""
    broken = Target(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    try:
        capture = write_capture(tmp_path, [exchange(0)])
        assert replay(capture, "--target", broken.url)[0] == 0
        assert replay(capture, "--target", broken.url, "--fail-on", "5xx")[0] == 3
    finally:
        broken.close()


def test_a_newer_capture_is_refused(tmp_path, target, replay):
    """One line that names the file; nothing is sent."""
    file = tmp_path / "capture.ndjson"
    file.write_bytes(encode_line(exchange(0)).replace(b'"v":1', b'"v":2'))
    status, _, err = replay(file, "--target", target.url)
    assert (status, err.count("\n"), target.requests) == (2, 1, [])
    assert str(file) in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "say where to send to", id="no target"),
        pytest.param(["--target", "staging"], "--target: ", id="no URL"),
        pytest.param(["--target", "http://u:pass@h/"], "--target: ", id="a password in the URL"),
        pytest.param(["--target", "http://h", "--speed", "0"], "--speed: ", id="speed"),
        pytest.param(["--target", "http://h", "--limit-rate", "0"], "--limit-rate: ", id="rate"),
        pytest.param(["--target", "http://h", "--concurrency", "x"], "--concurrency: ", id="int"),
        pytest.param(["--target", "http://h", "--timeout", "0"], "--timeout: ", id="timeout"),
        pytest.param(["--target", "http://h", "--max-lag", "5 cows"], "--max-lag: ", id="max lag"),
        pytest.param(["--target", "http://h", "--auth-env", "NOT_SET_"], "--auth-env: ", id="env"),
        pytest.param(["--target", "http://h", "--fail-on", "x"], "--fail-on: ", id="fail-on"),
        pytest.param(["--target", "http://h", "--run", "a/b"], "--run: ", id="run"),
        pytest.param(["--target", "http://h", "--ca-file", "/missing"], "--ca-file: ", id="CA"),
        pytest.param(["--target", "http://h", "--out", "/dev/null/x"], "--out: ", id="out"),
        pytest.param(["--target", "http://h", "--bodies", "/none"], "--bodies: ", id="bodies"),
        pytest.param(["--rules", "/missing.yaml"], "/missing.yaml: ", id="rule file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, replay, options, message):
    """It names the option or file; nothing is sent or written; the status is 2."""
    capture = write_capture(tmp_path / "capture", [exchange(0)])
    status, ledger, err = replay(capture, *options)
    assert (status, ledger) == (2, {})
    assert err.startswith(f"mirrorproxy: {message}")
    assert err.count("\n") == 1
    assert "pass@" not in err


def test_a_missing_source_is_one_line(tmp_path, replay):
    """Nothing is made before it is known that there is something to replay."""
    out = tmp_path / "out"
    status, _, err = replay("/missing", "--target", "http://h", "--out", out)
    assert (status, err) == (2, "mirrorproxy: /missing: No such file or directory\n")
    assert not out.exists()


def test_the_summary_for_people(tmp_path, target, capfd):
    """Without --json: the sums, the answers, and a hint for what was skipped."""
    capture = write_capture(tmp_path, [exchange(0), exchange(1, **SEALED)])
    assert main(["replay", str(capture), "--target", target.url, "--speed", "max"]) == 0
    out = capfd.readouterr().out
    assert "exchanges   2 read = 0 duplicates + 1 skipped + 1 selected\n" in out
    assert "shots       1 planned = 1 answered + 0 failed + 0 shed + 0 unsent\n" in out
    assert "answers     2xx 1\n" in out
    assert "ledger      balanced\n" in out
    assert "hint: no credential: " in out


def start(*arguments: object, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "mirrorproxy", "replay", "--json", *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


def test_standard_input_is_a_source(tmp_path, target):
    """Bodies that lie apart come from --bodies."""
    ref = "bodies/2023/11/14/22/" + "0" * 32
    (tmp_path / ref).parent.mkdir(parents=True)
    (tmp_path / ref).write_bytes(b"large")
    one = exchange(0, "POST")
    one.request.body_ref = ref
    process = start(
        "-", "--target", target.url, "--speed", "max", "--bodies", tmp_path, stdin=subprocess.PIPE
    )
    out, err = process.communicate(encode_line(one) + encode_line(exchange(1)), timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["answered"] == 2
    assert {request.body for request in target.requests} == {b"large", b""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_replay_in_good_order(tmp_path, target, number):
    """What was planned and not sent is unsent; the ledger balances and is printed."""
    hours_apart = [exchange(n, started_us=1_700_000_000_000_000 + n * 1_500_000) for n in range(50)]
    process = start(write_capture(tmp_path, hours_apart), "--target", target.url)
    assert target.got_one.wait(60)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    ledger = json.loads(out)
    assert (process.returncode, err) == (0, b"")
    assert ledger["balanced"]
    assert ledger["answered"] + ledger["unsent"] == ledger["planned"]
    assert ledger["unsent"] > 0


def test_a_second_signal_does_not_wait_for_answers(tmp_path):
    """A target that never answers does not hold up who presses Ctrl-C twice."""
    silent = Target(answer=b"")
    try:
        process = start(write_capture(tmp_path, [exchange(0)]), "--target", silent.url)
        assert silent.got_one.wait(60)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        silent.close()
    assert (process.returncode, err) == (3, b"")
    assert json.loads(out)["failed"] == {"interrupted": 1}


@pytest.mark.parametrize(
    ("words", "rate", "concurrency"),
    [
        ([], None, 256),
        (["--limit-rate", "100", "--concurrency", "10", "--fleet-size", "4"], 25.0, 2),
        (["--concurrency", "2", "--fleet-size", "4"], None, 1),
    ],
)
def test_a_fleet_divides_the_limits(words, rate, concurrency):
    """So that all workers together keep them; each may send at least one at a time."""
    args = cli.parse(["replay", "-", "--target", "http://127.0.0.1:1", *words])
    limits = settings_of(args).limits["target"]
    assert (limits.rate, limits.concurrency) == (rate, concurrency)


@pytest.mark.parametrize(("asked", "each"), [("10", 2), ("3", 1)])
def test_a_fleet_divides_a_budget(asked, each):
    """Rounded down, as all together must not pass it; each may send at least one."""
    words = ["--max-shots", asked, "--fleet-size", "4"]
    args = cli.parse(["replay", "-", "--target", "http://127.0.0.1:1", *words])
    assert settings_of(args).limits["target"].max_shots == each


def test_a_directory_is_replayed_for_a_span(tmp_path, target, replay):
    """What lies outside is counted apart, and the ledger balances."""
    capture = write_capture(tmp_path, [exchange(n) for n in range(10)])
    asked = ("--from", "2023-11-14T22:13:20.002Z", "--to", "2023-11-14T22:13:20.006Z")
    status, ledger, _ = replay(capture, "--target", target.url, *asked)
    assert (status, ledger["answered"], ledger["balanced"]) == (0, 4, True)
    assert ledger["skipped"] == {"outside time": 6}
