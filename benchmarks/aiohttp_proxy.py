"""A capturing proxy as one would write it with aiohttp: a server, a client, a file of JSON lines.

The peer of `mirrorproxy capture` in the same language. It reads a body whole,
sends it on, answers, and then appends the exchange; it seals nothing and checks
nothing that aiohttp does not.

    python benchmarks/aiohttp_proxy.py PORT UPSTREAM FILE
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from io import BufferedWriter
from pathlib import Path

import msgspec
import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    }
)


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return the headers that are handed on."""
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name.lower() not in HOP_BY_HOP
    ]


def application(upstream: str, file: BufferedWriter) -> web.Application:
    """Return the proxy before one upstream."""
    encode = msgspec.json.Encoder().encode
    sessions: list[ClientSession] = []

    async def start(_: web.Application) -> None:
        sessions.append(
            ClientSession(
                connector=TCPConnector(limit=0),
                timeout=ClientTimeout(total=None),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        )

    async def stop(_: web.Application) -> None:
        for session in sessions:
            await session.close()

    async def forward(request: web.Request) -> web.Response:
        started_us = time.time_ns() // 1000
        body = await request.read()
        headers = end_to_end(request.raw_headers)
        async with sessions[0].request(
            request.method,
            upstream + request.raw_path,
            headers=headers,
            data=body or None,
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
        answer_headers = end_to_end(answer.raw_headers)
        response = web.Response(status=answer.status, body=content)
        response.headers.clear()
        for name, value in answer_headers:
            response.headers.add(name, value)
        exchange = {
            "started_us": started_us,
            "duration_us": time.time_ns() // 1000 - started_us,
            "request": {
                "method": request.method,
                "target": request.raw_path,
                "headers": headers,
                "body": body.decode("utf-8", "replace"),
            },
            "response": {"status": answer.status, "headers": answer_headers},
        }
        file.write(encode(exchange) + b"\n")
        return response

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", forward)
    app.on_startup.append(start)
    app.on_cleanup.append(stop)
    return app


def main() -> int:
    """Serve until told to end."""
    port, upstream, path = sys.argv[1:]
    with Path(path).open("ab") as file:
        web.run_app(
            application(upstream, file),
            host="127.0.0.1",
            port=int(port),
            access_log=None,
            print=None,
            loop=uvloop.new_event_loop(),
            handler_cancellation=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
