"""A shop's customers: each walks at random through it, and knows only what it was told.

Ids, tokens, ETags and cookies come from answers alone, as in real clients.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from xml.etree import ElementTree

import aiohttp

PAUSE_S = (0.03, 0.25)
ANSWER_TIMEOUT_S = 30
WAREHOUSES = 3

_HIDDEN = re.compile(r'name="csrf_token" value="([^"]*)"')
_META = re.compile(r'name="csrf-token" content="([^"]*)"')

Fields = dict[str, Any]


class Shopper:
    """One customer. seed: of all that it decides. until_s: when to stop, by `time.monotonic`.

    refresh_s: how long a token is used, less than it holds. collide: take numbers for quantities,
    pages, years and prices from ids that are in use.
    address: to connect from. statuses: how often each answer came.
    """

    Action = Callable[[], Coroutine[Any, Any, None]]

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        *,
        number: int,
        until_s: float,
        collide: bool,
        refresh_s: float,
        address: str = "127.0.0.1",
    ) -> None:
        self._url = url
        self._user = user
        self._password = password
        self._until_s = until_s
        self._collide = collide
        self._refresh_s = refresh_s
        self._address = address
        self.chance = random.Random(number)
        self.steps = 0
        self.statuses: Counter[int] = Counter()
        self._session: aiohttp.ClientSession | None = None
        self._tokens: Fields = {}
        self._since_s = 0.0
        self._live: list[int] = [1]
        self.products: list[int] = []
        self.addresses: list[str] = []
        self.orders: list[Fields] = []
        self.user_id = 0

    async def shop(self) -> None:
        """Log in, then do one thing after the other until it is time to stop."""
        connector = aiohttp.TCPConnector(local_addr=(self._address, 0), limit=6)
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(
            self._url, connector=connector, timeout=timeout, cookie_jar=jar
        ) as self._session:
            await self._log_in()
            await self._start()
            while time.monotonic() < self._until_s:
                if time.monotonic() - self._since_s > self._refresh_s:
                    await self._refresh()
                await self._something()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
        data: Any = None,
        json: Any = None,
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Send one request after a pause; return the answer and its body."""
        assert self._session is not None
        self.steps += 1
        sent = {"X-Step": f"{self._user}/{self.steps}", **(headers or {})}
        if signed:
            sent["Authorization"] = f"Bearer {self._tokens['access_token']}"
        await asyncio.sleep(self.chance.uniform(*PAUSE_S))
        async with self._session.request(
            method, path, headers=sent, data=data, json=json, allow_redirects=False
        ) as answer:
            text = await answer.text()
        self.statuses[answer.status] += 1
        if answer.content_type == "application/json" and answer.ok:
            self._remember(await answer.json())
        return answer, text

    async def told(self, method: str, path: str, **given: Any) -> Any:
        """Send one request and return the JSON of its answer."""
        answer, _ = await self.ask(method, path, **given)
        return await answer.json()

    def number(self, least: int, most: int) -> int:
        """Return a number that is no id, but may look like one."""
        near = [one for one in self._live if least <= one <= most]
        if self._collide and near:
            return self.chance.choice(near)
        return self.chance.randint(least, most)

    def year(self) -> int:
        return self.number(1990, 2030)

    def _remember(self, found: Any) -> None:
        """Keep numbers that are ids in what was answered."""
        if isinstance(found, dict):
            for name, value in found.items():
                if name.lower().endswith("id") and isinstance(value, int):
                    self._live = [*self._live[-60:], value]
                self._remember(value)
        elif isinstance(found, list):
            for one in found:
                self._remember(one)

    # Log-ins

    async def _log_in(self) -> None:
        given = {"user": self._user, "password": self._password}
        self._tokens = await self.told("POST", "/login", json=given, signed=False)
        self.user_id = self._tokens["user_id"]
        self._since_s = time.monotonic()

    async def _refresh(self) -> None:
        given = {"grant_type": "refresh_token", "refresh_token": self._tokens["refresh_token"]}
        old = self._tokens["access_token"]
        self._tokens = await self.told("POST", "/token", data=given, signed=False)
        self._since_s = time.monotonic()
        if self.chance.random() < 0.2:  # a tab that still has the old one
            await self.ask("GET", "/orders?page=1", signed=False,
                           headers={"Authorization": f"Bearer {old}"})  # fmt: skip

    # What customers do

    async def _start(self) -> None:
        await self._browse()
        await self._add_address()

    def actions(self) -> list[tuple[int, Shopper.Action]]:
        """Return what may be done, each with how often."""
        return [
            (6, self._browse), (3, self._search), (2, self._report), (1, self._add_address),
            (1, self._look_at_addresses), (6, self._order), (5, self._change_order),
            (6, self._items), (2, self._delete_order), (3, self._place), (2, self._cart),
            (2, self._review), (2, self._pay), (1, self._account), (3, self._look_at_orders),
            (1, self._mistake),
        ]  # fmt: skip

    async def _something(self) -> None:
        weights, actions = zip(*self.actions(), strict=True)
        (action,) = self.chance.choices(actions, weights)
        await action()

    async def _browse(self) -> None:
        number, size = min(self.number(1, 5), 5), 8
        found = await self.told("GET", f"/products?page={number}&size={size}", signed=False)
        self.products += [one["id"] for one in found["products"]]
        self.products = self.products[-30:]
        await self.ask("GET", f"/products/{self.chance.choice(self.products)}", signed=False)

    async def _search(self) -> None:
        place = f"/search?q=cup&year={self.year()}&max_price={self.number(1, 60)}"
        for one in (await self.told("GET", place, signed=False))["results"][:1]:
            await self.ask("GET", f"/products/{one['productId']}", signed=False)

    async def _report(self) -> None:
        await self.ask("GET", f"/reports/{self.year()}")

    async def _add_address(self) -> None:
        given = {"city": "Ulm", "zip": str(self.number(1, 99999))}
        self.addresses.append((await self.told("POST", "/addresses", json=given))["id"])

    async def _look_at_addresses(self) -> None:
        for one in (await self.told("GET", "/addresses"))[-2:]:
            await self.ask("GET", f"/addresses/{one['id']}")

    async def _order(self) -> None:
        given = {
            "product_id": self.chance.choice(self.products),
            "address_id": self.chance.choice(self.addresses),
            "quantity": self.number(1, 60), "price": self.number(1, 5000), "year": self.year(),
            "note": f"for {self._user}",
        }  # fmt: skip
        answer, _ = await self.ask("POST", "/orders", json=given)
        self.orders.append({**await answer.json(), "etag": answer.headers["ETag"]})
        if self.chance.random() < 0.3:
            await self.ask("GET", answer.headers["Location"])

    def mine(self, *, is_open: bool = True) -> Fields | None:
        found = [one for one in self.orders if not is_open or one["state"] == "open"]
        return self.chance.choice(found[-8:]) if found else None

    async def _look_at_orders(self) -> None:
        found = await self.told("GET", f"/orders?page={min(self.number(1, 3), 3)}")
        for one in found["orders"][:1]:
            shown = await self.told("GET", f"/orders/{one['id']}")
            await self.ask("GET", f"/orders/by-uuid/{shown['uuid']}")

    async def _change_order(self) -> None:
        order = self.mine()
        if order is None:
            return
        for _ in range(self.chance.randint(1, 2)):
            given = {"price": self.number(1, 5000), "note": f"changed by {self._user}"}
            answer, _ = await self.ask("PATCH", f"/orders/{order['id']}", json=given,
                                       headers={"If-Match": order["etag"]})  # fmt: skip
            order["etag"] = answer.headers["ETag"]

    async def _items(self) -> None:
        order = self.mine()
        if order is None:
            return
        place = f"/orders/{order['id']}/items"
        answers = await asyncio.gather(*(self._add_item(place) for _ in range(2)))
        for answer in answers:
            item = await answer.json()
            given = {"quantity": self.number(1, 60)}
            if self.chance.random() < 0.5:
                fresh = {"If-Match": answer.headers["ETag"]}
                await self.ask("PUT", answer.headers["Location"], json=given, headers=fresh)
            if self.chance.random() < 0.3:
                await self.ask("DELETE", f"{place}/{item['id']}")
            else:
                await self.ask("GET", f"{place}/{item['id']}")

    async def _add_item(self, place: str) -> aiohttp.ClientResponse:
        given = {"product_id": self.chance.choice(self.products), "quantity": self.number(1, 60)}
        return (await self.ask("POST", place, json=given))[0]

    async def _delete_order(self) -> None:
        order = self.mine()
        if order is None:
            return
        place = f"/orders/{order['id']}"
        shown, _ = await self.ask("GET", place)
        await self.ask("DELETE", place, headers={"If-Match": shown.headers["ETag"]})
        self.orders.remove(order)
        await self.ask("GET", place)

    async def _place(self) -> None:
        order = self.mine()
        if order is not None:
            order["state"] = "placed"
            await self.ask("POST", f"/orders/{order['id']}/place")

    async def _cart(self) -> None:
        """As a browser does: by cookie and form."""
        await self.ask("POST", "/cart")
        for _ in range(self.chance.randint(1, 3)):
            given = {"product_id": str(self.chance.choice(self.products)),
                     "quantity": str(self.number(1, 60))}  # fmt: skip
            await self.ask("POST", "/cart/lines", data=given, signed=False)
        _, text = await self.ask("GET", "/checkout", signed=False)
        given = {"csrf_token": _found(_HIDDEN, text), "address_id": self.addresses[-1]}
        answer, _ = await self.ask("POST", "/checkout", data=given, signed=False)
        answer, _ = await self.ask("GET", answer.headers["Location"])
        self.orders.append({**await answer.json(), "etag": answer.headers["ETag"]})

    async def _review(self) -> None:
        order = self.mine(is_open=False)
        if order is None:
            return
        _, text = await self.ask("GET", f"/orders/{order['id']}/review")
        given = {"csrf_token": _found(_HIDDEN, text), "order_id": str(order["id"]),
                 "rating": str(self.number(1, 5)), "text": "good"}  # fmt: skip
        await self.ask("POST", "/reviews", data=given)

    async def _pay(self) -> None:
        order = self.mine(is_open=False)
        if order is None:
            return
        kind = {"Content-Type": "application/xml"}
        amount = self.number(1, 5000)
        asked = (f"<request><order_id>{order['id']}</order_id><year>{self.year()}</year>"
                 f"<amount>{amount}</amount></request>")  # fmt: skip
        answer, text = await self.ask("POST", "/invoices", data=asked, headers=kind)
        await self.ask("GET", answer.headers["Location"])
        id = ElementTree.fromstring(text).findtext("id")
        asked = f'<payment invoice_id="{id}"><amount>{amount}</amount></payment>'
        await self.ask("POST", "/payments", data=asked, headers=kind)

    async def _account(self) -> None:
        if self.chance.random() < 0.5:
            answer, _ = await self.ask("GET", "/account")
            token = answer.headers["X-CSRF-Token"]
        else:
            _, text = await self.ask("GET", "/account/settings")
            token = _found(_META, text)
        given = {"email": f"{self._user}.{self.steps}@shop.test"}
        await self.ask("PUT", f"/users/{self.user_id}", json=given,
                       headers={"X-CSRF-Token": token})  # fmt: skip

    async def _mistake(self) -> None:
        """What users get wrong goes wrong in the same way again."""
        order = self.mine()
        if order is not None:
            await self.ask("PATCH", f"/orders/{order['id']}", json={"price": 1, "note": "old"},
                           headers={"If-Match": '"0123456789abcdef"'})  # fmt: skip


class Worker(Shopper):
    """A warehouse's: sends out what others ordered.

    part: from 0 to WAREHOUSES, excluded; which orders are for it.
    """

    part = 0

    async def _start(self) -> None:
        """There is nothing to look at first."""

    async def _something(self) -> None:
        found = (await self.told("GET", "/warehouse/queue"))["orders"]
        mine = [one for one in found if one["order_id"] % WAREHOUSES == self.part][:3]
        if not mine:
            return
        await self.ask("GET", f"/warehouse/users/{mine[0]['user_id']}")
        given = {"order_ids": [one["order_id"] for one in mine], "packages": self.number(1, 9)}
        answer, _ = await self.ask("POST", "/warehouse/shipments", json=given)
        given = {"packages": self.number(1, 9)}
        await self.ask("PUT", answer.headers["Location"], json=given)


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    assert found, text
    return found[1]
