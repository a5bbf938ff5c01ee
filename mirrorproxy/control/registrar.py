"""The registrar: keeps one service `mirror-<app>` registered per app, and no other of ours.

Owns the IDs of this process. Compares with what the agent has every few seconds,
since an agent may forget; whatever fails is tried again and told in its status.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Mapping

import msgspec

from mirrorproxy.control.catalog import (
    MIRROR_META,
    SERVICE_PREFIX,
    Catalog,
    Entry,
    Registration,
)
from mirrorproxy.errors import CatalogUnavailable

log = logging.getLogger(__name__)

NAME_META = "mirrorproxy-name"
PROCESS_META = "mirrorproxy-process"
APP_META = "mirrorproxy-app"

COMPARE_S = 3.0
"""How often the agent is asked what it has. It costs the agent no question to its servers."""

RETRY_S = 1.0
"""How often while it does not answer: when it is back it may have forgotten us."""

CLOSE_TIMEOUT_S = 3.0
"""How long the end waits for an agent that does not answer: it forgets us by itself."""

Tags = tuple[str, ...]


class RegistrarSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this mirror is registered.

    name: the mirror's, unique among those with one address. address, port: where
    Traefik reaches its capture listener; "" for the address of the agent's node.
    health_url: its admin server as the agent reaches it, without a path.
    remove_after_s: see `Registration`.
    """

    name: str
    version: str
    address: str
    port: int
    health_url: str
    interval_s: int = 1
    timeout_s: int = 1
    remove_after_s: int = 60


class Registrar:
    """Keeps what is wanted registered until it is closed.

    process: tells this start of a mirror from all others. A changed port under a
    known ID is missed by whoever watches the catalog, so each start has its own.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: RegistrarSettings,
        *,
        process: str | None = None,
        compare_s: float = COMPARE_S,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._process = process or secrets.token_hex(4)
        self._compare_s = compare_s
        self._wanted: dict[str, Registration] = {}
        self._there: set[str] = set()
        self._errors: dict[str, str] = {}
        self._problem: str | None = None
        self._wake = asyncio.Event()
        self._swept = False

    def want(self, apps: Mapping[str, Tags]) -> None:
        """Say which apps are to be registered, each with its tags. Returns at once."""
        wanted = {}
        for app, tags in apps.items():
            one = self._registration(app, tags)
            wanted[one.id] = one
        self._wanted = wanted
        self._wake.set()

    def is_registered(self, app: str) -> bool:
        """Whether the agent had the app's mirror when it was asked last."""
        return self._id(app) in self._there

    def problem(self, app: str) -> str | None:
        """Return why the last attempt for an app failed, or for all; None if it did not."""
        return self._errors.get(self._id(app)) or self._problem

    async def run(self) -> None:
        """Keep things as wanted; ends only when it is cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.reconcile()
                self._problem = None
            except CatalogUnavailable as error:
                if self._problem is None:
                    log.warning("%s", error)
                self._problem = str(error)
            # Jitter: the mirrors of a fleet do not ask together.
            pause_s = min(RETRY_S, self._compare_s) if self._problem else self._compare_s
            pause_s *= random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause_s)

    async def reconcile(self) -> None:
        """Compare once, and register and deregister what differs. Raises CatalogUnavailable."""
        found = await self._catalog.registered()
        self._there = {
            id_ for id_, entry in found.items() if entry.meta.get(PROCESS_META) == self._process
        }
        self._errors = {id_: text for id_, text in self._errors.items() if id_ in self._wanted}
        for id_, wanted in list(self._wanted.items()):
            if id_ not in found or not _is_as_wanted(found[id_], wanted):
                await self._register(wanted)
        for id_, entry in found.items():
            if id_ not in self._wanted and self._is_ours(entry):
                await self._catalog.deregister(id_)
                self._there.discard(id_)
                log.info("deregistered %s", id_)
        self._swept = True

    async def close(self) -> None:
        """Deregister everything of this process. Does not raise; call it when `run` has ended."""
        ids = sorted({*self._wanted, *self._there})
        self._wanted, self._there = {}, set()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                ended = await asyncio.gather(
                    *map(self._catalog.deregister, ids), return_exceptions=True
                )
        except TimeoutError:
            log.warning("the agent did not answer: it will forget this mirror by itself")
            return
        for id_, error in zip(ids, ended, strict=True):
            if error is None:
                log.info("deregistered %s", id_)
            else:
                log.warning("%s", error)

    async def _register(self, wanted: Registration) -> None:
        try:
            await self._catalog.register(wanted)
        except CatalogUnavailable as error:
            if wanted.id not in self._errors:
                log.warning("%s", error)
            self._errors[wanted.id] = str(error)
            return
        log.info("registered %s at %s:%d", wanted.id, wanted.address, wanted.port)
        self._errors.pop(wanted.id, None)
        self._there.add(wanted.id)

    def _is_ours(self, entry: Entry) -> bool:
        """Whether a registration that is not wanted is this process's, or of a dead one before it.

        A killed mirror leaves its registrations, and the next one at the same
        address would keep them healthy, also while it drains. Only looked for at
        the start: two living mirrors must not chase each other.
        """
        if MIRROR_META not in entry.meta:
            return False
        if entry.meta.get(PROCESS_META) == self._process:
            return True
        here = (self._settings.name, self._settings.address, self._settings.port)
        return not self._swept and here == (entry.meta.get(NAME_META), entry.address, entry.port)

    def _id(self, app: str) -> str:
        return f"{SERVICE_PREFIX}{app}-{self._process}"

    def _registration(self, app: str, tags: Tags) -> Registration:
        settings = self._settings
        return Registration(
            id=self._id(app),
            name=f"{SERVICE_PREFIX}{app}",
            address=settings.address,
            port=settings.port,
            tags=tags,
            meta={
                MIRROR_META: settings.version,
                NAME_META: settings.name,
                PROCESS_META: self._process,
                APP_META: app,
            },
            check_url=f"{settings.health_url}/healthz/{app}",
            interval_s=settings.interval_s,
            timeout_s=settings.timeout_s,
            remove_after_s=settings.remove_after_s,
        )


def _is_as_wanted(entry: Entry, wanted: Registration) -> bool:
    return (entry.address, entry.port, entry.tags, dict(entry.meta)) == (
        wanted.address,
        wanted.port,
        wanted.tags,
        dict(wanted.meta),
    )
