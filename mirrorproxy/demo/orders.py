"""A small orders application: the demo runs it twice, as production and as staging.

Each has its own orders, users, passwords and signing key, so that a token of
one is worth nothing to the other. Keeps everything in memory.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from aiohttp import web

from mirrorproxy.demo import tokens

MAX_BODY_BYTES = 4 * 1024 * 1024


@dataclass
class Order:
    """One order. label is the SHA-256 of the label's bytes; owner is a user of this application."""

    owner: str
    item: str
    quantity: int
    notes: list[str] = field(default_factory=list)
    label: str | None = None


class Orders:
    """The application: its data, and the handlers that change it.

    name: also the issuer of its tokens. passwords: by user. orders: what it
    holds at the start, by number.
    """

    def __init__(
        self, name: str, passwords: Mapping[str, str], orders: Mapping[str, Order]
    ) -> None:
        self.name = name
        self.orders = dict(orders)
        self.refused = 0
        self._passwords = dict(passwords)
        self._key = secrets.token_bytes(32)

    def application(self) -> web.Application:
        """Return a new aiohttp application over this data."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.add_routes(
            [
                web.get("/health", self._health),
                web.post("/login", self._login),
                web.get("/orders", self._list),
                web.post("/orders", self._create),
                web.get("/orders/{number}", self._show),
                web.patch("/orders/{number}", self._change),
                web.delete("/orders/{number}", self._delete),
                web.post("/orders/{number}/notes", self._note),
                web.put("/orders/{number}/label", self._label),
            ]
        )
        return application

    def token_for(self, user: str) -> str:
        """Return a token of this application, as its operator could make one."""
        return tokens.issue(user, issuer=self.name, key=self._key)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "up"})

    async def _login(self, request: web.Request) -> web.Response:
        form = await request.post()
        user, password = str(form.get("user", "")), str(form.get("password", ""))
        if not user or self._passwords.get(user) != password:
            raise web.HTTPUnauthorized
        return web.json_response({"access_token": self.token_for(user), "token_type": "Bearer"})

    async def _list(self, request: web.Request) -> web.Response:
        user = self._user(request)
        owned = {number: order for number, order in self.orders.items() if order.owner == user}
        return web.json_response({number: _shown(order) for number, order in owned.items()})

    async def _create(self, request: web.Request) -> web.Response:
        user = self._user(request)
        wanted = await _json_object(request)
        match wanted:
            case {"number": str(number), "item": str(item), "quantity": int(quantity)}:
                pass
            case _:
                raise web.HTTPBadRequest(text="an order has a number, an item and a quantity")
        if number in self.orders:
            raise web.HTTPConflict(text=f"there is an order {number} already")
        self.orders[number] = Order(user, item, quantity)
        headers = {"Location": f"/orders/{quote(number, safe='')}"}
        return web.json_response(_shown(self.orders[number]), status=201, headers=headers)

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(_shown(self._own(request)))

    async def _change(self, request: web.Request) -> web.Response:
        order = self._own(request)
        match await _json_object(request):
            case {"quantity": int(quantity)}:
                order.quantity = quantity
            case _:
                raise web.HTTPBadRequest(text="only the quantity can be changed")
        return web.json_response(_shown(order))

    async def _delete(self, request: web.Request) -> web.Response:
        self._own(request)
        del self.orders[request.match_info["number"]]
        return web.Response(status=204)

    async def _note(self, request: web.Request) -> web.Response:
        order = self._own(request)
        order.notes.append(str((await request.post()).get("text", "")))
        return web.json_response(_shown(order), status=201)

    async def _label(self, request: web.Request) -> web.Response:
        order = self._own(request)
        order.label = hashlib.sha256(await request.read()).hexdigest()
        return web.Response(status=204)

    def _user(self, request: web.Request) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = tokens.user_of(token, issuer=self.name, key=self._key)
        if scheme != "Bearer" or user is None:
            self.refused += 1
            raise web.HTTPUnauthorized
        return user

    def _own(self, request: web.Request) -> Order:
        user = self._user(request)
        order = self.orders.get(request.match_info["number"])
        if order is None or order.owner != user:
            raise web.HTTPNotFound
        return order


async def _json_object(request: web.Request) -> object:
    try:
        return await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise web.HTTPBadRequest(text="the body is not JSON") from None


def _shown(order: Order) -> dict[str, object]:
    return {
        "owner": order.owner,
        "item": order.item,
        "quantity": order.quantity,
        "notes": order.notes,
        "label": order.label,
    }
