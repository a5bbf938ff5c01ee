"""A small application that makes ids, tokens and ETags of its own, and a customer of it.

For docs/stateful-writes.md. Needs Python alone:

  python examples/orders.py serve 8080 --first-id 42 --password of-production
  python examples/orders.py shop http://127.0.0.1:8080 --password of-production
"""

from __future__ import annotations

import argparse
import json
import secrets
import urllib.request
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER = "ann"


class Orders(ThreadingHTTPServer):
    """Orders in memory. first_id: the first order's number; the next one has the next."""

    daemon_threads = True

    def __init__(self, port: int, first_id: int, password: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.next_id = first_id
        self.password = password
        self.tokens: set[str] = set()
        self.orders: dict[str, dict[str, Any]] = {}
        self.etags: dict[str, str] = {}


class Handler(BaseHTTPRequestHandler):
    """One request after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body leave apart: the body would wait 40 ms
    server: Orders

    def _serve(self) -> None:
        length = int(self.headers["Content-Length"] or 0)
        given = json.loads(self.rfile.read(length) or "{}")
        if self.path == "/login":
            return self._log_in(given)
        if self.headers["Authorization"] not in {f"Bearer {one}" for one in self.server.tokens}:
            return self._answer(401)
        if self.path == "/orders" and self.command == "POST":
            number, self.server.next_id = str(self.server.next_id), self.server.next_id + 1
            self.server.orders[number] = {"id": int(number), **given}
            return self._show(number, 201, {"Location": f"/orders/{number}"})
        number = self.path.removeprefix("/orders/")
        if number not in self.server.orders:
            return self._answer(404)
        if self.command == "GET":
            return self._show(number, 200)
        if self.headers["If-Match"] != self.server.etags[number]:
            return self._answer(412)
        if self.command == "DELETE":
            del self.server.orders[number]
            return self._answer(204)
        self.server.orders[number].update(given)
        return self._show(number, 200)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _log_in(self, given: Mapping[str, Any]) -> None:
        if (given.get("user"), given.get("password")) != (USER, self.server.password):
            return self._answer(401)
        token = secrets.token_urlsafe(24)
        self.server.tokens.add(token)
        return self._answer(200, {"access_token": token})

    def _show(self, number: str, status: int, headers: Mapping[str, str] | None = None) -> None:
        if self.command != "GET":
            self.server.etags[number] = f'"{secrets.token_hex(8)}"'
        etag = {"ETag": self.server.etags[number]}
        self._answer(status, self.server.orders[number], {**etag, **(headers or {})})

    def _answer(
        self, status: int, content: object = None, headers: Mapping[str, str] | None = None
    ) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if body:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print a line for each request: what came, and the answer's status."""
        print(f"{self.command} {self.path} {args[1] if len(args) > 1 else ''}", flush=True)  # noqa: T201


class Customer:
    """Knows an order's number, its ETag and a token from answers alone."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = ""

    def ask(
        self, method: str, path: str, given: object = None, etag: str | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """Send one request; return what was answered, and the headers."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if etag:
            headers["If-Match"] = etag
        body = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(self.url + path, body, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            text = answer.read()
            return json.loads(text) if text else None, answer.headers

    def shop(self, password: str) -> None:
        """Place three orders, change two of them, and cancel the last."""
        found, _ = self.ask("POST", "/login", {"user": USER, "password": password})
        self.token = found["access_token"]
        for quantity in (1, 2, 3):
            order, headers = self.ask("POST", "/orders", {"item": "teapot", "quantity": quantity})
            place = f"/orders/{order['id']}"
            if quantity < 3:
                _, headers = self.ask("PATCH", place, {"quantity": 42}, headers["ETag"])
                self.ask("GET", place)
            else:
                self.ask("DELETE", place, etag=headers["ETag"])


def main() -> None:
    """Serve, or shop."""
    parser = argparse.ArgumentParser(description=__doc__)
    does = parser.add_subparsers(dest="does", required=True)
    serve = does.add_parser("serve")
    serve.add_argument("port", type=int)
    serve.add_argument("--first-id", type=int, default=1)
    shop = does.add_parser("shop")
    shop.add_argument("url")
    for one in (serve, shop):
        one.add_argument("--password", required=True)
    asked = parser.parse_args()
    if asked.does == "shop":
        Customer(asked.url).shop(asked.password)
        return
    try:
        Orders(asked.port, asked.first_id, asked.password).serve_forever()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
