"""The front of a shop: log-ins, accounts, what there is, addresses, the cart.

Wrong ids get 404, somebody else's 403, wrong tokens 401, wrong CSRF tokens 403: no wrong
replacement goes unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from support.shop_messages import Answer, Asked, page, show
from support.shop_state import Logged, Refused, Shop, Thing

WORDS = ("teapot", "kettle", "grinder", "filter", "scale", "cup", "tray", "spoon")
PRODUCTS = 40

Routes = list[tuple[str, re.Pattern[str], Callable[..., Answer]]]


class Front:
    """Where customers are served, over a shop's memory.

    now_s: seconds by any clock that only goes forward. wall_s: since 1970, for what is shown.
    """

    def __init__(
        self, shop: Shop, now_s: Callable[[], float], wall_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.shop = shop
        self._now_s = now_s
        self._wall_s = wall_s
        for user in sorted(shop.passwords):
            shop.make("user", shop.number("user"), born=user, owner=user, email=f"{user}@shop.test")
        for n in range(PRODUCTS):
            name = f"{WORDS[n % len(WORDS)]} {n}"
            shop.make("product", shop.number("product"), born=str(n), name=name, price=5 + n)

    def serve(self, asked: Asked) -> Answer:
        """Answer a request and log it."""
        step = asked.headers.get("x-step", "?")
        self.shop.asked = logged = Logged(
            step=step, method=asked.method, path=asked.path, touched=[], values={}
        )
        try:
            answer = self._find_route(asked)
        except Refused as refused:
            logged.reason = refused.reason
            answer = show({"error": refused.reason.split(" ")[0]}, refused.status)
        except (KeyError, ValueError, TypeError) as error:
            logged.reason = f"{type(error).__name__}: {error}"
            answer = show({"error": "bad request"}, 400)
        logged.status = answer.status
        self.shop.log.append(logged)
        return answer

    def _find_route(self, asked: Asked) -> Answer:
        for method, pattern, route in self.routes():
            found = pattern.fullmatch(asked.path) if method == asked.method else None
            if found:
                return route(self, asked, *found.groups())
        raise Refused(404, "no such place")

    def routes(self) -> Routes:
        """Return the places that are served: method, path, and who answers."""
        raise NotImplementedError

    def moment(self) -> str:
        """Return the time as it is shown."""
        return datetime.fromtimestamp(self._wall_s(), UTC).isoformat(timespec="milliseconds")

    def _user(self, asked: Asked) -> str:
        return self.shop.bearer(asked.headers.get("authorization", ""), self._now_s())

    # Log-ins

    def log_in(self, asked: Asked) -> Answer:
        given = asked.json()
        found = self.shop.log_in(given["user"], given["password"], self._now_s())
        return show({"user_id": int(self._user_thing(given["user"]).id), **found})

    def refresh(self, asked: Asked) -> Answer:
        return show(self.shop.refresh(asked.form()["refresh_token"], self._now_s()))

    def _user_thing(self, user: str) -> Thing:
        (found,) = self.shop.all("user", user)
        return found

    def account(self, asked: Asked) -> Answer:
        user = self._user(asked)
        found = self._user_thing(user)
        token = self.shop.form_token(user)
        return show({"id": int(found.id), "email": found.fields["email"]}, X_CSRF_Token=token)

    def settings(self, asked: Asked) -> Answer:
        token = self.shop.form_token(self._user(asked))
        return page(f'<html><head><meta name="csrf-token" content="{token}"></head></html>')

    def change_account(self, asked: Asked, id: str) -> Answer:
        user = self._user(asked)
        self.shop.take_form_token(asked.headers.get("x-csrf-token", ""), user)
        found = self.shop.find("user", id, user)
        found.fields["email"] = asked.json()["email"]
        return show({"id": int(id), "email": found.fields["email"]})

    # What there is

    def products(self, asked: Asked) -> Answer:
        number, size = int(asked.query["page"]), int(asked.query["size"])
        self.shop.value("page", number)
        self.shop.value("size", size)
        found = self.shop.all("product")[(number - 1) * size : number * size]
        return show({"page": number, "products": [_product(one) for one in found]})

    def product(self, _asked: Asked, id: str) -> Answer:
        return show({**_product(self.shop.find("product", id)), "available": True})

    def search(self, asked: Asked) -> Answer:
        most, word = int(asked.query["max_price"]), asked.query["q"]
        self.shop.value("max_price", most)
        self.shop.value("year", asked.query["year"])
        found = [
            one
            for one in self.shop.all("product")
            if word in one.fields["name"] and one.fields["price"] <= most
        ]
        return show({"q": word, "year": int(asked.query["year"]), "count": len(found),
                     "results": [{"productId": int(one.id)} for one in found]})  # fmt: skip

    def report(self, asked: Asked, year: str) -> Answer:
        self._user(asked)
        self.shop.value("year", year)
        months = [int(year) % 7 + n for n in range(12)]
        # Different for each request, and no time: nobody can know that it is noise.
        return show({"year": int(year), "months": months, "load": self.shop.noise()})

    # Addresses

    def add_address(self, asked: Asked) -> Answer:
        user, given = self._user(asked), asked.json()
        self.shop.value("zip", given["zip"])
        made = self.shop.make(
            "address", self.shop.uuid(), owner=user, city=given["city"], zip=given["zip"]
        )
        shown = {"id": made.id, **made.fields}
        return show(shown, 201, Location=f"/addresses/{made.id}")

    def addresses(self, asked: Asked) -> Answer:
        found = self.shop.all("address", self._user(asked))
        return show([{"id": one.id, **one.fields} for one in found])

    def address(self, asked: Asked, id: str) -> Answer:
        found = self.shop.find("address", id, self._user(asked))
        return show({"id": found.id, **found.fields})

    # The cart: a browser's, by cookie

    def open_cart(self, asked: Asked) -> Answer:
        user = self._user(asked)
        sid = self.shop.open_session(user)
        self.shop.make("cart", sid, owner=user, lines=[])
        return show({"lines": []}, 201, Set_Cookie=f"sid={sid}; Path=/; HttpOnly")

    def _cart(self, asked: Asked) -> Thing:
        sid, user = self.shop.session(asked.headers.get("cookie", ""))
        return self.shop.find("cart", sid, user)

    def add_line(self, asked: Asked) -> Answer:
        cart, given = self._cart(asked), asked.form()
        product = self.shop.find("product", given["product_id"])
        self.shop.value("quantity", given["quantity"])
        quantity = int(given["quantity"])
        cart.fields["lines"].append({"product": product.ref, "quantity": quantity})
        return show({"product_id": int(product.id), "quantity": quantity}, 201)

    def checkout_page(self, asked: Asked) -> Answer:
        token = self.shop.form_token(self._cart(asked).owner or "")
        return page(
            f'<form action="/checkout" method="post">\n<input type="hidden" name="csrf_token" '
            f'value="{token}">\n<select name="address_id"></select></form>'
        )


def _product(one: Thing) -> dict[str, Any]:
    return {"id": int(one.id), "name": one.fields["name"], "price": one.fields["price"]}
