"""The service catalog as mirrorproxy sees it: what it asks, and the values that come back.

Values and one interface; `consul` is what stands behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

import msgspec

T = TypeVar("T")

SERVICE_PREFIX = "mirror-"
"""What stands before an app's name in the name of its mirror's service."""

MIRROR_META = "mirrorproxy"
"""The key of a service's meta that marks a mirror, which is never an upstream: it would loop."""


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What a read found. index: from 1; ask with it to wait for a change."""

    index: int
    value: T


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a service in the catalog.

    address: the service's own, or else its node's. changed: the index of its last
    change. healthy: no check of it or its node is critical (maintenance is).
    """

    id: str
    address: str
    port: int
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = {}
    changed: int = 0
    healthy: bool = True


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A service to be kept with the agent.

    check_url: answers 2xx while it may have traffic, asked every interval_s seconds and
    for at most timeout_s. remove_after_s: how long it may be critical before
    the agent forgets it; Consul takes no less than a minute.
    """

    id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...]
    meta: Mapping[str, str]
    check_url: str
    interval_s: int = 1
    timeout_s: int = 1
    remove_after_s: int = 60


class Catalog(Protocol):
    """What is asked of a catalog and of the agent before it.

    Every call raises `CatalogUnavailable`. Reads with an index answer at once for 0,
    and otherwise wait for a change after it, for some minutes at most.
    """

    def watching(self) -> AbstractContextManager[None]:
        """Count one more watch while the block lasts."""

    async def services(self, index: int = 0) -> Answer[dict[str, tuple[str, ...]]]:
        """Return all services with the tags that any instance of them has."""

    async def instances(self, service: str, index: int = 0) -> Answer[tuple[Entry, ...]]:
        """Return all instances of a service, healthy or not, by their IDs."""

    async def values(self, prefix: str, index: int = 0) -> Answer[dict[str, str]]:
        """Return all keys with a prefix and their values."""

    async def registered(self) -> dict[str, Entry]:
        """Return the agent's own services by ID. Says nothing about health."""

    async def register(self, wanted: Registration) -> None:
        """Register a service, or change one of the same ID."""

    async def deregister(self, service_id: str) -> None:
        """Take a service from the agent; one that it does not have is fine."""
