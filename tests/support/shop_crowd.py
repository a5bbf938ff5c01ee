"""Everybody who goes to a shop at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping

from support.shop_state import TOKEN_S
from support.shoppers import WAREHOUSES, Shopper, Worker
from support.shoppers_bulk import BulkShopper


def names(users: int) -> list[str]:
    """Return the names of so many users, those of the warehouse among them."""
    return [f"warehouse{n}" for n in range(WAREHOUSES)] + [
        f"user{n:02}" for n in range(users - WAREHOUSES)
    ]


async def go_shopping(
    url: str,
    passwords: Mapping[str, str],
    *,
    for_s: float,
    collide: bool = False,
    one_address: bool = False,
) -> dict[int, int]:
    """Let everybody shop side by side; return how often each status came.

    one_address: as behind a load balancer; else each has an own one in 127.0.0.0/8.
    """
    refresh_s = min(for_s, TOKEN_S) * 0.4
    until_s = time.monotonic() + for_s
    shoppers: list[Shopper] = []
    for number, (user, password) in enumerate(passwords.items()):
        kind: type[Shopper] = Worker if user.startswith("warehouse") else BulkShopper
        one = kind(
            url, user, password, number=number, until_s=until_s, collide=collide,
            refresh_s=refresh_s,
            address="127.0.0.1" if one_address else f"127.0.1.{number + 1}",
        )  # fmt: skip
        if isinstance(one, Worker):
            one.part = number
        shoppers.append(one)
    async with asyncio.TaskGroup() as group:
        for one in shoppers:
            group.create_task(one.shop())
    statuses: Counter[int] = Counter()
    for one in shoppers:
        statuses.update(one.statuses)
    return dict(sorted(statuses.items()))
