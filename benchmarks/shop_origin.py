"""An origin that gives ids: a shop's orders and their items, each by a number of its own.

Keeps nothing but the last number: what is asked for by its number is there. Understands
only what the benchmarks send.

    python benchmarks/shop_origin.py PORT
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NOTE = "brittle amber basalt cedar delta ember fjord granite harbor indigo " * 4


def order(number: int) -> bytes:
    """Return what is said of an order, some 700 bytes."""
    items = [{"id": number * 10 + one, "sku": f"A-{one}", "qty": one + 1} for one in range(5)]
    told = {
        "id": number, "key": f"{number:08x}-1c2d-4e5f-8a9b-{number:012x}", "state": "open",
        "customer": {"id": number + 7, "name": "Ann Example"}, "items": items, "note": _NOTE,
    }  # fmt: skip
    return json.dumps(told).encode()


class Orders:
    """Answers requests; counts what is made. first: the number of the first."""

    def __init__(self, first: int) -> None:
        self._last = first - 1

    def answer(self, method: bytes, path: bytes) -> tuple[int, bytes, bytes]:
        """Return status, further header lines and body."""
        segments = path.split(b"/")
        if method == b"POST":
            self._last += 1
            line = b'Location: /orders/%d\r\nETag: "v%d"\r\n' % (self._last, self._last)
            return 201, line, order(self._last)
        return 200, b"", order(int(segments[2].partition(b"?")[0]))


class Connection(asyncio.Protocol):
    """One client; no pipelining."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request when all of it is there."""
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        if not end or len(rest) < length:
            return
        self._data = b""
        method, path, _ = head.split(b" ", 2)
        status, lines, body = self._orders.answer(method, path)
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s"
            % (status, lines, len(body), body)
        )


async def serve(port: int) -> None:
    """Serve until cancelled."""
    orders = Orders(1)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(orders), "127.0.0.1", port)
    await server.serve_forever()


def main() -> int:
    """Serve until told to end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
