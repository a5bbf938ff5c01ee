"""The demo's application and clients: they must be worth copying requests between."""

from __future__ import annotations

import hashlib

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mirrorproxy.demo import DemoFailed, shoppers, tokens
from mirrorproxy.demo.orders import Order, Orders


@pytest.fixture
async def client():
    """A client of an application that holds one order of bob's."""
    orders = Orders("production", {"alice": "a", "bob": "b"}, {"B-1": Order("bob", "cup", 4)})
    async with TestClient(TestServer(orders.application())) as running:
        running.orders = orders
        yield running


def bearer(client, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {client.orders.token_for(user)}"}


async def test_an_order_lives_and_dies(client):
    """Created as JSON, changed as JSON, noted as a form, labelled in binary, deleted."""
    headers = bearer(client, "alice")
    order = {"number": "A-1", "item": "teapot", "quantity": 1}
    created = await client.post("/orders", json=order, headers=headers)
    assert (created.status, created.headers["Location"]) == (201, "/orders/A-1")
    assert (await client.patch("/orders/A-1", json={"quantity": 9}, headers=headers)).status == 200
    noted = await client.post("/orders/A-1/notes", data={"text": "50 % & more"}, headers=headers)
    assert noted.status == 201
    assert (await client.put("/orders/A-1/label", data=b"\x89\xff", headers=headers)).status == 204
    assert client.orders.orders["A-1"] == Order(
        "alice", "teapot", 9, ["50 % & more"], hashlib.sha256(b"\x89\xff").hexdigest()
    )
    assert (await client.delete("/orders/A-1", headers=headers)).status == 204
    assert "A-1" not in client.orders.orders


async def test_a_login_gives_a_token_that_works(client):
    """The right password, and only that."""
    answer = await client.post("/login", data={"user": "alice", "password": "a"})
    token = (await answer.json())["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/orders", headers=headers)).status == 200
    assert (await client.post("/login", data={"user": "alice", "password": "b"})).status == 401


async def test_a_token_of_another_application_is_worth_nothing(client):
    """Even for a user of the same name: this is why replay must swap tokens."""
    other = Orders("production", {"alice": "a"}, {})
    headers = {"Authorization": f"Bearer {other.token_for('alice')}"}
    assert (await client.get("/orders", headers=headers)).status == 401
    assert client.orders.refused == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/orders/B-1", 404, id="another user's order is not there"),
        pytest.param("GET", "/orders/none", 404, id="neither is one that nobody made"),
        pytest.param("POST", "/orders", 400, id="an order without a body"),
    ],
)
async def test_refusals(client, method, path, status):
    """A request that can't be served changes nothing."""
    answer = await client.request(method, path, headers=bearer(client, "alice"))
    assert answer.status == status
    assert client.orders.orders == {"B-1": Order("bob", "cup", 4)}


async def test_a_number_is_taken_once(client):
    """A replay that sends an order twice shows."""
    order = {"number": "B-1", "item": "teapot", "quantity": 1}
    assert (await client.post("/orders", json=order, headers=bearer(client, "alice"))).status == 409


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c", "é.é.é", "..", "a.b." + "x" * 43], ids=repr
)
def test_nonsense_is_no_token(token):
    """Whatever a client sends."""
    assert tokens.user_of(token, issuer="production", key=b"k" * 32) is None


async def test_the_clients_leave_four_orders_each(client, monkeypatch):
    """Each creates six and deletes two; the requests made are what the application got."""
    monkeypatch.setattr(shoppers, "PAUSE_S", (0.0, 0.0))
    url = str(client.make_url("/"))
    assert await shoppers.shop(url, {"alice": "a", "bob": "b"}) == 70
    assert sorted(client.orders.orders) == [
        *(f"ALICE-{number}" for number in (1, 2, 4, 5)),
        "B-1",
        *(f"BOB-{number}" for number in (1, 2, 4, 5)),
    ]


async def test_a_client_that_is_refused_ends_the_demo(client):
    """With the request that failed."""
    with pytest.raises(DemoFailed, match="POST /login: 401"):
        await shoppers.shop(str(client.make_url("/")), {"alice": "wrong"})
