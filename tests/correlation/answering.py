"""A target whose answers are made by a function, and exchanges with recorded answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mirrorproxy.codec import encode_body
from mirrorproxy.record import Credential, Exchange, HeaderList, Request, Response

T0 = 1_700_000_000_000_000
Answer = tuple[int, HeaderList, bytes]
MARKS = [f"{{h1:3f9a:{digit * 32}}}" for digit in "0123456789"]


class Asked:
    """One request as the target saw it."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"{self.method} {self.path} {self.body!r}"


class AnsweringTarget:
    """An origin on a port of its own."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.asked: list[Asked] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                one = Asked(self.command, self.path, headers, self.rfile.read(length))
                asked.append(one)
                status, lines, body = answer(one)
                self.send_response(status)
                for name, value in lines:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.answer_any)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def answer_json(value: object, status: int = 200, headers: HeaderList | None = None) -> Answer:
    """An answer in JSON."""
    lines = [("Content-Type", "application/json"), *(headers or [])]
    return status, lines, json.dumps(value).encode()


def recorded(value: object, status: int = 200, headers: HeaderList | None = None) -> Response:
    """Production's answer in JSON, recorded."""
    _, lines, body = answer_json(value, status, headers)
    text, encoding = encode_body(body)
    return Response(status, lines, text, encoding, len(body))


def exchange(
    number: int,
    method: str,
    target: str,
    response: Response,
    *,
    headers: HeaderList | None = None,
    body: object = None,
    client: str = "203.0.113.7",
    credentials: list[Credential] | None = None,
) -> Exchange:
    """The number-th exchange, 10 ms after the one before; a body that is no bytes is JSON."""
    lines = [("Host", "api.example.com"), *(headers or [])]
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if not isinstance(body, bytes):
            lines.append(("Content-Type", "application/json"))
    text, encoding = encode_body(data)
    return Exchange(
        v=1, id=f"{number:032x}", service="shop", via="inline", node="mirror-1/0",
        started_us=T0 + number * 10_000, duration_us=5_000, client=client, scheme="https",
        upstream="http://10.0.3.7:8080",
        request=Request(method, target, "1.1", lines, text, encoding, len(data)),
        response=response, credentials=credentials or [],
    )  # fmt: skip
