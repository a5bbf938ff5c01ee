"""``mirrorproxy replay`` says in what the target is not production."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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
        self._thread = threading.Thread(target=self._server.serve_forever)
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
