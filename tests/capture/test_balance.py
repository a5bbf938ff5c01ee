"""Which instance a request goes to: pure, on a clock that is told."""

import pytest

from mirrorproxy.capture.balance import Balance, Member
from mirrorproxy.capture.routes import Route
from mirrorproxy.http1.origin import Origin


def routes(*names: str) -> list[Route]:
    return [Route("orders", Origin("http", name, 80)) for name in names]


def name_of(member: Member | None) -> str | None:
    return None if member is None else member.route.upstream.host


def picked(balance: Balance, count: int, now: float = 0.0) -> list[str | None]:
    return [name_of(balance.pick(now)) for _ in range(count)]


def member(balance: Balance, name: str) -> Member:
    return next(one for one in balance.members if name_of(one) == name)


def test_without_instances_there_is_none() -> None:
    """An app whose instances are all unhealthy has nowhere to go."""
    assert Balance([]).pick(0.0) is None


def test_ties_are_broken_in_turn() -> None:
    """With as many requests under way everywhere, each instance has its turn."""
    assert picked(Balance(routes("a", "b", "c")), 6) == ["a", "b", "c", "a", "b", "c"]


def test_the_least_busy_is_chosen() -> None:
    """A slow instance gets fewer requests than a quick one."""
    balance = Balance(routes("a", "b", "c"))
    member(balance, "a").outstanding = 2
    member(balance, "b").outstanding = 1
    member(balance, "c").outstanding = 2
    assert picked(balance, 2) == ["b", "b"]


def test_one_that_failed_is_set_aside() -> None:
    """It gets no request for a second."""
    balance = Balance(routes("a", "b"))
    assert member(balance, "a").failed(10.0)
    assert picked(balance, 3, 10.9) == ["b", "b", "b"]


def test_after_its_moment_one_request_finds_out() -> None:
    """The others go on elsewhere until that one has been answered for."""
    balance = Balance(routes("a", "b"))
    member(balance, "a").failed(10.0)
    assert picked(balance, 4, 11.0) == ["a", "b", "b", "b"]
    member(balance, "a").reached()
    assert picked(balance, 2, 11.1) == ["a", "b"]


def test_each_failure_in_a_row_doubles_the_moment() -> None:
    """From one second to ten."""
    one, now, moments = Balance(routes("a")).members[0], 0.0, []
    for _ in range(6):
        assert one.failed(now)
        moments.append(one.aside_until - now)
        now = one.aside_until
    assert moments == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_failures_of_one_moment_count_once() -> None:
    """A hundred requests that find it dead at the same time are one failure."""
    one = Balance(routes("a")).members[0]
    assert [one.failed(5.0) for _ in range(100)] == [True, *[False] * 99]
    assert one.aside_until == 6.0


def test_all_set_aside_are_used_all_the_same() -> None:
    """A request that may fail is better than one that is refused."""
    balance = Balance(routes("a", "b"))
    for one in balance.members:
        one.failed(0.0)
    assert picked(balance, 2, 0.5) == ["a", "b"]


def test_what_was_tried_is_not_tried_again() -> None:
    """A request goes once to each instance, those set aside last."""
    balance = Balance(routes("a", "b", "c"))
    a, b, c = balance.members
    b.failed(0.0)
    assert balance.pick(0.1, [a]) is c
    assert balance.pick(0.1, [a, c]) is b
    assert balance.pick(0.1, [a, b, c]) is None


def test_a_single_instance_is_tried_once() -> None:
    """Nowhere else to go means that the request fails."""
    balance = Balance(routes("a"))
    (only,) = balance.members
    assert balance.pick(0.0) is only
    assert balance.pick(0.0, [only]) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["b", "c"], ["b", "c"], id="one goes, one comes"),
        pytest.param([], [], id="all go"),
        pytest.param(["a", "b"], ["a", "b"], id="nothing changes"),
    ],
)
def test_instances_that_stay_keep_what_is_known(names: list[str], expected: list[str]) -> None:
    """Requests under way and failures are remembered over a change of the list."""
    balance = Balance(routes("a", "b"))
    member(balance, "b").outstanding = 7
    balance.follow(routes(*names))
    assert [name_of(one) for one in balance.members] == expected
    if "b" in names:
        assert member(balance, "b").outstanding == 7
