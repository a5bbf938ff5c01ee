"""A warning for a target at the address of production; names are resolved by a fake."""

from __future__ import annotations

from mirrorproxy.http1.origin import Origin
from mirrorproxy.replay import neighbours as module
from mirrorproxy.replay.neighbours import Neighbours, resolve

ADDRESSES = {
    "staging": ["10.0.0.5"],
    "api": ["10.0.0.5", "10.0.0.6"],
    "other": ["10.0.0.7"],
    "local": ["127.0.0.1", "::1"],
}


def origin(host: str) -> Origin:
    return Origin("http", host, 80)


class Resolver:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        return ADDRESSES.get(host, [])


async def look(
    targets: list[str], places: list[str], times: int = 1, resolver: Resolver | None = None
) -> list[str]:
    warnings: list[str] = []
    one = Neighbours(
        {name: origin(name) for name in targets},
        {*map(origin, places)},
        warnings.append,
        resolver or Resolver(),
    )
    for _ in range(times):
        await one.look()
    return warnings


async def test_an_equal_address_is_warned_of_once():
    """With the target, the address and the captured host."""
    (warning,) = await look(["staging"], ["other", "api", "unknown"], times=3)
    assert warning.startswith("target staging has the address 10.0.0.5 of api, ")


async def test_other_addresses_are_not_warned_of():
    """Nor names that cannot be resolved."""
    assert await look(["staging", "unknown"], ["other", "unknown"]) == []


async def test_this_machine_itself_is_not_warned_of():
    """Everything is at 127.0.0.1 when one tries it out."""
    assert await look(["local"], ["local"]) == []


async def test_made_up_hosts_are_not_all_looked_up(monkeypatch):
    """Host headers come from strangers."""
    monkeypatch.setattr(module, "MAX_RESOLVED", 3)
    resolver = Resolver()
    await look(["staging"], [f"h{n}" for n in range(50)], 2, resolver)
    assert len(resolver.asked) == 1 + 3


async def test_a_name_that_is_none_has_no_address():
    """A Host header can hold anything."""
    assert await resolve("no such host") == []
    assert await resolve("\u00e9" * 70) == []
