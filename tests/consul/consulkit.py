"""What tests around Consul share: services, a stand-in for the tags, ways to wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from mirrorproxy.control.catalog import Answer, Entry, Registration
from mirrorproxy.control.registrar import RegistrarSettings
from mirrorproxy.errors import CatalogUnavailable

T = TypeVar("T")

TIMEOUT_S = 20

ON = "mirrorproxy.enable=true"


class SimpleTags(msgspec.Struct, frozen=True, kw_only=True):
    """As much of an app's tags as these tests need."""

    enabled: bool = False
    mode: Any = "inline"
    percent: float = 100.0
    percent_by: Any = "id"
    response_body: bool = False
    record_paths: tuple[str, ...] = ()
    seal: tuple[str, ...] = ()
    scheme: str = "http"
    port: int | None = None
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_tags(_service: str, tags: Sequence[str]) -> SimpleTags:
    """Read `mirrorproxy.<key>=<value>`."""
    pairs = dict(tag.partition("=")[::2] for tag in tags)
    return SimpleTags(
        enabled=pairs.get("mirrorproxy.enable") == "true",
        mode=pairs.get("mirrorproxy.mode", "inline"),
        percent=float(pairs.get("mirrorproxy.percent", "100")),
        port=int(pairs["port"]) if "port" in pairs else None,
        problems=("sticky cookies",) if "sticky" in pairs else (),
    )


def mirror_tags(
    _service: str, tags: Sequence[str], *, instances: int, mirrors: int
) -> tuple[str, ...]:
    """Return all tags but our own; in a pool also how many there are."""
    if "impossible" in tags:
        raise ValueError("no rule")
    kept = tuple(tag for tag in tags if not tag.startswith("mirrorproxy."))
    pooled = "mirrorproxy.mode=pooled" in tags
    return (*kept, f"pool={instances}/{mirrors}") if pooled else kept


def service(
    name: str, number: int = 1, *, port: int = 8080, tags: Sequence[str] = (ON,), **more: Any
) -> dict[str, Any]:
    """Return the definition of an app's instance that is healthy without being asked."""
    return {
        "Name": name,
        "ID": f"{name}-{number}",
        "Address": "127.0.0.1",
        "Port": port,
        "Tags": list(tags),
        "Check": {"CheckID": f"check-{name}-{number}", "TTL": "1h", "Status": "passing"},
        **more,
    }


def settings(health_url: str = "http://127.0.0.1:9", port: int = 8000) -> RegistrarSettings:
    return RegistrarSettings(
        name="mirror-1", version="0.1.0", address="127.0.0.1", port=port, health_url=health_url
    )


class Heard(Generic[T]):
    """Keeps every value it is called with, and lets a test wait for one."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._new = asyncio.Event()

    def __call__(self, value: T) -> None:
        self.values.append(value)
        self._new.set()

    async def until(self, is_it: Callable[[T], object]) -> T:
        """Return the last value as soon as it is the one."""
        async with asyncio.timeout(TIMEOUT_S):
            while not self.values or not is_it(self.values[-1]):
                self._new.clear()
                await self._new.wait()
        return self.values[-1]


async def until(is_so: Callable[[], object]) -> None:
    """Return once a real server says so."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await asyncio.to_thread(is_so):
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def going(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Let something run while the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class FakeCatalog:
    """A catalog in memory. away: why every call fails, None while none does."""

    def __init__(self) -> None:
        self.away: str | None = None
        self.agent: dict[str, Entry] = {}
        self.calls: list[str] = []
        self.asked: list[int] = []
        self.answers: list[Answer[Any]] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        yield

    async def read(self, index: int) -> Answer[Any]:
        """Give the prepared answers one after the other, then wait for ever."""
        self._check()
        self.asked.append(index)
        if not self.answers:
            await asyncio.Event().wait()
        return self.answers.pop(0)

    async def services(self, index: int = 0) -> Answer[Any]:
        return await self.read(index)

    async def instances(self, service: str, index: int = 0) -> Answer[Any]:
        return await self.read(index)

    async def values(self, prefix: str, index: int = 0) -> Answer[Any]:
        return await self.read(index)

    async def registered(self) -> dict[str, Entry]:
        self._check()
        return dict(self.agent)

    async def register(self, wanted: Registration) -> None:
        self._check()
        self.calls.append(f"register {wanted.id}")
        self.agent[wanted.id] = Entry(
            id=wanted.id,
            address=wanted.address,
            port=wanted.port,
            tags=wanted.tags,
            meta=wanted.meta,
        )

    async def deregister(self, service_id: str) -> None:
        self._check()
        self.calls.append(f"deregister {service_id}")
        self.agent.pop(service_id, None)

    def _check(self) -> None:
        if self.away is not None:
            raise CatalogUnavailable(self.away)
