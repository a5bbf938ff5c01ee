"""A program: a target that judges tokens, and the endpoint that gives them, on one clock.

Prints its two ports, serves until its standard input ends, then prints what came as JSON.
Each token holds LIFETIME_S; a shot that comes with another one, or after that, is named.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter

LIFETIME_S = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
DELAY_S = 0.05

granted: dict[bytes, tuple[float, float]] = {}
asked_at: list[float] = []
seen: Counter[str] = Counter()
by_second: Counter[int] = Counter()
at_once: list[int] = [0, 0]  # now, at most


class Target(asyncio.Protocol):
    """Answers requests without a body."""

    def connection_made(self, transport):
        self.transport = transport
        self.rest = b""

    def data_received(self, data):
        now = time.monotonic()
        self.rest += data
        while True:
            head, end, rest = self.rest.partition(b"\r\n\r\n")
            if not end:
                return
            self.rest = rest
            token = head.partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0]
            until = granted.get(token)
            seen["unknown" if until is None else "good" if now <= until[1] else "expired"] += 1
            by_second[int(now)] += 1
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def grant(reader, writer):
    """Give a token, after a while."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            now = time.monotonic()
            asked_at.append(now)
            at_once[0] += 1
            at_once[1] = max(at_once)
            await asyncio.sleep(DELAY_S)
            at_once[0] -= 1
            token = f"token-{len(granted)}"
            granted[token.encode()] = (now, now + LIFETIME_S)
            body = json.dumps({"access_token": token, "expires_in": LIFETIME_S})
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    except asyncio.IncompleteReadError:
        writer.close()


async def main():
    loop = asyncio.get_running_loop()
    target = await loop.create_server(Target, "127.0.0.1", 0)
    endpoint = await asyncio.start_server(grant, "127.0.0.1", 0)
    ports = [one.sockets[0].getsockname()[1] for one in (target, endpoint)]
    print(*ports, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    rates = sorted(by_second.values())
    print(
        json.dumps(
            {
                "shots": dict(seen),
                "token_requests": len(asked_at),
                "most_at_once": at_once[1],
                "gaps_s": [round(b - a, 3) for a, b in itertools.pairwise(asked_at)],
                "rate": rates[len(rates) // 2] if rates else 0,
            }
        )
    )


asyncio.run(main())
