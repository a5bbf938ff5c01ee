"""How many mirrors share the pool of an app, for the weights of pooled mode.

Owns one watch per pooled app. All mirrors read the same catalog, so all come to
the same number, and register equal tags.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set

from mirrorproxy.control.catalog import SERVICE_PREFIX, Catalog
from mirrorproxy.control.watch import watch


class MirrorCounts:
    """Counts the healthy mirrors of the apps that it is told to follow.

    on_change: called in the event loop when a number changed.
    """

    def __init__(self, catalog: Catalog, on_change: Callable[[], None]) -> None:
        self._catalog = catalog
        self._on_change = on_change
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._counts: dict[str, int] = {}

    def of(self, app: str) -> int:
        """Return how many mirrors an app has, 1 at least: this one is, or will be, among them."""
        return max(1, self._counts.get(app, 1))

    def follow(self, apps: Set[str]) -> None:
        """Count for these apps from now on, and for no others. Returns at once."""
        for app in self._watches.keys() - apps:
            self._watches.pop(app).cancel()
            self._counts.pop(app, None)
        for app in sorted(apps - self._watches.keys()):
            self._watches[app] = asyncio.create_task(self._watch(app), name=f"count {app}")

    async def close(self) -> None:
        """Stop counting."""
        tasks = list(self._watches.values())
        self.follow(frozenset())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, app: str) -> None:
        service = f"{SERVICE_PREFIX}{app}"
        async for entries in watch(
            self._catalog, lambda index: self._catalog.instances(service, index)
        ):
            before = self.of(app)
            self._counts[app] = sum(entry.healthy for entry in entries)
            if self.of(app) != before:
                self._on_change()
