"""What is worth a line, and in which words."""

from __future__ import annotations

import pytest

from mirrorproxy.report.compare import Comparison
from mirrorproxy.report.comparison_file import add_file, encode
from mirrorproxy.report.findings import find, is_volatile, least_share, most_share
from mirrorproxy.report.findings_text import comparison_json, comparison_lines
from mirrorproxy.report.groups import MAX_GROUPS, MAX_PLACES, OTHER, Group, Groups

SAME = Comparison({}, {}, has_bodies=True)


def answers(
    group: Group,
    count: int,
    differences: dict[str, str] | None = None,
    *,
    is_astray: bool = False,
    production_us: int = 5000,
    target_us: int = 5000,
) -> None:
    """Count answers with production's status."""
    comparison = SAME if differences is None else Comparison(differences, {}, has_bodies=True)
    for number in range(count):
        group.answers.add(is_astray=is_astray)
        group.alike.add(is_astray=is_astray)
        group.production.add(production_us + number % 5 * 100)
        group.target.add(target_us + number % 7 * 100)
        group.add_comparison(comparison, is_astray=is_astray)


def statuses(group: Group, count: int, ours: int, theirs: int, *, is_astray: bool = False) -> None:
    """Count answers with another status."""
    for _ in range(count):
        group.answers.add(is_astray=is_astray)
        group.add_status(ours, theirs, is_astray=is_astray)


def texts(groups: Groups) -> list[str]:
    """Return what is found, in words."""
    return [
        line.removeprefix("differs").strip()
        for line in comparison_lines(groups)
        if line.startswith("differs")
    ]


def test_the_documentation_shows_what_is_printed():
    """The page's own example."""
    groups = Groups()
    products = groups.group("staging", None, "GET", "/products/1")
    answers(products, 600, {"$.price": "changed"})
    listed = groups.group("staging", None, "GET", "/products")
    answers(listed, 240, {"$.items[*].price": "changed"})
    answers(
        groups.group("staging", None, "GET", "/reports/7"), 60,
        production_us=30_000, target_us=90_000,
    )  # fmt: skip
    orders = groups.group("staging", None, "POST", "/orders")
    answers(orders, 558)
    statuses(orders, 12, 201, 500)
    assert comparison_lines(groups) == [
        "compared    1,470 answers with production's: 1,458 with its status, 1,458 of these with "
        "its body; 3 findings",
        "differs     GET /products/{int}: $.price changed in 100 % (600 of 600); also GET "
        "/products $.items[*].price changed 100 %",
        "differs     GET /reports/{int}: 92.2ms where production took 30.2ms, 3.1 times what the "
        "rest of the run suggests (60 answers)",
        "differs     POST /orders: 2.1 % answered 500 where production answered 201 (12 of 570)",
    ]


def test_a_field_renamed_is_one_finding():
    """It is missing here and new there, equally often."""
    groups = Groups()
    answers(groups.group("t", None, "GET", "/a"), 100, {"$.x.old": "missing", "$.x.new": "added"})
    assert texts(groups) == [
        "GET /a: $.x.old is missing, $.x.new is new in 100 % (100 of 100)"
    ]  # fmt: skip


def test_one_status_in_many_groups_is_one_finding():
    """In none of them often enough to be told from chance."""
    groups = Groups()
    for name in "abcdefgh":
        group = groups.group("t", None, "GET", f"/{name}")
        answers(group, 99)
        statuses(group, 1, 200, 503)
    (text,) = texts(groups)
    assert text.startswith(
        "GET /a: 1 % answered 503 where production answered 200 (1 of 100); also "
    )
    assert text.endswith("and 4 more")


def test_what_is_rare_is_counted_and_not_shown():
    """Two of a thousand may be anything."""
    groups = Groups()
    group = groups.group("t", None, "GET", "/a")
    answers(group, 998)
    answers(group, 2, {"$.a": "changed"})
    assert texts(groups) == ["and 1 too rare to tell from chance (--json lists them)"]
    assert comparison_json(groups)["minor"] == 1


def test_of_a_few_answers_every_difference_is_shown():
    """A capture of a handful is looked at by eye."""
    groups = Groups()
    answers(groups.group("t", None, "GET", "/a"), 1, {"$.a": "changed"})
    assert texts(groups) == ["GET /a: $.a changed in 100 % (1 of 1)"]


def test_consequences_are_no_findings():
    """What differs only in sessions that had lost their way is left out, a 5xx is not."""
    groups = Groups()
    group = groups.group("t", None, "GET", "/a")
    answers(group, 200)
    answers(group, 50, {"$.a": "changed"}, is_astray=True)
    statuses(group, 30, 200, 404, is_astray=True)
    assert texts(groups) == []
    statuses(group, 30, 200, 502, is_astray=True)
    assert texts(groups) == ["GET /a: 9.7 % answered 502 where production answered 200 (30 of 310)"]


def test_where_all_lost_their_way_all_count():
    """Nothing would be told otherwise."""
    groups = Groups()
    group = groups.group("t", None, "GET", "/a")
    answers(group, 200, {"$.a": "changed"}, is_astray=True)
    assert texts(groups) == ["GET /a: $.a changed in 100 % (200 of 200)"]


def test_what_differs_from_itself_as_often_is_noise():
    """And what differs far more often than that is not."""
    groups = Groups()
    group = groups.group("t", None, "GET", "/a")
    answers(group, 200, {"$.rank": "changed", "$.price": "changed"})
    for number in range(20):
        group.add_probe({"$.rank": "changed"} if number else {"$.price": "changed"})
    assert texts(groups) == ["GET /a: $.price changed in 100 % (200 of 200)"]


@pytest.mark.parametrize("probes", range(1, 101))
def test_what_differs_in_every_probe_is_noise(probes):
    """However many there were, and whatever floating point makes of all of them."""
    group = Group()
    for _ in range(probes):
        group.add_probe({"$.a": "changed"})
    assert is_volatile(group, "$.a", 5000, 5000)


def test_targets_and_rules_are_named_where_there_are_several():
    """Else they say nothing."""
    groups = Groups()
    answers(groups.group("one", "r", "GET", "/a"), 100, {"$.a": "changed"})
    assert texts(groups) == ["GET /a: $.a changed in 100 % (100 of 100)"]
    answers(groups.group("two", "r", "GET", "/a"), 100, {"$.b": "changed"})
    assert texts(groups) == [
        "GET /a [one]: $.a changed in 100 % (100 of 100)",
        "GET /a [two]: $.b changed in 100 % (100 of 100)",
    ]


def test_at_most_ten_are_shown():
    """And how many more there are."""
    groups = Groups()
    for number in range(14):
        group = groups.group("t", None, "GET", f"/{chr(97 + number)}")
        answers(group, 100, {f"$.f{chr(97 + number)}": "changed"})
    found = texts(groups)
    assert len(found) == 11
    assert found[-1] == "and 4 more (--json lists them)"


def test_without_bodies_it_says_how_to_get_them():
    """At the next capture."""
    groups = Groups()
    group = groups.group("t", None, "GET", "/a")
    group.answers.add(is_astray=False)
    group.alike.add(is_astray=False)
    assert comparison_lines(groups)[-1].startswith("hint: bodies were not compared")


def test_made_up_paths_and_places_are_bounded():
    """Methods, paths and fields are a stranger's to choose."""
    groups = Groups()
    for number in range(3000):
        name = "".join(chr(97 + int(digit)) for digit in str(number))
        group = groups.group("t", f"rule {number % 3}", "GET", f"/{name}")
        answers(group, 1, {f"$.{name}": "changed"})
    assert len(groups) == MAX_GROUPS + 1
    other = {key.shape: group for key, group in groups.items()}[OTHER]
    assert other.answers.total == 3000 - MAX_GROUPS
    assert len(other.places) == MAX_PLACES
    assert other.overflow == 3000 - MAX_GROUPS - MAX_PLACES


def test_comparisons_of_a_fleet_are_added_up():
    """What each worker found too rare may be enough for all of them."""
    whole = Groups()
    for _ in range(4):
        groups = Groups()
        group = groups.group("t", "r", "GET", "/a")
        answers(group, 98)
        statuses(group, 2, 200, 500)
        assert find(groups).shown == []
        add_file(whole, encode(groups))
    assert texts(whole) == ["GET /a: 2 % answered 500 where production answered 200 (8 of 400)"]
    ((_, added),) = whole.items()
    assert added.target.count == 392
    assert added.target.quantile(0.5) == pytest.approx(5300, rel=0.05)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[1]", b'{"v":2,"unknown":0,"groups":[]}', b'{"v":1,"unknown":-1,"groups":[]}',
        b'{"v":1,"unknown":0,"groups":[{"target":"t","method":"GET","path":"/","answers":[1]}]}',
    ],
)  # fmt: skip
def test_what_is_no_comparison_is_refused(content):
    """It may be anybody's file."""
    with pytest.raises(ValueError, match="comparison"):
        add_file(Groups(), content)


def test_shares_have_an_interval():
    """Wilson's, 95 %: known values."""
    assert least_share(0, 10) == 0
    assert least_share(5, 10) == pytest.approx(0.2366, abs=1e-4)
    assert most_share(5, 10) == pytest.approx(0.7634, abs=1e-4)
    assert most_share(0, 0) == 1
