"""The prober: which apps could be connected to, as seen from where the mirror stands.

Owns the probes and what they found. A probe opens a connection to an instance and
closes it; nothing is sent. An app is well while any one of its instances takes
connections. Apps of tap mode are not probed: the mirror is not in their path.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from mirrorproxy.topology import App, Instance, Topology

log = logging.getLogger(__name__)

PROBE_EVERY_S = 0.5
UNREACHABLE_S = 2.0
"""How long no instance may be reached before an app's traffic should go elsewhere."""

_TIMEOUT_S = 1.0
_AT_ONCE = 8

Connect = Callable[[Instance], Awaitable[bool]]


class _Seen:
    """What is known of one app. reached: when an instance last was, None before the first time."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.reached: float | None = None
        self.last: Instance | None = None
        self.probing: asyncio.Task[None] | None = None


class Prober:
    """Probes the apps of a topology, which may change while it runs.

    connect: tells whether an instance takes connections; never raises. now:
    seconds on any steady clock. every_s: between two rounds.
    """

    def __init__(
        self,
        connect: Connect | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        every_s: float = PROBE_EVERY_S,
    ) -> None:
        self._connect = connect or can_connect
        self._now = now
        self._every_s = every_s
        self._seen: dict[str, _Seen] = {}
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def follow(self, topology: Topology) -> None:
        """Probe these apps from now on; what is known of those that stay is kept."""
        before = self._seen
        self._seen = {}
        for app in topology.apps:
            seen = before.pop(app.name) if app.name in before else _Seen(app)
            seen.app = app
            self._seen[app.name] = seen
        for gone in before.values():
            if gone.probing is not None:
                gone.probing.cancel()
        self._changed.set()

    def unready(self, name: str) -> list[str] | None:
        """Return why an app's traffic should not come here, nothing if it may, None if unknown."""
        seen = self._seen.get(name)
        if seen is None:
            return None
        app = seen.app
        if app.mode == "tap":
            return []
        if not app.instances:
            return ["no healthy instance"]
        if seen.reached is None:
            return ["no instance could be connected to yet"]
        away_s = self._now() - seen.reached
        if away_s > UNREACHABLE_S:
            return [f"no instance could be connected to for {away_s:.1f} s"]
        return []

    async def run(self) -> None:
        """Probe until cancelled."""
        try:
            while True:
                self._changed.clear()
                for seen in self._seen.values():
                    is_needed = seen.app.mode != "tap" and seen.app.instances
                    if is_needed and (seen.probing is None or seen.probing.done()):
                        seen.probing = self._loop.create_task(self._probe(seen))
                try:
                    await asyncio.wait_for(self._changed.wait(), self._every_s)
                except TimeoutError:
                    pass
        finally:
            for seen in self._seen.values():
                if seen.probing is not None:
                    seen.probing.cancel()

    async def _probe(self, seen: _Seen) -> None:
        instances = list(seen.app.instances)
        if seen.last in instances:
            # Nearly always enough: one connection for each app and round.
            if await self._reaches(seen, seen.last):
                return
            instances.remove(seen.last)
        random.shuffle(instances)  # so that in time each is tried, however many there are
        await self._any(seen, instances[:_AT_ONCE])

    async def _any(self, seen: _Seen, instances: Sequence[Instance]) -> None:
        attempts = [self._loop.create_task(self._reaches(seen, one)) for one in instances]
        try:
            for attempt in asyncio.as_completed(attempts):
                if await attempt:
                    return
        finally:
            for task in attempts:
                task.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)

    async def _reaches(self, seen: _Seen, instance: Instance | None) -> bool:
        if instance is None or not await self._connect(instance):
            return False
        seen.reached = self._now()
        seen.last = instance
        return True


async def can_connect(instance: Instance) -> bool:
    """Tell whether an instance takes a connection within a second."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            transport, _ = await loop.create_connection(
                asyncio.Protocol, instance.host, instance.port
            )
    except (OSError, UnicodeError):
        return False
    transport.close()
    return True
