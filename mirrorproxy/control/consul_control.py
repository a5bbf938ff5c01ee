"""One mirror with Consul: what it discovers is published, then registered, and the reverse.

Owns the order of things. An app is served before Traefik hears of it, and served
on for a while after it was taken back, because Traefik lets go a moment later.
Whatever fails here is told in the status and tried again; it ends nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from mirrorproxy.control.catalog import Catalog
from mirrorproxy.control.discovery import (
    Discovered,
    Discovery,
    FoundApp,
    ReadTags,
    SeeCatalog,
    ignore_catalog,
)
from mirrorproxy.control.pool import MirrorCounts
from mirrorproxy.control.registrar import Registrar, RegistrarSettings
from mirrorproxy.topology import App, Topology

log = logging.getLogger(__name__)

LINGER_S = 10.0
"""How long an app that was taken back is still served, unrecorded. Traefik gathers changes for
2 s (providersThrottleDuration) before it acts, and requests under way take their time."""

_RESTART_S = 5.0

Publish = Callable[[Topology], None]


class MirrorTags(Protocol):
    """Makes the tags of an app's mirror. Raises ValueError with why it cannot be mirrored."""

    def __call__(
        self, service: str, tags: Sequence[str], /, *, instances: int, mirrors: int
    ) -> tuple[str, ...]:
        """Return the tags; instances, mirrors: how many share a pool, 1 or more."""


class AppStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One app with the tag.

    instances: how many are served. registered: whether the agent has its mirror.
    left_alone: why it is not mirrored; note: what is odd about it; error: why the last call
    about it failed; all "" if there is nothing to say.
    """

    service: str
    mode: str = ""
    instances: int = 0
    registered: bool = False
    left_alone: str = ""
    note: str = ""
    error: str = ""


class ConsulStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a mirror knows of Consul.

    known: whether the catalog was read since the start. error: why it cannot be read just now;
    what was known before still counts then.
    """

    known: bool
    error: str = ""
    apps: tuple[AppStatus, ...] = ()


class ConsulControl:
    """Follows a catalog, publishes the topology of its apps, and keeps them registered.

    publish: gets each new topology, in the mirror's event loop; it must neither wait nor
    raise. read_tags, mirror_tags: what an app's tags mean, and those of its mirror.
    see_catalog: gets all services with their tags before their apps are read.
    linger_s: see `LINGER_S`. Made within a running event loop.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: RegistrarSettings,
        publish: Publish,
        *,
        read_tags: ReadTags,
        mirror_tags: MirrorTags,
        see_catalog: SeeCatalog = ignore_catalog,
        linger_s: float = LINGER_S,
    ) -> None:
        self._registrar = Registrar(catalog, settings)
        self._discovery = Discovery(catalog, read_tags, self._changed, see_catalog=see_catalog)
        self._counts = MirrorCounts(catalog, self._want)
        self._publish = publish
        self._mirror_tags = mirror_tags
        self._linger_s = linger_s
        self._found: Discovered | None = None
        self._lingering: dict[str, tuple[App, asyncio.TimerHandle]] = {}
        self._published: Topology | None = None
        self._refused: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Follow and register until `close` is called; whatever fails starts again."""
        self._tasks = [
            asyncio.create_task(_forever("discovery", self._discovery.run)),
            asyncio.create_task(_forever("registration", self._registrar.run)),
        ]
        try:
            await asyncio.wait(self._tasks)
        finally:
            await self._end()

    async def close(self) -> None:
        """Deregister, and stop following. What was published last stays to be served.

        Takes no more than a few seconds also when Consul is away; a second call does nothing.
        """
        await self._end()
        for _, timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()
        await self._registrar.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._counts.close()

    def found(self) -> Discovered:
        """Return all apps with the tag as they were found last, none before the first time."""
        return self._found or {}

    def status(self) -> ConsulStatus:
        """Return what is known, for people: apps in the order of their names."""
        return ConsulStatus(
            known=self._found is not None,
            error=self._discovery.problem() or "",
            apps=tuple(self._app_status(name, one) for name, one in (self._found or {}).items()),
        )

    def _app_status(self, name: str, found: FoundApp) -> AppStatus:
        if found.app is None:
            return AppStatus(service=found.service, left_alone=found.why, note=found.note)
        return AppStatus(
            service=found.service,
            mode=found.app.mode,
            instances=len(found.app.instances),
            registered=self._registrar.is_registered(name),
            left_alone=self._refused.get(name, ""),
            note=found.note,
            error=self._registrar.problem(name) or "",
        )

    def _changed(self, found: Discovered) -> None:
        before = self._found or {}
        self._found = found
        for name, one in found.items():
            was = before.get(name)
            if one.why and (was is None or was.why != one.why):
                log.warning("%s is left alone: %s", one.service, one.why)
            if one.note and (was is None or was.note != one.note):
                log.warning("%s: %s", one.service, one.note)
        served = _served(found)
        for name in self._lingering.keys() & served.keys():
            self._lingering.pop(name)[1].cancel()
        for name, app in _served(before).items():
            if name not in served:
                gone = msgspec.structs.replace(app, percent=0.0)
                loop = asyncio.get_running_loop()
                timer = loop.call_later(self._linger_s, self._forget, name)
                self._lingering[name] = gone, timer
        # In this order: Traefik must not send what no worker knows.
        self._publish_all()
        self._counts.follow({app.name for app in served.values() if app.mode == "pooled"})
        self._want()

    def _want(self) -> None:
        wanted: dict[str, tuple[str, ...]] = {}
        self._refused = {}
        for name, one in (self._found or {}).items():
            # A tap is no service that Traefik finds: its own configuration names it.
            if one.app is None or one.app.mode == "tap":
                continue
            try:
                wanted[name] = self._mirror_tags(
                    one.service,
                    one.tags,
                    instances=max(1, len(one.app.instances)),
                    mirrors=self._counts.of(name),
                )
            except ValueError as error:
                self._refused[name] = str(error)
        self._registrar.want(wanted)

    def _forget(self, name: str) -> None:
        del self._lingering[name]
        self._publish_all()

    def _publish_all(self) -> None:
        apps = {name: app for name, (app, _) in self._lingering.items()}
        apps |= _served(self._found or {})
        topology = Topology(apps=tuple(apps[name] for name in sorted(apps)))
        if topology != self._published:
            self._published = topology
            self._publish(topology)


def _served(found: Discovered) -> dict[str, App]:
    return {name: one.app for name, one in found.items() if one.app is not None}


async def _forever(what: str, part: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await part()
        except Exception:
            # A bug here must not end the traffic that the mirror carries.
            log.exception("%s failed and starts again", what)
        await asyncio.sleep(_RESTART_S)
