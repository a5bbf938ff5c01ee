"""What is learned from two answers to one shot, and what is not."""

from __future__ import annotations

import pytest
from answering import MARKS
from correlated import Correlated

from mirrorproxy.correlation.affinity import is_unmistakable, stem
from mirrorproxy.correlation.learned import Limits
from mirrorproxy.replay.correlate import Correlation

UUID, OTHER_UUID = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.mark.parametrize(
    ("produced", "answered"),
    [
        pytest.param({"id": 42}, {"id": 77}, id="bare id: the path says of what"),
        pytest.param({"order_id": 42}, {"order_id": 77}, id="its own name says it"),
        pytest.param({"order": {"id": 42}}, {"order": {"id": 77}}, id="inside the thing"),
        pytest.param({"data": {"id": 42}}, {"data": {"id": 77}}, id="in an envelope"),
        pytest.param({"orders": [{"id": 42}]}, {"orders": [{"id": 77}]}, id="in a list of one"),
        pytest.param({"next": "/orders/42/pay"}, {"next": "/orders/77/pay"}, id="in a link"),
        pytest.param([{"id": 42}], [{"id": 77}], id="a bare list of one"),
    ],
)
def test_json_answers(produced, answered):
    correlated = Correlated()
    correlated.teach("POST", "/orders", produced, answered)
    assert correlated.path("/orders/42") == "/orders/77"


def test_what_two_answers_say_of_different_things_teaches_nothing():
    """Statuses, shapes and types must agree."""
    correlated = Correlated()
    flight = correlated.plan("POST", "/orders", {"id": 42})
    correlated.answer(flight, {"id": 77}, status=404)
    correlated.teach("POST", "/orders", {"order": {"id": 42}}, {"id": 77})
    correlated.teach(
        "GET", "/orders", {"orders": [{"id": 42}, {"id": 43}]}, {"orders": [{"id": 7}]}
    )
    correlated.teach("GET", "/orders/42/total", {"total": 42}, {"total": 77})
    assert correlated.path("/orders/42") == "/orders/42"


def test_location():
    correlated = Correlated()
    correlated.teach(
        "POST", "/orders", None, None,
        produced_headers=[("Location", "https://api.example.com/orders/42?ref=1")],
        answered_headers=[("Location", "http://127.0.0.1:8080/orders/77?ref=1")],
        status=303,
    )  # fmt: skip
    assert correlated.path("/orders/42/items?order=42") == "/orders/77/items?order=77"


def test_entity_tags_go_to_conditions_on_the_same_thing():
    correlated = Correlated()
    correlated.teach(
        "GET", "/orders/9", {}, {},
        produced_headers=[("ETag", 'W/"1"')], answered_headers=[("ETag", '"5"')],
    )  # fmt: skip
    assert correlated.header("If-Match", '"1"', "/orders/9") == '"5"'
    assert correlated.header("If-None-Match", 'W/"1", "2"', "/orders/9") == 'W/"5", "2"'
    assert correlated.header("If-Match", '"1"', "/orders/8") == '"1"'


def test_long_entity_tags_are_known_anywhere():
    correlated = Correlated()
    correlated.teach(
        "POST", "/orders", {}, {},
        produced_headers=[("ETag", '"33a64df5"')], answered_headers=[("ETag", '"0815abcd"')],
    )  # fmt: skip
    assert correlated.header("If-Match", '"33a64df5"', "/orders/8") == '"0815abcd"'


def test_the_tag_of_what_was_made_goes_to_where_it_is():
    correlated = Correlated()
    correlated.teach(
        "POST", "/orders", {"id": 42}, {"id": 42},
        produced_headers=[("ETag", '"1"')], answered_headers=[("ETag", '"5"')],
    )  # fmt: skip
    assert correlated.header("If-Match", '"1"', "/orders/42") == '"5"'


def test_cookies_go_to_cookies_of_their_name():
    correlated = Correlated()
    correlated.teach(
        "GET", "/", {}, {},
        produced_headers=[("Set-Cookie", "cart=11; Path=/")],
        answered_headers=[("Set-Cookie", "cart=22; Path=/")],
    )  # fmt: skip
    assert correlated.header("Cookie", "a=11; cart=11") == "a=11; cart=22"


def test_xml_text_and_form_answers():
    correlated = Correlated()
    xml = [("Content-Type", "application/xml")]
    correlated.teach(
        "POST", "/orders", b"<order><id>42</id></order>", b"<order><id>77</id></order>",
        produced_headers=xml, answered_headers=xml,
    )  # fmt: skip
    text = [("Content-Type", "text/plain")]
    correlated.teach("POST", "/users", b"5\n", b"8\n", produced_headers=text, answered_headers=text)
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    correlated.teach(
        "POST", "/x", b"cart_id=1&n=2", b"cart_id=3&n=4",
        produced_headers=form, answered_headers=form,
    )  # fmt: skip
    assert correlated.path("/orders/42") == "/orders/77"
    assert correlated.path("/users/5?n=2") == "/users/8?n=2"
    assert correlated.path("/carts/1") == "/carts/3"


def test_hidden_fields_of_pages():
    """The token in a page is a mark in the capture, and bare in the target's page."""
    page = '<form><input type="hidden" name="csrf_token" value="{}"></form>'
    html = [("Content-Type", "text/html")]
    correlated = Correlated()
    correlated.teach(
        "GET", "/pay", page.format(MARKS[1]).encode(), page.format("bare&amp;new").encode(),
        produced_headers=html, answered_headers=html,
    )  # fmt: skip
    sent = correlated.sent(
        "POST", "/pay", headers=[("Content-Type", "application/x-www-form-urlencoded")],
        body=f"csrf_token={MARKS[1]}&a=1".encode(), sealed=True,
    )  # fmt: skip
    assert sent.body == b"csrf_token=bare%26new&a=1"


def test_unmistakable_values_go_wherever_they_stand():
    correlated = Correlated()
    correlated.teach("POST", "/carts", {"key": UUID}, {"key": OTHER_UUID})
    assert correlated.path(f"/anything/{UUID}?q={UUID}") == f"/anything/{OTHER_UUID}?q={OTHER_UUID}"
    assert correlated.body(f'{{"a":["{UUID}"]}}') == f'{{"a":["{OTHER_UUID}"]}}'
    assert correlated.header("X-Any", UUID) == OTHER_UUID
    assert correlated.body(f'{{"a":"x {UUID}"}}') == f'{{"a":"x {UUID}"}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UUID, True),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", True),
        ("3f9a8b7c6d5e4f3a", True),
        ("00000000111111abcdefabcd", True),
        ("ord_01HXYZ4T9QK2M7W3B5N8C6D1EF", True),
        ("V1StGXR8_Z5jdHi6B-myT", True),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", True),
        ("00000000-0000-0000-0000-000000000000", False),
        ("iphone-15-pro-max-2024", False),
        ("report-2024-q1-v2-final.pdf", False),
        ("2023-11-14T22:13:20Z", False),
        ("1700000000000000", False),
        ("abcdefghijklmnopqrstuvwxyz", False),
        ("3f9a8b7c", False),
        ("SUMMER2024SALE50OFF", False),
    ],
)  # fmt: skip
def test_what_is_unmistakable(text, expected):
    assert is_unmistakable(text) is expected


@pytest.mark.parametrize(
    ("one", "other"),
    [("orders", "order"), ("companies", "company"), ("boxes", "box"), ("addresses", "address"),
     ("movies", "movie"), ("houses", "house"), ("statuses", "status")],
)  # fmt: skip
def test_singular_and_plural_are_one_word(one, other):
    assert stem(one) == stem(other)


def test_the_newest_wins_even_if_it_is_the_same_again():
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 77})
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 78})
    assert correlated.path("/orders/42") == "/orders/78"
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 42})
    assert correlated.path("/orders/42") == "/orders/42"


def test_a_sessions_own_comes_before_the_newest_of_all():
    correlated = Correlated()
    correlated.teach("POST", "/items", {"id": 1}, {"id": 1}, session="ann")
    correlated.teach("POST", "/items", {"id": 1}, {"id": 3}, session="ben")
    assert correlated.path("/items/1", session="ann") == "/items/1"
    assert correlated.path("/items/1", session="ben") == "/items/3"
    assert correlated.path("/items/1", session="cat") == "/items/3"


def test_each_target_and_each_copy_has_its_own():
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 77})
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 78}, copy=1)
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 9}, target="other")
    assert correlated.path("/orders/42") == "/orders/77"
    assert correlated.path("/orders/42", copy=1) == "/orders/78"
    assert correlated.path("/orders/42", copy=2) == "/orders/42"
    assert correlated.path("/orders/42", target="other") == "/orders/9"


def test_values_are_looked_up_once():
    """42 became 77; that production had a 77 too is another matter."""
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 77})
    correlated.teach("POST", "/orders", {"id": 77}, {"id": 112})
    assert correlated.path("/orders/42") == "/orders/77"
    assert correlated.path("/orders/77") == "/orders/112"


def test_a_list_gives_way_to_what_is_sure():
    correlated = Correlated()
    two = [{"order_id": 51, "user_id": 11}, {"order_id": 52, "user_id": 12}]
    others = [{"order_id": 99, "user_id": 70}, {"order_id": 98, "user_id": 71}]
    correlated.teach("GET", "/queue", {"orders": two}, {"orders": others}, session="staff")
    assert correlated.path("/users/11", session="staff") == "/users/70"
    correlated.teach("POST", "/login", {"user_id": 11}, {"user_id": 46}, session="ann")
    assert correlated.path("/users/11", session="staff") == "/users/46"


def test_an_item_of_a_list_that_is_surely_another_teaches_nothing():
    correlated = Correlated()
    correlated.teach("POST", "/login", {"user_id": 11}, {"user_id": 46})
    two = [{"order_id": 51, "user_id": 11}, {"order_id": 52, "user_id": 12}]
    others = [{"order_id": 99, "user_id": 70}, {"order_id": 98, "user_id": 71}]
    correlated.teach("GET", "/queue", {"orders": two}, {"orders": others})
    assert correlated.path("/orders/51") == "/orders/51"
    assert correlated.path("/orders/52") == "/orders/98"


def test_what_stayed_the_same_is_not_changed_by_a_list():
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 51}, {"id": 51})
    correlated.teach("GET", "/orders", [{"id": 51}, {"id": 52}], [{"id": 60}, {"id": 61}])
    assert correlated.path("/orders/51") == "/orders/51"


def test_what_was_made_is_listed_as_it_was_asked_for():
    correlated = Correlated()
    made, others = {"orders": [{"id": 1}, {"id": 2}]}, {"orders": [{"id": 8}, {"id": 9}]}
    correlated.teach("POST", "/orders/batch", made, others, status=201, session="ann")
    assert correlated.path("/orders/2", session="ben") == "/orders/9"


def test_memory_is_bounded_and_the_longest_unused_goes():
    limits = Limits(max_learned=2)
    correlated = Correlated(Correlation(limits=limits))
    for number in (1, 2):
        correlated.teach("POST", "/orders", {"id": number}, {"id": number + 70})
    assert correlated.path("/orders/1") == "/orders/71"
    correlated.teach("POST", "/orders", {"id": 3}, {"id": 73})
    assert correlated.path("/orders/1") == "/orders/71"
    assert correlated.path("/orders/2") == "/orders/2"
    assert (limits.count, limits.expired) == (2, 1)


def test_what_an_answer_only_repeats_teaches_nothing():
    """The target was asked for 51, and says so: it need not be production's 51."""
    correlated = Correlated()
    correlated.teach("GET", "/orders/51", {"id": 51}, {"id": 51})
    correlated.teach("GET", "/orders", [{"id": 51}, {"id": 52}], [{"id": 60}, {"id": 61}])
    assert correlated.path("/orders/51") == "/orders/60"


def test_a_list_that_another_will_see_teaches_its_own_reader_too():
    correlated = Correlated()
    first = correlated.plan("GET", "/orders", [{"id": 1}, {"id": 2}], session="ann")
    second = correlated.plan("GET", "/orders", [{"id": 1}, {"id": 2}], session="ben")
    for flight in (first, second):
        correlated.correlation.departing(flight)
        correlated.answer(flight, [{"id": 8}, {"id": 9}])
    assert correlated.path("/orders/2", session="ben") == "/orders/9"


def test_an_item_with_a_name_of_its_own_is_the_same_thing_for_everybody():
    correlated = Correlated()
    ours = [{"id": 1, "name": "Green tea", "state": "new"}, {"id": 2, "name": "Cup 7"}]
    theirs = [{"id": 8, "name": "Green tea", "state": "old"}, {"id": 9, "name": "Cup 8"}]
    correlated.teach("GET", "/products", {"products": ours}, {"products": theirs}, session="ann")
    assert correlated.path("/products/1", session="ben") == "/products/8"
    assert correlated.path("/products/2", session="ben") == "/products/2"
    assert correlated.path("/products/2", session="ann") == "/products/2"


def test_what_several_items_share_is_no_name():
    correlated = Correlated()
    ours = [{"id": 1, "shop": "North 1"}, {"id": 2, "shop": "North 1"}]
    theirs = [{"id": 8, "shop": "North 1"}, {"id": 9, "shop": "North 1"}]
    correlated.teach("GET", "/orders", ours, theirs, session="ann")
    correlated.teach("GET", "/orders", ours, theirs[::-1], session="cat")
    assert correlated.path("/orders/1", session="ben") == "/orders/1"


def test_others_believe_lists_only_while_all_say_the_same():
    """What was read before the login is used after it; what two read otherwise by none else."""
    ours, theirs = [{"id": 1}, {"id": 2}], [{"id": 8}, {"id": 9}]
    correlated = Correlated()
    correlated.teach("GET", "/products", ours, theirs, session="client:192.0.2.1")
    assert correlated.path("/products/1", session="ann") == "/products/8"
    correlated.teach("GET", "/products", ours, theirs[::-1], session="ben")
    assert correlated.path("/products/1", session="ann") == "/products/1"
    assert correlated.path("/products/1", session="client:192.0.2.1") == "/products/8"
    assert correlated.path("/products/1", session="ben") == "/products/9"


SEEN = {"id": 42, "customer": {"id": 49}}


def test_an_answer_that_told_nothing_new_is_learned_later_if_what_gave_it_failed():
    learns = Correlated()
    made = learns.plan("POST", "/orders", SEEN, status=201)
    first = learns.plan("GET", "/orders/42", SEEN)
    second = learns.plan("GET", "/orders/42", SEEN)
    assert (first.gives, second.gives) == (None, None)
    for flight in (made, first, second):
        learns.correlation.departing(flight)
    learns.answer(made, "", status=500)
    third = learns.plan("GET", "/orders/42", SEEN)
    learns.answer(first, SEEN)
    learns.answer(second, SEEN)
    learns.correlation.departing(third)
    learns.answer(third, {"id": 42, "customer": {"id": 88}})
    assert learns.path("/customers/49") == "/customers/88"


def test_what_came_before_and_differs_now_is_read_anew():
    learns = Correlated()
    learns.teach("POST", "/orders", SEEN, {"id": 7, "customer": {"id": 8}})
    for _ in range(2):
        assert learns.plan("GET", "/orders/42", SEEN).gives is None
    changed = learns.plan("GET", "/orders/42", {"id": 42, "customer": {"id": 50}})
    learns.correlation.departing(changed)
    learns.answer(changed, {"id": 7, "customer": {"id": 9}})
    assert learns.path("/customers/50") == "/customers/9"
