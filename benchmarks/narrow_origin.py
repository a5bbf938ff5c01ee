"""An origin whose capacity can be changed: one queue, so many answers a second.

Answers every request with 200 when its turn in the queue has come, and with 503 at once when
the queue is full. A line on standard input, such as ``150``, is a new capacity; each
is answered by a line with the time at which it holds, in microseconds since 1970.

    python benchmarks/narrow_origin.py PORT CAPACITY QUEUE
"""

from __future__ import annotations

import asyncio
import sys
import time

from mirrorproxy.clock import wall_us

BASE_S = 0.005
"""What an answer takes with nothing before it."""

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Capacity:
    """The queue. per_s: how many leave it in a second. most: how many it holds."""

    def __init__(self, per_s: float, most: int) -> None:
        self.per_s = per_s
        self.most = most
        self._free_s = 0.0

    def wait_s(self, now_s: float) -> float | None:
        """Take a place; return when its turn comes, None if there is none left."""
        free_s = max(self._free_s, now_s)
        if (free_s - now_s) * self.per_s >= self.most:
            return None
        self._free_s = free_s + 1 / self.per_s
        return free_s - now_s + BASE_S

    def change(self, per_s: float, now_s: float) -> None:
        """Let what waits in the queue leave at another rate, too."""
        waiting = max(self._free_s - now_s, 0.0) * self.per_s
        self.per_s = per_s
        self._free_s = now_s + waiting / per_s


class Connection(asyncio.Protocol):
    """One client; no pipelining, bodies by Content-Length."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return
        self._data = rest[length:]
        wait_s = self._capacity.wait_s(time.monotonic())
        if wait_s is None:
            self._answer(FULL)
        else:
            asyncio.get_running_loop().call_later(wait_s, self._answer, GOOD)

    def _answer(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def serve(port: int, capacity: Capacity) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(capacity), "127.0.0.1", port, backlog=1024)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            capacity.change(float(line), time.monotonic())
            print(wall_us(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Capacity(float(sys.argv[2]), int(sys.argv[3]))))
