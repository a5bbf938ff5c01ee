"""What a shop answers: a request as values in, an answer as values out.

Orders, what is in them and what comes after them; `shop_front` has the rest. A wrong ETag gets
412, a place in an order's life that it has passed 409.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from support.shop_front import Front, Routes
from support.shop_messages import Answer, Asked, page, show, xml
from support.shop_state import Ref, Refused, Thing

KEPT = ("uuid", "year", "price", "note", "state", "created_at")


class Desk(Front):
    """All places of the shop."""

    def routes(self) -> Routes:
        return ROUTES

    def checkout(self, asked: Asked) -> Answer:
        cart, given = self._cart(asked), asked.form()
        user = cart.owner or ""
        self.shop.take_form_token(given["csrf_token"], user)
        address = self.shop.find("address", given["address_id"], user)
        order = self._make_order(user, address, {"year": 2026, "price": 0, "note": "cart"})
        for line in cart.fields["lines"]:
            self._make_item(order, line["product"].id, line["quantity"])
        self.shop.remove(cart)
        return Answer(303, (("Location", f"/orders/{order.id}"),))

    # Orders

    def _make_order(self, user: str, address: Thing, given: Mapping[str, Any]) -> Thing:
        return self.shop.make(
            "order", self.shop.number("order"), owner=user, uuid=self.shop.uuid(),
            etag=self.shop.opaque(16), address=address.ref, year=given["year"],
            price=given["price"], note=given["note"], state="open", created_at=self.moment(),
        )  # fmt: skip

    def _make_item(self, order: Thing, product: str, quantity: int) -> Thing:
        return self.shop.make(
            "item", self.shop.number("item"), owner=order.owner, inside=order,
            product=Ref("product", product), quantity=quantity, etag=self._revision(),
        )  # fmt: skip

    def _revision(self) -> str:
        return f"v{self.shop.number('revision')}"

    def _order(self, asked: Asked, id: str, *, is_open: bool = False) -> Thing:
        order = self.shop.find("order", id, self._user(asked))
        if is_open and order.fields["state"] != "open":
            raise Refused(409, f"order {id} is {order.fields['state']}")
        return order

    def _values(self, given: Mapping[str, Any], *names: str) -> None:
        for name in names:
            self.shop.value(name, given[name])

    def add_order(self, asked: Asked) -> Answer:
        user, given = self._user(asked), asked.json()
        self._values(given, "year", "price", "quantity")
        address = self.shop.find("address", given["address_id"], user)
        product = self.shop.find("product", str(given["product_id"]))
        order = self._make_order(user, address, given)
        self._make_item(order, product.id, given["quantity"])
        etag = f'"{order.fields["etag"]}"'
        return show(self._shown(order), 201, Location=f"/orders/{order.id}", ETag=etag)

    def orders(self, asked: Asked) -> Answer:
        user = self._user(asked)
        number = int(asked.query["page"])
        self.shop.value("page", number)
        found = self.shop.all("order", user)[(number - 1) * 5 : number * 5]
        shown = [{"id": int(one.id), "state": one.fields["state"]} for one in found]
        return show({"page": number, "orders": shown})

    def order(self, asked: Asked, id: str) -> Answer:
        order = self._order(asked, id)
        return show(self._shown(order), ETag=f'"{order.fields["etag"]}"')

    def order_by_uuid(self, asked: Asked, id: str) -> Answer:
        user = self._user(asked)
        for order in self.shop.all("order", user):
            if order.fields["uuid"] == id:
                return self.order(asked, order.id)
        raise Refused(404, f"no order {id}")

    def _matched(self, asked: Asked, thing: Thing) -> None:
        if asked.headers.get("if-match") != f'"{thing.fields["etag"]}"':
            raise Refused(412, f"{thing.kind} {thing.id} has another ETag")

    def change_order(self, asked: Asked, id: str) -> Answer:
        order, given = self._order(asked, id, is_open=True), asked.json()
        self._matched(asked, order)
        self._values(given, "price")
        order.fields.update(price=given["price"], note=given["note"], etag=self.shop.opaque(16))
        return show(self._shown(order), ETag=f'"{order.fields["etag"]}"')

    def delete_order(self, asked: Asked, id: str) -> Answer:
        order = self._order(asked, id, is_open=True)
        self._matched(asked, order)
        self.shop.remove(order)
        return Answer(204)

    def place_order(self, asked: Asked, id: str) -> Answer:
        order = self._order(asked, id, is_open=True)
        order.fields["state"] = "placed"
        return show(self._shown(order))

    def _shown(self, order: Thing) -> dict[str, Any]:
        items = [self._shown_item(one) for one in self.shop.all("item", inside=order)]
        kept = {name: order.fields[name] for name in KEPT}
        address = order.fields["address"].id
        return {"id": int(order.id), **kept, "address_id": address, "items": items}

    # What is in them

    def _shown_item(self, item: Thing) -> dict[str, Any]:
        order, product = item.inside, item.fields["product"]
        assert order is not None
        return {"id": int(item.id), "orderId": int(order.id), "product_id": int(product.id),
                "quantity": item.fields["quantity"]}  # fmt: skip

    def add_item(self, asked: Asked, id: str) -> Answer:
        order, given = self._order(asked, id, is_open=True), asked.json()
        self._values(given, "quantity")
        product = self.shop.find("product", str(given["product_id"]))
        item = self._make_item(order, product.id, given["quantity"])
        etag, place = f'"{item.fields["etag"]}"', f"/orders/{id}/items/{item.id}"
        return show(self._shown_item(item), 201, Location=place, ETag=etag)

    def _item(self, asked: Asked, id: str, item_id: str) -> Thing:
        order = self._order(asked, id, is_open=asked.method != "GET")
        item = self.shop.find("item", item_id, order.owner)
        if item.inside != order.ref:
            raise Refused(404, f"item {item_id} is not in order {id}")
        return item

    def item(self, asked: Asked, id: str, item_id: str) -> Answer:
        item = self._item(asked, id, item_id)
        return show(self._shown_item(item), ETag=f'"{item.fields["etag"]}"')

    def change_item(self, asked: Asked, id: str, item_id: str) -> Answer:
        item, given = self._item(asked, id, item_id), asked.json()
        self._matched(asked, item)
        self._values(given, "quantity")
        item.fields.update(quantity=given["quantity"], etag=self._revision())
        return show(self._shown_item(item), ETag=f'"{item.fields["etag"]}"')

    def delete_item(self, asked: Asked, id: str, item_id: str) -> Answer:
        self.shop.remove(self._item(asked, id, item_id))
        return Answer(204)

    # Reviews, by an HTML form

    def review_page(self, asked: Asked, id: str) -> Answer:
        order = self._order(asked, id)
        token = self.shop.form_token(order.owner or "")
        return page(
            f'<form action="/reviews" method="post">\n<input type="hidden" name="csrf_token" '
            f'value="{token}">\n<input type="hidden" name="order_id" value="{id}">\n'
            '<input name="rating"><textarea name="text"></textarea></form>'
        )

    def add_review(self, asked: Asked) -> Answer:
        user, given = self._user(asked), asked.form()
        self.shop.take_form_token(given["csrf_token"], user)
        order = self.shop.find("order", given["order_id"], user)
        self._values(given, "rating")
        made = self.shop.make(
            "review", self.shop.number("review"), owner=user, order=order.ref,
            rating=given["rating"], text=given["text"],
        )  # fmt: skip
        return show({"id": int(made.id), "order_id": int(order.id)}, 201)

    # Invoices and payments, in XML

    def add_invoice(self, asked: Asked) -> Answer:
        user, given = self._user(asked), asked.xml()
        order = self.shop.find("order", given.findtext("order_id") or "", user)
        year, amount = given.findtext("year"), given.findtext("amount")
        self._values({"year": year, "amount": amount}, "year", "amount")
        made = self.shop.make(
            "invoice", self.shop.number("invoice"), owner=user, order=order.ref, year=year,
            amount=amount,
        )  # fmt: skip
        return xml(_invoice(made), 201, Location=f"/invoices/{made.id}")

    def invoice(self, asked: Asked, id: str) -> Answer:
        return xml(_invoice(self.shop.find("invoice", id, self._user(asked))))

    def pay(self, asked: Asked) -> Answer:
        user, given = self._user(asked), asked.xml()
        invoice = self.shop.find("invoice", given.get("invoice_id") or "", user)
        amount = given.findtext("amount")
        self.shop.value("amount", amount)
        made = self.shop.make(
            "payment", self.shop.number("payment"), owner=user, invoice=invoice.ref, amount=amount
        )
        return xml(f'<payment id="{made.id}"><invoice_id>{invoice.id}</invoice_id></payment>', 201)

    # The warehouse: one user's orders in another one's hands

    def _worker(self, asked: Asked) -> str:
        user = self._user(asked)
        if not user.startswith("warehouse"):
            raise Refused(403, f"{user} is no worker")
        return user

    def queue(self, asked: Asked) -> Answer:
        self._worker(asked)
        shown = [
            {"order_id": int(one.id), "user_id": int(self._user_thing(one.owner or "").id)}
            for one in self.shop.all("order")
            if one.fields["state"] == "placed"
        ]
        return show({"orders": shown[:50]})

    def customer(self, asked: Asked, id: str) -> Answer:
        self._worker(asked)
        found = self.shop.find("user", id)
        return show({"id": int(id), "email": found.fields["email"]})

    def ship(self, asked: Asked) -> Answer:
        user, given = self._worker(asked), asked.json()
        self._values(given, "packages")
        orders = [self.shop.find("order", str(one)) for one in given["order_ids"]]
        for one in orders:
            if one.fields["state"] != "placed":
                raise Refused(409, f"order {one.id} is {one.fields['state']}")
        made = self.shop.make(
            "shipment", self.shop.number("shipment"), owner=user, packages=given["packages"],
            orders=[one.ref for one in orders],
        )  # fmt: skip
        for one in orders:
            one.fields["state"] = "shipped"
        place = f"/warehouse/shipments/{made.id}"
        return show({"id": int(made.id), "order_ids": given["order_ids"]}, 201, Location=place)

    def change_shipment(self, asked: Asked, id: str) -> Answer:
        found, given = self.shop.find("shipment", id, self._worker(asked)), asked.json()
        self._values(given, "packages")
        found.fields["packages"] = given["packages"]
        return show({"id": int(id), "packages": given["packages"]})


def _invoice(one: Thing) -> str:
    order = one.fields["order"].id
    return (
        f"<invoice><id>{one.id}</id><order_id>{order}</order_id><year>{one.fields['year']}</year>"
        f"<amount>{one.fields['amount']}</amount></invoice>"
    )


_PLACES = [
    ("POST", "/login", Desk.log_in),
    ("POST", "/token", Desk.refresh),
    ("GET", "/account", Desk.account),
    ("GET", "/account/settings", Desk.settings),
    ("PUT", "/users/{}", Desk.change_account),
    ("GET", "/products", Desk.products),
    ("GET", "/products/{}", Desk.product),
    ("GET", "/search", Desk.search),
    ("GET", "/reports/{}", Desk.report),
    ("POST", "/addresses", Desk.add_address),
    ("GET", "/addresses", Desk.addresses),
    ("GET", "/addresses/{}", Desk.address),
    ("POST", "/cart", Desk.open_cart),
    ("POST", "/cart/lines", Desk.add_line),
    ("GET", "/checkout", Desk.checkout_page),
    ("POST", "/checkout", Desk.checkout),
    ("POST", "/orders", Desk.add_order),
    ("GET", "/orders", Desk.orders),
    ("GET", "/orders/{}", Desk.order),
    ("PATCH", "/orders/{}", Desk.change_order),
    ("DELETE", "/orders/{}", Desk.delete_order),
    ("POST", "/orders/{}/place", Desk.place_order),
    ("GET", "/orders/by-uuid/{}", Desk.order_by_uuid),
    ("POST", "/orders/{}/items", Desk.add_item),
    ("GET", "/orders/{}/items/{}", Desk.item),
    ("PUT", "/orders/{}/items/{}", Desk.change_item),
    ("DELETE", "/orders/{}/items/{}", Desk.delete_item),
    ("GET", "/orders/{}/review", Desk.review_page),
    ("POST", "/reviews", Desk.add_review),
    ("POST", "/invoices", Desk.add_invoice),
    ("GET", "/invoices/{}", Desk.invoice),
    ("POST", "/payments", Desk.pay),
    ("GET", "/warehouse/queue", Desk.queue),
    ("GET", "/warehouse/users/{}", Desk.customer),
    ("POST", "/warehouse/shipments", Desk.ship),
    ("PUT", "/warehouse/shipments/{}", Desk.change_shipment),
]
ROUTES: Routes = [
    (method, re.compile(path.replace("{}", "([^/]+)")), route) for method, path, route in _PLACES
]
