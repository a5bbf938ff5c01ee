"""A stateful shop over HTTP, in a process of its own, and who starts and asks it.

`python -m support.shop '{"first_id": 1, ...}'` serves on a port of the system's choice and prints
its address. What it answers is in `shop_routes`, what it holds in `shop_state`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec
from aiohttp import web
from support.shop_bulk import WholeDesk
from support.shop_messages import Answer, Asked
from support.shop_state import Logged, Shop, Thing

STOP_TIMEOUT_S = 20
TESTS = Path(__file__).resolve().parents[1]

SLOW_PLACE = "/reports/"
USUAL_S = 0.008
SLOW_PLACE_S = 0.03
EVERY_FAILS = 50


class Settings(msgspec.Struct):
    """How a shop is. first_id: where its numbers begin. regress: with three faults planted."""

    passwords: dict[str, str]
    first_id: int
    salt: str
    regress: bool = False


class State(msgspec.Struct):
    """Everything that a shop holds, and what it was asked."""

    things: dict[str, dict[str, Thing]]
    log: list[Logged]


class ShopProcess:
    """A shop that runs while the block lasts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> ShopProcess:
        path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.shop"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        self._process.stdin.flush()
        self.url = self._process.stdout.readline().decode().strip()
        if not self.url:
            raise RuntimeError("the shop did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None
        # It ends by itself when nobody holds its standard input any more.
        try:
            process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def state(self) -> State:
        """Return all that it holds now."""
        with urllib.request.urlopen(f"{self.url}/_state", timeout=60) as answer:
            return msgspec.json.decode(answer.read(), type=State)


async def serve(settings: Settings) -> None:
    """Serve until standard input ends."""
    shop = Shop(settings.passwords, first_id=settings.first_id, salt=settings.salt)
    desk = WholeDesk(shop, time.monotonic, time.time)
    faults = Faults() if settings.regress else None
    started = asyncio.get_running_loop().time

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/_state":
            return web.Response(body=msgspec.json.encode(State(shop.things, shop.log)))
        asked = Asked(
            request.method,
            request.path,
            request.query,
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        began_s = started()
        answer = faults.failing(asked) if faults else None
        answer = answer or desk.serve(asked)
        wait_s = SLOW_PLACE_S if asked.path.startswith(SLOW_PLACE) else USUAL_S
        if faults:
            answer, wait_s = faults.changed(asked, answer), faults.slower(asked, wait_s)
        await asyncio.sleep(began_s + wait_s - started())
        headers: Mapping[str, str] = {
            **dict(answer.headers),
            "Content-Type": answer.content_type,
            "X-Request-Id": str(uuid.uuid4()),
        }
        return web.Response(status=answer.status, headers=headers, body=answer.body)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        print(f"http://{host}:{port}", flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
    finally:
        await runner.cleanup()


class Faults:
    """A planted regression: a field of another type, a place three times slower, failures."""

    def __init__(self) -> None:
        self._searches = 0

    def failing(self, asked: Asked) -> Answer | None:
        """Return a failure for every fiftieth search."""
        if asked.path != "/search":
            return None
        self._searches += 1
        return None if self._searches % EVERY_FAILS else Answer(500, (), b'{"error": "planted"}')

    def changed(self, asked: Asked, answer: Answer) -> Answer:
        if not asked.path.startswith("/products/") or answer.status != 200:
            return answer
        found = json.loads(answer.body)
        return answer._replace(body=json.dumps({**found, "available": "yes"}).encode())

    def slower(self, asked: Asked, wait_s: float) -> float:
        return 3 * wait_s if asked.path.startswith(SLOW_PLACE) else wait_s


def main() -> None:
    """Take the settings from the first line of standard input."""
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
