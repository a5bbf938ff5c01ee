"""What a shop answers: a request as values in, an answer as values out.

A wrong id gets 404, somebody else's 403, a wrong token 401, a wrong ETag 412, a wrong CSRF token
403: no wrong replacement goes unnoticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from support.shop_state import Logged, Ref, Refused, Shop, Thing

WORDS = ("teapot", "kettle", "grinder", "filter", "scale", "cup", "tray", "spoon")
PRODUCTS = 40


class Asked(NamedTuple):
    """A request. headers: by lower-case name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError:
            raise Refused(400, "no JSON") from None
        if not isinstance(found, dict):
            raise Refused(400, "no object")
        return found

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def xml(self) -> ElementTree.Element:
        try:
            return ElementTree.fromstring(self.body)
        except ElementTree.ParseError:
            raise Refused(400, "no XML") from None


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = "application/json"


def show(found: Any, status: int = 200, **headers: str) -> Answer:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, named, json.dumps(found).encode())


def page(text: str) -> Answer:
    return Answer(200, (), f"<!DOCTYPE html>\n{text}\n".encode(), "text/html; charset=utf-8")


def xml(text: str, status: int = 200, **headers: str) -> Answer:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, named, f'<?xml version="1.0"?>\n{text}'.encode(), "application/xml")


class Counter:
    """Where customers are served: routes over a shop's memory.

    now_s: seconds by any clock that only goes forward.
    """

    def __init__(self, shop: Shop, now_s: Callable[[], float]) -> None:
        self.shop = shop
        self._now_s = now_s
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
        for method, pattern, route in ROUTES:
            found = pattern.fullmatch(asked.path) if method == asked.method else None
            if found:
                return route(self, asked, *found.groups())
        raise Refused(404, "no such place")

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
        return show({"year": int(year), "months": [int(year) % 7 + n for n in range(12)]})

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
            price=given["price"], note=given["note"], state="open",
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
        kept = {name: order.fields[name] for name in ("uuid", "year", "price", "note", "state")}
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
            {"order_id": int(one.id), "customer_id": int(self._user_thing(one.owner or "").id)}
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


def _product(one: Thing) -> dict[str, Any]:
    return {"id": int(one.id), "name": one.fields["name"], "price": one.fields["price"]}


def _invoice(one: Thing) -> str:
    order = one.fields["order"].id
    return (
        f"<invoice><id>{one.id}</id><order_id>{order}</order_id><year>{one.fields['year']}</year>"
        f"<amount>{one.fields['amount']}</amount></invoice>"
    )


_PLACES = [
    ("POST", "/login", Counter.log_in),
    ("POST", "/token", Counter.refresh),
    ("GET", "/account", Counter.account),
    ("GET", "/account/settings", Counter.settings),
    ("PUT", "/users/{}", Counter.change_account),
    ("GET", "/products", Counter.products),
    ("GET", "/products/{}", Counter.product),
    ("GET", "/search", Counter.search),
    ("GET", "/reports/{}", Counter.report),
    ("POST", "/addresses", Counter.add_address),
    ("GET", "/addresses", Counter.addresses),
    ("GET", "/addresses/{}", Counter.address),
    ("POST", "/cart", Counter.open_cart),
    ("POST", "/cart/lines", Counter.add_line),
    ("GET", "/checkout", Counter.checkout_page),
    ("POST", "/checkout", Counter.checkout),
    ("POST", "/orders", Counter.add_order),
    ("GET", "/orders", Counter.orders),
    ("GET", "/orders/{}", Counter.order),
    ("PATCH", "/orders/{}", Counter.change_order),
    ("DELETE", "/orders/{}", Counter.delete_order),
    ("POST", "/orders/{}/place", Counter.place_order),
    ("GET", "/orders/by-uuid/{}", Counter.order_by_uuid),
    ("POST", "/orders/{}/items", Counter.add_item),
    ("GET", "/orders/{}/items/{}", Counter.item),
    ("PUT", "/orders/{}/items/{}", Counter.change_item),
    ("DELETE", "/orders/{}/items/{}", Counter.delete_item),
    ("GET", "/orders/{}/review", Counter.review_page),
    ("POST", "/reviews", Counter.add_review),
    ("POST", "/invoices", Counter.add_invoice),
    ("GET", "/invoices/{}", Counter.invoice),
    ("POST", "/payments", Counter.pay),
    ("GET", "/warehouse/queue", Counter.queue),
    ("GET", "/warehouse/customers/{}", Counter.customer),
    ("POST", "/warehouse/shipments", Counter.ship),
    ("PUT", "/warehouse/shipments/{}", Counter.change_shipment),
]
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Answer]]] = [
    (method, re.compile(path.replace("{}", "([^/]+)")), route) for method, path, route in _PLACES
]
