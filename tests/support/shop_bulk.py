"""Ways to name things beside paths: several at once, nested, in queries, headers and cursors."""

from __future__ import annotations

import re

from support.shop_front import Routes
from support.shop_messages import Answer, Asked, show
from support.shop_routes import ROUTES, Desk
from support.shop_state import Refused

PAGE = 3


class WholeDesk(Desk):
    """All of a shop."""

    def routes(self) -> Routes:
        return BULK + ROUTES

    def add_orders(self, asked: Asked) -> Answer:
        """Make several orders; the answer has them in the order in which they were asked for."""
        user, given = self._user(asked), asked.json()
        address = self.shop.find("address", given["address_id"], user)
        made = []
        for number, one in enumerate(given["orders"]):
            self.shop.value(f"quantity {number}", one["quantity"])
            order = self._make_order(user, address, {"year": 2026, "price": 0, "note": "batch"})
            product = self.shop.find("product", str(one["productId"]))
            self._make_item(order, product.id, one["quantity"])
            made.append(order)
        return show({"orders": [self._shown(one) for one in made]}, 201)

    def orders(self, asked: Asked) -> Answer:
        if "ids" not in asked.query:
            return super().orders(asked)
        user = self._user(asked)
        found = [self.shop.find("order", id, user) for id in asked.query["ids"].split(",")]
        return show({"orders": [{"id": int(one.id), "uuid": one.fields["uuid"]} for one in found]})

    def invoices_of(self, asked: Asked) -> Answer:
        order = self.shop.find("order", asked.query["order_id"], self._user(asked))
        found = [one for one in self.shop.all("invoice") if one.fields["order"] == order.ref]
        return show([{"id": int(one.id), "orderId": int(order.id)} for one in found])

    def give_away(self, asked: Asked) -> Answer:
        """Take an order as an object in an object, with its number as text."""
        user, given = self._user(asked), asked.json()["gift"]
        order = self.shop.find("order", given["order"]["id"], user)
        giver = self.shop.find("user", str(given["from"]["user"]["id"]), user)
        self.shop.value("ribbons", given["ribbons"])
        made = self.shop.make(
            "gift", self.shop.number("gift"), owner=user, order=order.ref, giver=giver.ref,
            ribbons=given["ribbons"],
        )  # fmt: skip
        return show({"gift": {"id": int(made.id), "ribbons": given["ribbons"]}}, 201)

    def open_gift(self, asked: Asked) -> Answer:
        """Find a gift by a header, which is a number, and a page by another."""
        gift = self.shop.find("gift", asked.headers["x-gift-id"], self._user(asked))
        self.shop.value("x-page", asked.headers["x-page"])
        return show({"ribbons": gift.fields["ribbons"]})

    def history(self, asked: Asked) -> Answer:
        """Give all orders by pages; where the next begins, only an opaque cursor says."""
        user = self._user(asked)
        begin = 0
        if "cursor" in asked.query:
            place = self.shop.cursors.get(asked.query["cursor"])
            if place is None or place[0] != user:
                raise Refused(404, "unknown cursor")
            begin = place[1]
        found = self.shop.all("order", user)
        cursor = self.shop.opaque(24)
        self.shop.cursors[cursor] = (user, begin + PAGE)
        shown = [int(one.id) for one in found[begin : begin + PAGE]]
        return show({"order_ids": shown, "next": cursor if begin + PAGE < len(found) else None})


_PLACES = [
    ("POST", "/orders/batch", WholeDesk.add_orders),
    ("GET", "/orders", WholeDesk.orders),
    ("GET", "/orders/history", WholeDesk.history),
    ("GET", "/invoices", WholeDesk.invoices_of),
    ("POST", "/gifts", WholeDesk.give_away),
    ("GET", "/gift", WholeDesk.open_gift),
]
BULK: Routes = [(method, re.compile(path), route) for method, path, route in _PLACES]
