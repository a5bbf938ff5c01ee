"""The shop of the tests notices every wrong value, and two shops are compared up to their ids."""

from __future__ import annotations

import json
import re

import pytest
from support.shop_compare import compare_logs, differences
from support.shop_messages import Answer, Asked
from support.shop_routes import Desk
from support.shop_state import TOKEN_S, Shop

USERS = {"ann": "a", "ben": "b", "warehouse0": "w"}


class Customer:
    """Asks a shop without a network. now_s: what the shop takes for the time."""

    def __init__(self, first_id: int = 1) -> None:
        self.shop = Shop(USERS, first_id=first_id, salt=str(first_id))
        self.now_s = 0.0
        self.desk = Desk(self.shop, lambda: self.now_s)
        self.steps = 0
        self.tokens: dict[str, str] = {}

    def ask(self, method: str, target: str, given: object = None, **headers: str) -> Answer:
        self.steps += 1
        path, _, query = target.partition("?")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"x-step": str(self.steps), **self.tokens, **named}
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        pairs = dict(part.split("=") for part in query.split("&")) if query else {}
        return self.desk.serve(Asked(method, path, pairs, named, body))

    def log_in(self, user: str = "ann") -> Answer:
        self.tokens = {}
        answer = self.ask("POST", "/login", {"user": user, "password": USERS[user]})
        self.tokens = {"authorization": f"Bearer {told(answer)['access_token']}"}
        return answer

    def order(self, quantity: int = 1) -> Answer:
        address = told(self.ask("POST", "/addresses", {"city": "Ulm", "zip": "89073"}))["id"]
        product = told(self.ask("GET", "/products?page=1&size=1"))["products"][0]["id"]
        given = {"product_id": product, "address_id": address, "quantity": quantity,
                 "price": 9, "year": 2026, "note": ""}  # fmt: skip
        return self.ask("POST", "/orders", given)


def told(answer: Answer) -> dict:
    return json.loads(answer.body)


@pytest.fixture
def customer():
    found = Customer()
    found.log_in()
    return found


def test_ids_of_others_and_of_nothing_are_refused(customer):
    """403 and 404: that is how a wrong replacement shows."""
    place = dict(customer.order().headers)["Location"]
    assert customer.ask("GET", "/orders/42").status == 404
    customer.log_in("ben")
    assert customer.ask("GET", place).status == 403


def test_an_etag_of_before_is_refused(customer):
    """412, and nothing has changed."""
    headers = dict(customer.order().headers)
    change = {"price": 10, "note": "new"}
    one = customer.ask("PATCH", headers["Location"], change, if_match=headers["ETag"])
    two = customer.ask("PATCH", headers["Location"], change, if_match=headers["ETag"])
    assert (one.status, two.status) == (200, 412)


def test_tokens_end_and_are_refreshed_once(customer):
    """After that the refresh token and the access token of before are worth nothing."""
    refresh = told(customer.log_in())["refresh_token"]
    customer.now_s = TOKEN_S + 1
    assert customer.ask("GET", "/addresses").status == 401
    form = f"grant_type=refresh_token&refresh_token={refresh}".encode()
    assert customer.ask("POST", "/token", form).status == 200
    assert customer.ask("POST", "/token", form).status == 401


def test_a_form_brings_its_token_once(customer):
    """The same page twice is two tokens."""
    page = customer.ask("GET", "/account/settings").body.decode()
    token = re.search('content="([^"]+)"', page)[1]
    user = told(customer.log_in())["user_id"]
    given = {"email": "new@shop.test"}
    statuses = [
        customer.ask("PUT", f"/users/{user}", given, x_csrf_token=token).status for _ in range(2)
    ]
    assert statuses == [200, 403]


def asked_alike(first_id: int, *, quantity: int = 1, deletes: bool = True) -> Customer:
    """The same customer at a shop whose ids begin elsewhere."""
    found = Customer(first_id)
    found.log_in()
    headers = dict(found.order(quantity).headers)
    item = found.ask(
        "POST", f"{headers['Location']}/items", {"product_id": first_id, "quantity": 7}
    )
    if deletes:
        found.ask("DELETE", dict(item.headers)["Location"])
    return found


def test_shops_that_were_asked_the_same_are_alike():
    """Whatever their ids are."""
    production, other = asked_alike(1), asked_alike(36)
    assert production.shop.things["order"].keys() != other.shop.things["order"].keys()
    assert differences(production.shop.things, other.shop.things) == []
    verdict = compare_logs(production.shop.log, other.shop.log)
    assert (verdict.same, verdict.wrong_things, verdict.examples) == (verdict.asked, 0, [])


def test_what_was_lost_or_changed_is_a_difference():
    """By name of the request that made it."""
    production = asked_alike(1)
    assert differences(production.shop.things, asked_alike(36, deletes=False).shop.things) == [
        "item 5#1 should not be there"
    ]
    (line,) = differences(production.shop.things, asked_alike(36, quantity=42).shop.things)
    assert line.startswith("item 4#1 is {'owner': 'ann', 'inside': 'order 4#1'")
    assert "'quantity': 42}, not" in line


def test_wrong_values_and_wrong_things_are_counted():
    """One for each request that brought them."""
    production, other = asked_alike(1), asked_alike(36, quantity=42)
    assert compare_logs(production.shop.log, other.shop.log).wrong_values == 1
    one, two = Customer(1), Customer(1)
    one.ask("GET", "/products/3")
    two.ask("GET", "/products/4")
    verdict = compare_logs(one.shop.log, two.shop.log)
    assert (verdict.same, verdict.wrong_things) == (1, 1)
    assert verdict.examples == ["1 GET /products/3: about ['product 3'], not ['product 2']"]
