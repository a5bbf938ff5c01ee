"""The demo's clients: each logs in, then creates, changes and deletes orders.

They speak to the proxy as to the application itself and know nothing of
mirrorproxy. Their requests are always the same; only the pauses vary.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

import aiohttp

from mirrorproxy.demo import DemoFailed

ORDERS_EACH = 6
PAUSE_S = (0.02, 0.12)
REQUEST_TIMEOUT_S = 10.0

ITEMS = ("teapot", "kettle", "grinder", "filter", "scale", "cup")
LABEL_START = b"\x89PNG\r\n\x1a\n"


async def shop(url: str, passwords: Mapping[str, str]) -> int:
    """Let every user do their work side by side; return how many requests were made.

    url: where the application, or the proxy before it, answers. passwords: by
    user. Raises DemoFailed if a request does not succeed.
    """
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(url, timeout=timeout) as session,
            asyncio.TaskGroup() as tasks,
        ):
            shoppers = [
                tasks.create_task(_Shopper(session, user, password, seed).work())
                for seed, (user, password) in enumerate(sorted(passwords.items()))
            ]
    except* (DemoFailed, aiohttp.ClientError, TimeoutError) as group:
        raise DemoFailed(f"a client's request failed: {group.exceptions[0]!r}") from group
    return sum(shopper.result() for shopper in shoppers)


class _Shopper:
    """One user: the requests follow each other, as those of a person do."""

    def __init__(self, session: aiohttp.ClientSession, user: str, password: str, seed: int) -> None:
        self._session = session
        self._user = user
        self._password = password
        self._random = random.Random(seed)  # noqa: S311 - pauses, not secrets
        self._headers: dict[str, str] = {}
        self._sent = 0

    async def work(self) -> int:
        await self._send("GET", "/health")
        await self._log_in()
        for index in range(ORDERS_EACH):
            await self._order(f"{self._user.upper()}-{index + 1}", index)
        await self._send("GET", "/orders")
        return self._sent

    async def _log_in(self) -> None:
        answer = await self._send(
            "POST", "/login", data={"user": self._user, "password": self._password}
        )
        self._headers = {"Authorization": f"Bearer {answer['access_token']}"}

    async def _order(self, number: str, index: int) -> None:
        item = ITEMS[index % len(ITEMS)]
        await self._send(
            "POST", "/orders", json={"number": number, "item": item, "quantity": index + 1}
        )
        await self._send("PATCH", f"/orders/{number}", json={"quantity": 10 * (index + 1)})
        note = f"50 % & ü={index + 1}"
        await self._send("POST", f"/orders/{number}/notes", data={"text": note})
        label = LABEL_START + random.Random(number).randbytes(2000 * (index + 1))  # noqa: S311
        await self._send(
            "PUT", f"/orders/{number}/label", data=label, headers={"Content-Type": "image/png"}
        )
        await self._send("GET", f"/orders/{number}")
        if index % 3 == 2:
            await self._send("DELETE", f"/orders/{number}")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        data: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, object]:
        await asyncio.sleep(self._random.uniform(*PAUSE_S))
        async with self._session.request(
            method, path, json=json, data=data, headers={**self._headers, **(headers or {})}
        ) as response:
            body = await response.read()
            if not response.ok:
                raise DemoFailed(f"{method} {path}: {response.status}")
            self._sent += 1
            return await response.json() if body else {}
