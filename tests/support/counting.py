"""An application that counts which requests came, and clients that send many: both cheap.

Each is one event loop with bare protocols, so that a test of thousands of requests measures
what stands between them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

_ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


class CountingApplication:
    """Answers 201 to everything until the block ends; `came` counts request targets.

    hold_after: answers no more than so many requests; `held` counts the rest, which get their
    answer when `release` is called, if anybody still waits.
    """

    def __init__(self, hold_after: int | None = None) -> None:
        self.came: Counter[str] = Counter()
        self.held = 0
        self.answered = 0
        self.url = ""
        self._hold_after = hold_after
        self._waiting: list[asyncio.Transport] = []
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="counting", daemon=True)

    def __enter__(self) -> CountingApplication:
        self._thread.start()
        if not self._started.wait(30):
            raise RuntimeError("the application did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    @property
    def total(self) -> int:
        """How many requests came."""
        return self.answered + self.held

    def release(self) -> None:
        """Answer everything from now on."""
        self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._hold_after = None
        for transport in self._waiting:
            if not transport.is_closing():
                transport.write(_ANSWER)
        self._waiting.clear()

    def receive(self, target: str, transport: asyncio.Transport) -> None:
        """Take one request."""
        self.came[target] += 1
        if self._hold_after is not None and self.answered >= self._hold_after:
            self.held += 1
            self._waiting.append(transport)
            return
        self.answered += 1
        transport.write(_ANSWER)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        )
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


class _Connection(asyncio.Protocol):
    def __init__(self, application: CountingApplication) -> None:
        self._application = application
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (found := _request(self._buffer)) is not None:
            target, size = found
            self._buffer = self._buffer[size:]
            assert self._transport is not None
            self._application.receive(target, self._transport)


def _request(data: bytes) -> tuple[str, int] | None:
    """Return the target of the first whole request, and its size; None without one."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = 0
    for line in data[:end].lower().split(b"\r\n")[1:]:
        if line.startswith(b"content-length:"):
            length = int(line[15:])
    size = end + 4 + length
    return (data.split(b" ", 2)[1].decode(), size) if len(data) >= size else None


async def send_all(
    url: str,
    targets: Sequence[str],
    body: bytes,
    headers: Sequence[str] = (),
    connections: int = 16,
) -> Counter[int]:
    """POST a body to each target, over some connections; return how often each status came."""
    host, port = url.removeprefix("http://").split(":")
    left = iter(targets)
    statuses: Counter[int] = Counter()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"Host: api.example.com\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer session-{number}-secret\r\nContent-Length: {len(body)}\r\n"
        ) + "".join(f"{one}\r\n" for one in headers)
        for target in left:
            writer.write(f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            _, _, rest = answer.lower().partition(b"content-length:")
            await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
            statuses[int(answer.split(b" ", 2)[1])] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client(number) for number in range(connections)))
    return statuses
