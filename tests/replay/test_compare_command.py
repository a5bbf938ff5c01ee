"""``mirrorproxy replay`` says in what the target is not production."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest
from server import exchange, write_capture

from mirrorproxy.cli import main
from mirrorproxy.record import Exchange, Response

Answer = tuple[int, dict[str, str], Any]
"""Status, headers, and what is answered as JSON."""

JSON = [("Content-Type", "application/json"), ("ETag", '"5a0c"')]


class App:
    """An application that answers as a function says. seen: methods and paths, in order."""

    def __init__(self, answer: Callable[[str, str, int], Answer]) -> None:
        app = self
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def _serve(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    number = len(app.seen)
                    app.seen.append((self.command, self.path, dict(self.headers)))
                status, headers, body = answer(self.command, self.path, number)
                content = json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _serve  # noqa: N815 - the library's names

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, str, int], Answer]], App]]:
    """Start applications that end with the test."""
    apps: list[App] = []

    def start(answer: Callable[[str, str, int], Answer]) -> App:
        apps.append(App(answer))
        return apps[-1]

    yield start
    for app in apps:
        app.close()


@pytest.fixture
def replay(capfd):
    """Run the command in this process; return its status and what it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        status = main(["replay", *map(str, arguments)])
        return status, capfd.readouterr().out

    return run


def captured(
    number: int, method: str, target: str, status: int, body: Any, **fields: Any
) -> Exchange:
    """An exchange whose answer was recorded with its body."""
    text = json.dumps(body)
    response = Response(status, JSON, text, "utf8", len(text))
    return exchange(number, method, target, response=response, **fields)


def order(number: int, hour: int) -> dict[str, Any]:
    """An order as the application makes it: an id, a time and a token of its own."""
    return {
        "id": number,
        "created_at": f"2026-11-{hour:02d}T10:11:12Z",
        "token": f"{number * 7919:032x}"[::-1].replace("0", "3f9a", 2)[:32],
        "state": "open",
    }


def test_three_planted_regressions_are_named_and_nothing_else(tmp_path, serve, replay):
    """A field changed, one endpoint slower, one in fifty a 500; all ids, times and tokens new."""
    exchanges = []
    for number in range(0, 900, 3):
        item = number % 7
        exchanges += [
            captured(
                number, "GET", f"/products/{item}", 200,
                {"id": item, "name": "chair", "price": 9.5, "tags": ["wood", "blue"]},
                duration_us=2000,
            ),
            captured(number + 1, "POST", "/orders", 201, order(number, 20), duration_us=2000),
            captured(number + 2, "GET", "/search?q=x", 200, {"hits": []}, duration_us=20_000),
        ]  # fmt: skip
    # Each is a session of its own: what follows a 500 within one is counted apart.
    exchanges = [
        msgspec.structs.replace(one, client=f"10.0.{at // 250}.{at % 250}")
        for at, one in enumerate(exchanges)
    ]

    def answer(method: str, path: str, number: int) -> Answer:
        etag = {"ETag": f'"{number:x}"'}
        if path.startswith("/products/"):
            time.sleep(0.001)
            product = {
                "id": int(path[10:]),
                "name": "chair",
                "price": 9.9,
                "tags": ["wood", "blue"],
            }
            return 200, etag, product
        if path.startswith("/search"):
            time.sleep(0.1)
            return 200, etag, {"hits": []}
        if number % 30 == 1:
            return 500, etag, {"error": "no"}
        return 201, etag, order(number + 5000, 25)

    status, text = replay(
        write_capture(tmp_path, exchanges), "--target", serve(answer).url, "--speed", "max",
        "--concurrency", 8, "--out", tmp_path / "out",
    )  # fmt: skip
    lines = [line for line in text.splitlines() if line.startswith(("compared", "differs"))]
    assert status == 0, text
    assert len(lines) == 4, text
    assert "GET /products/{int}: $.price changed in 100 % (300 of 300)" in text
    assert "POST /orders: " in text
    assert "answered 500 where production answered 201" in text
    assert "GET /search: " in text
    ledger = json.loads((tmp_path / "out" / "ledger.json").read_text())
    assert len(ledger["comparison"]["findings"]) == 3


def test_what_the_target_answers_differently_each_time_is_noise(tmp_path, serve, replay):
    """Two answers of its own to one request show it; a changed field stays a finding."""
    exchanges = [
        captured(n, "GET", f"/queue/{n}", 200, {"waiting": 3, "room": 7}) for n in range(60)
    ]
    app = serve(lambda _method, _path, number: (200, {"ETag": "x"}, {"waiting": number, "room": 8}))
    capture = write_capture(tmp_path, exchanges)
    options = (capture, "--target", app.url, "--speed", "max", "--concurrency", 1)
    status, text = replay(*options, "--noise-probe", 5)
    assert "GET /queue/{int}: $.room changed in 100 % (60 of 60)" in text
    assert "waiting" not in text
    assert status == 0
    assert len(app.seen) == 65
    twice = [headers["X-Mirrorproxy-Replay"] for *_, headers in app.seen]
    assert len(set(twice)) == 60


def test_probes_stand_apart_in_the_ledger(tmp_path, serve, replay):
    """They are no shots: the sums are those of the capture, with and without them."""
    exchanges = [captured(n, "GET", "/n", 200, {"n": -1}) for n in range(20)]
    app = serve(lambda _method, _path, number: (200, {"ETag": "x"}, {"n": number}))
    capture = write_capture(tmp_path, exchanges)
    _, text = replay(
        capture, "--target", app.url, "--speed", "max", "--concurrency", 1, "--noise-probe", 3,
        "--json",
    )  # fmt: skip
    ledger = json.loads(text)
    assert (ledger["planned"], ledger["answered"], ledger["balanced"]) == (20, 20, True)
    assert ledger["probes"] == {"answered": 3}
    assert ledger["comparison"]["findings"] == []


def test_only_reads_are_sent_twice(tmp_path, serve, replay):
    """A write that is sent once more is another write."""
    exchanges = [captured(n, "POST", "/n", 200, {"n": -1}) for n in range(20)]
    app = serve(lambda _method, _path, number: (200, {"ETag": "x"}, {"n": number}))
    _, text = replay(
        write_capture(tmp_path, exchanges), "--target", app.url, "--speed", "max",
        "--noise-probe", 3,
    )  # fmt: skip
    assert len(app.seen) == 20
    assert "POST /n: $.n changed in 100 % (20 of 20)" in text


def test_rules_leave_paths_and_headers_out(tmp_path, serve, replay):
    """And may add headers; what is named below a path goes with it."""
    exchanges = [
        captured(n, "GET", "/n", 200, {"meta": {"took": 3, "by": ["a"]}, "rows": [{"at": 1}]})
        for n in range(5)
    ]
    app = serve(
        lambda *_: (
            200,
            {"Cache-Control": "no-store", "X-Version": "2"},
            {"meta": {"took": 4, "by": ["b"]}, "rows": [{"at": 2}]},
        )
    )
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "version: 1\n"
        f"targets: {{staging: {{url: '{app.url}'}}}}\n"
        "defaults: {compare: {ignore: [$.meta]}}\n"
        "rules:\n"
        "  - name: all\n"
        "    send: {target: staging}\n"
        "    compare:\n"
        "      ignore: ['$.rows[*].at', 'header:Cache-Control', 'header:ETag']\n"
        "      headers: [X-Version]\n"
    )
    capture = write_capture(tmp_path / "capture", exchanges)
    _, text = replay(capture, "--rules", rules, "--speed", "max")
    assert "1 finding\n" in text
    assert "GET /n: header x-version is new in 100 % (5 of 5)" in text


def test_a_rule_can_switch_the_comparison_off(tmp_path, serve, replay):
    """Nothing of it is counted."""
    app = serve(lambda *_: (200, {}, {"n": 2}))
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        f"version: 1\ntargets: {{staging: {{url: '{app.url}'}}}}\n"
        "rules: [{name: all, send: {target: staging}, compare: false}]\n"
    )
    capture = write_capture(tmp_path / "c", [captured(0, "GET", "/n", 200, {"n": 1})])
    _, text = replay(capture, "--rules", rules, "--speed", "max")
    assert "compared" not in text


def test_outcomes_say_what_differs_and_no_value(tmp_path, serve, replay):
    """A path each; what stands there may be anybody's secret."""
    exchanges = [
        captured(0, "GET", "/n", 200, {"card": "4711-secret"}),
        captured(1, "GET", "/m", 200, {"card": "4711-secret"}),
    ]
    app = serve(
        lambda _m, path, _n: (200 if path == "/n" else 404, {"ETag": "x"}, {"card": "0815"})
    )
    out = tmp_path / "out"
    replay(
        write_capture(tmp_path / "c", exchanges),
        "--target",
        app.url,
        "--speed",
        "max",
        "--out",
        out,
    )
    lines = [json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()]
    told = {line["id"][-1]: line["differs"] for line in lines}
    assert told == {"0": ["$.card changed"], "1": ["status"]}
    written = "".join(path.read_text() for path in out.iterdir())
    assert "4711" not in written
    assert "0815" not in written


@pytest.mark.parametrize(
    ("limit", "status"),
    [("changed>0", 3), ("changed>100%", 0), ("findings>0", 3), ("findings>1", 0)],
)
def test_a_replay_can_fail_on_differences(tmp_path, serve, replay, limit, status):
    """By how many answers differ, or by what is worth a look."""
    app = serve(lambda *_: (200, {"ETag": "x"}, {"n": 2}))
    capture = write_capture(tmp_path, [captured(n, "GET", "/n", 200, {"n": 1}) for n in range(9)])
    got, _ = replay(capture, "--target", app.url, "--speed", "max", "--fail-on", limit)
    assert got == status


def test_without_the_comparison_nothing_of_it_is_known(tmp_path, serve, replay):
    """Neither printed nor left behind, and no limit can be set on it."""
    app = serve(lambda *_: (200, {"ETag": "x"}, {"n": 2}))
    capture = write_capture(tmp_path / "c", [captured(0, "GET", "/n", 200, {"n": 1})])
    out = tmp_path / "out"
    options = (capture, "--target", app.url, "--speed", "max", "--no-compare")
    _, text = replay(*options, "--json", "--out", out)
    assert "comparison" not in json.loads(text)
    assert not (out / "comparison.json").exists()
    assert "differs" not in (out / "outcomes.jsonl").read_text()
    assert replay(*options, "--fail-on", "findings>0")[0] == 2
    assert replay(*options, "--noise-probe", "5")[0] == 2
