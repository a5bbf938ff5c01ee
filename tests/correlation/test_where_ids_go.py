"""Where a learned id is put, and where the same number stays as it is."""

from __future__ import annotations

import gzip

import pytest
from correlated import Correlated


@pytest.fixture
def knows_42() -> Correlated:
    """The target calls production's order 42 by 77."""
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 77})
    return correlated


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        pytest.param("/orders/42", "/orders/77", id="after the collection"),
        pytest.param("/order/42", "/order/77", id="after the singular"),
        pytest.param("/api/v1/orders/42/items", "/api/v1/orders/77/items", id="in the middle"),
        pytest.param("/orders/42.json", "/orders/77.json", id="with an ending"),
        pytest.param("/x?order_id=42", "/x?order_id=77", id="query, snake"),
        pytest.param("/x?orderId=42&a=1", "/x?orderId=77&a=1", id="query, camel"),
        pytest.param("/x?order=42", "/x?order=77", id="query, bare"),
        pytest.param("/x?order_ids=41,42", "/x?order_ids=41,77", id="query, list"),
        pytest.param("/orders?ids=42,43", "/orders?ids=77,43", id="query of the collection"),
        pytest.param("/orders?id=42", "/orders?id=77", id="bare id, of the path"),
        pytest.param("/orders/42?page=42", "/orders/77?page=42", id="a page stays"),
        pytest.param("/orders/142", "/orders/142", id="part of a number stays"),
        pytest.param("/users/42", "/users/42", id="another collection stays"),
        pytest.param("/users/42/orders", "/users/42/orders", id="before the collection stays"),
        pytest.param("/x?orders=42", "/x?orders=42", id="a count stays"),
        pytest.param("/x?user_id=42", "/x?user_id=42", id="another's id stays"),
        pytest.param("/42", "/42", id="without a name it stays"),
    ],
)
def test_paths_and_queries(knows_42, path, sent):
    """An integer goes only where something says what it is."""
    assert knows_42.path(path) == sent


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        pytest.param('{"order_id": 42}', '{"order_id": 77}', id="number"),
        pytest.param('{"orderId":"42"}', '{"orderId":"77"}', id="text stays text"),
        pytest.param('{"order":{"id":42 }}', '{"order":{"id":77 }}', id="inside the thing"),
        pytest.param('{"order" : 42}', '{"order" : 77}', id="bare"),
        pytest.param('{"order_ids":[41, 42]}', '{"order_ids":[41, 77]}', id="list of ids"),
        pytest.param('{"orders":[{"id":42}]}', '{"orders":[{"id":77}]}', id="list of things"),
        pytest.param('{"data":{"order_id":42}}', '{"data":{"order_id":77}}', id="envelope"),
        pytest.param('{"a":"/orders/42"}', '{"a":"/orders/77"}', id="link"),
        pytest.param('{"qty": 42, "price":42}', '{"qty": 42, "price":42}', id="amounts stay"),
        pytest.param('{"year":42,"page":42}', '{"year":42,"page":42}', id="years and pages stay"),
        pytest.param('{"orders":42}', '{"orders":42}', id="a count stays"),
        pytest.param('{"id":42}', '{"id":42}', id="id of something else stays"),
        pytest.param('{"note":"order 42"}', '{"note":"order 42"}', id="part of a text stays"),
        pytest.param('{"order_id":42.0}', '{"order_id":42.0}', id="no integer stays"),
        pytest.param('{"order_id":42', '{"order_id":77', id="cut short"),
    ],
)
def test_json(knows_42, body, sent):
    """Whole values, of the same type; all beside them stays byte for byte."""
    assert knows_42.body(body) == sent


def test_a_bare_id_in_a_body_is_the_paths():
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 77})
    assert correlated.body('{"id": 42, "qty": 42}', "/orders/42") == '{"id": 77, "qty": 42}'


def test_forms(knows_42):
    kind = "application/x-www-form-urlencoded"
    assert knows_42.body("order_id=42&qty=42", kind=kind) == "order_id=77&qty=42"
    assert knows_42.body("order%5Bid%5D=42&a=%20", kind=kind) == "order%5Bid%5D=77&a=%20"
    assert knows_42.body("order_ids[]=42&order_ids[]=1", kind=kind) == (
        "order_ids[]=77&order_ids[]=1"
    )


def test_xml(knows_42):
    body = '<?xml version="1.0"?><r><order_id> 42 </order_id><qty>42</qty><order id="42"/></r>'
    sent = '<?xml version="1.0"?><r><order_id> 77 </order_id><qty>42</qty><order id="77"/></r>'
    assert knows_42.body(body, kind="application/xml") == sent


def test_headers(knows_42):
    assert knows_42.header("X-Order-Id", "42") == "77"
    assert knows_42.header("X-Quantity", "42") == "42"


def test_a_compressed_body_stays_compressed(knows_42):
    headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
    body = gzip.compress(b'{"order_id": 42}')
    sent = knows_42.sent("POST", "/x", headers=headers, body=body)
    assert gzip.decompress(sent.body) == b'{"order_id": 77}'
    assert sent.body_length == len(sent.body)


def test_multipart_is_left_alone(knows_42):
    body = '--b\r\nContent-Disposition: form-data; name="order_id"\r\n\r\n42\r\n--b--\r\n'
    assert knows_42.body(body, kind="multipart/form-data; boundary=b") == body


def test_what_is_written_is_escaped():
    """A target can answer anything: nothing of it breaks out of its place."""
    correlated = Correlated()
    evil = 'a"/?&<\r\nX: y'
    correlated.teach("POST", "/orders", {"id": "o-1"}, {"id": evil})
    assert correlated.path("/orders/o-1") == "/orders/a%22%2F%3F%26%3C%0D%0AX%3A%20y"
    assert correlated.path("/x?order_id=o-1") == "/x?order_id=a%22%2F%3F%26%3C%0D%0AX%3A+y"
    assert correlated.body('{"order_id":"o-1"}') == '{"order_id":"a\\"/?&<\\r\\nX: y"}'
    assert correlated.header("X-Order-Id", "o-1") == "o-1"
    assert correlated.body("<order_id>o-1</order_id>", kind="text/xml") == (
        "<order_id>a&quot;/?&amp;&lt;\r\nX: y</order_id>"
    )


def test_a_number_takes_no_text():
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 42}, {"id": "new"})
    assert correlated.body('{"order_id":42}') == '{"order_id":42}'
    assert correlated.body('{"order_id":"42"}') == '{"order_id":"new"}'
