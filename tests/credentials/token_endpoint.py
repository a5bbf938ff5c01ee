"""A token endpoint and a login over HTTP, on a port of its own, that remember what was asked."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from aiohttp import web


class Asked(NamedTuple):
    """A request: its form or JSON text, the client of HTTP Basic, when it came."""

    path: str
    fields: dict[str, str]
    basic: str | None
    text: str
    at_s: float


Answer = tuple[int, dict[str, object] | str, dict[str, str]]


class TokenEndpoint:
    """Answers every request by `answer`, until it is closed."""

    def __init__(self, answer: Callable[[Asked], Answer] | None = None) -> None:
        self.asked: list[Asked] = []
        self.granted: Counter[str] = Counter()
        self.answer = answer or self.grant
        self.lifetime: float | None = 3600
        self.delay_s = 0.0
        self.most_at_once = self._at_once = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait()

    def grant(self, asked: Asked) -> Answer:
        """Give a token that says whose it is and which one."""
        who = asked.fields.get("username") or asked.fields.get("refresh_token") or "all"
        self.granted[who] += 1
        body: dict[str, object] = {"access_token": f"tok-{who}-{self.granted[who]}"}
        if self.lifetime is not None:
            body["expires_in"] = self.lifetime
        return 200, body, {}

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        header = request.headers.get("Authorization", "")
        basic = None
        if header.startswith("Basic "):
            basic = unquote_plus(base64.b64decode(header[6:]).decode())
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        asked = Asked(request.path_qs, dict(parse_qsl(text)), basic, text, time.monotonic())
        self.asked.append(asked)
        await asyncio.sleep(self.delay_s)
        self._at_once -= 1
        status, body, headers = self.answer(asked)
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    def close(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
