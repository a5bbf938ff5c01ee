"""Watching: ask again and again with a blocking query, and tell only what changed.

Owns the index of one watch and its back-off. While the catalog is away nothing
is told: whoever listens goes on with what was last known.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from mirrorproxy.control.catalog import Answer, Catalog
from mirrorproxy.errors import CatalogUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

MIN_INTERVAL_S = 0.1
"""A catalog that changes all the time is read ten times a second at most."""

MAX_BACKOFF_S = 5.0
_FIRST_BACKOFF_S = 0.2

Problems = Callable[[str | None], None]
"""Told what keeps a watch from reading, and None when it reads again."""


def next_index(asked: int, answered: int) -> int:
    """Return the index to ask with, from 0: what was answered, or 0 when it went backwards.

    It does when a server was restored or started anew; a query with the old
    index would then wait for a time that may never come.
    """
    return answered if answered >= asked else 0


def backoff_s(failures: int, jitter: float) -> float:
    """Return the seconds to wait after so many failures in a row (from 1).

    jitter: 0 to 1. At least half of the limit, so that an agent that refuses at
    once is not asked in a tight loop; the rest spreads the mirrors of a fleet.
    """
    limit_s = min(MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16))
    return limit_s * (0.5 + 0.5 * jitter)


async def watch(
    catalog: Catalog,
    read: Callable[[int], Awaitable[Answer[T]]],
    *,
    on_problem: Problems = lambda _problem: None,
    jitter: Callable[[], float] = random.random,
) -> AsyncIterator[T]:
    """Yield what a read finds, first as it is and then after each change. Does not end.

    read: a call of the catalog that takes an index. Equal values are told once.
    """
    loop = asyncio.get_running_loop()
    index, failures = 0, 0
    last: Any = None  # no read returns it
    with catalog.watching():
        while True:
            started = loop.time()
            try:
                answer = await read(index)
            except CatalogUnavailable as error:
                failures += 1
                on_problem(str(error))
                log.debug("%s", error)
                # An index of before an outage may be one of another history.
                index = 0
                await asyncio.sleep(backoff_s(failures, jitter()))
                continue
            if failures:
                failures = 0
            on_problem(None)
            index = next_index(index, answer.index)
            if last is None or answer.value != last:
                last = answer.value
                yield answer.value
            if (pause_s := MIN_INTERVAL_S - (loop.time() - started)) > 0:
                await asyncio.sleep(pause_s)


async def watch_values(
    catalog: Catalog,
    prefix: str,
    on_change: Callable[[dict[str, str]], None],
    *,
    on_problem: Problems = lambda _problem: None,
) -> None:
    """Tell of all keys with a prefix of Consul's KV, at first and after each change. Does not end.

    on_change: gets the keys without the prefix, with their values as text; gone
    keys are missing. It must not raise.
    """
    async for values in watch(
        catalog, lambda index: catalog.values(prefix, index), on_problem=on_problem
    ):
        on_change({key.removeprefix(prefix): value for key, value in values.items()})
