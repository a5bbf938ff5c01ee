"""Discovery: which apps ask to be mirrored, and where they run just now.

Owns one watch of the catalog's services, and one of the instances of each app
with the tag. Tells a new `Discovered` whenever it changes, and goes on with what
it last knew while the catalog is away. What tags mean is said by `read_tags`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from mirrorproxy.control.catalog import MIRROR_META, Catalog, Entry
from mirrorproxy.control.watch import watch
from mirrorproxy.topology import App, AppMode, Instance

log = logging.getLogger(__name__)

ENABLE_TAG = "mirrorproxy.enable="
"""How the tag of an app that is worth a look begins, in any case of letters."""

KEEP_S = 5.0
"""How long the last instances of an app are kept when none is healthy any more, and all of an
app that is gone after the catalog was away.

An agent that starts anew knows nothing at first, then calls everything critical until
its first checks have passed. Answering 503 meanwhile would fail requests that the
app could serve; an app that is really gone is noticed by connecting to it.
"""

_NAME = re.compile(r"[a-z0-9][a-z0-9._\-]{0,127}")


class AppTags(Protocol):
    """What an app's tags say.

    percent: the share recorded of what reaches the mirror; in a pool and from a tap that
    is all of it. problems: why it is left alone, one reason each.
    """

    @property
    def enabled(self) -> bool: ...  # noqa: D102
    @property
    def mode(self) -> AppMode: ...  # noqa: D102
    @property
    def percent(self) -> float: ...  # noqa: D102
    @property
    def percent_by(self) -> Literal["id", "session"]: ...  # noqa: D102
    @property
    def response_body(self) -> bool: ...  # noqa: D102
    @property
    def record_paths(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def seal(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def scheme(self) -> str: ...  # noqa: D102
    @property
    def port(self) -> int | None: ...  # noqa: D102
    @property
    def hosts(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def paths(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def problems(self) -> tuple[str, ...]: ...  # noqa: D102


ReadTags = Callable[[str, Sequence[str]], AppTags]
SeeCatalog = Callable[[Mapping[str, Sequence[str]]], None]


def ignore_catalog(_services: Mapping[str, Sequence[str]]) -> None:
    """See nothing of a catalog."""


class FoundApp(msgspec.Struct, frozen=True, kw_only=True):
    """An app that asks to be mirrored.

    service: its name in the catalog. tags: those that count, all of them.
    app: what to serve, None when it is left alone; why then says the reason. note: what is
    odd and does no harm, or "".
    """

    service: str
    tags: tuple[str, ...] = ()
    app: App | None = None
    why: str = ""
    note: str = ""


Discovered = Mapping[str, FoundApp]
"""All apps that ask to be mirrored, by their names in lower case."""


def read_app(
    service: str, entries: Sequence[Entry], read_tags: ReadTags, kept: tuple[Instance, ...] = ()
) -> FoundApp | None:
    """Return what to do with an app whose instances are these; None when it asks for nothing.

    Where instances differ in their tags, those of the healthy one that changed last
    count: in a rolling deployment the new version decides, on all mirrors
    alike. kept: what to serve when no instance is healthy.
    """
    own = [entry for entry in entries if MIRROR_META not in entry.meta]
    healthy = [entry for entry in own if entry.healthy]
    voices = healthy or own
    if not voices:
        return None
    newest = max(voices, key=lambda entry: (entry.changed, entry.id))
    tags = read_tags(service, newest.tags)
    if not tags.enabled:
        return None
    name = service.lower()
    note = ""
    if any(sorted(entry.tags) != sorted(newest.tags) for entry in voices):
        note = f"instances differ in their tags: those of {newest.id} count"
    found = FoundApp(service=service, tags=newest.tags, note=note)
    problems = list(tags.problems)
    if not _NAME.fullmatch(name):
        problems.append("its name cannot stand in a header and a path")
    if problems:
        return msgspec.structs.replace(found, why="; ".join(problems))
    instances = {_instance(entry, tags) for entry in healthy} - {None}
    app = App(
        name=name,
        mode=tags.mode,
        instances=tuple(sorted(one for one in instances if one is not None)) or kept,
        hosts=tags.hosts,
        paths=tags.paths,
        percent=tags.percent,
        percent_by=tags.percent_by,
        response_body=tags.response_body,
        record_paths=tags.record_paths,
        seal=tags.seal,
    )
    return msgspec.structs.replace(found, app=app)


def _instance(entry: Entry, tags: AppTags) -> Instance | None:
    port = tags.port or entry.port
    if not entry.address or not 0 < port < 65536:
        return None
    return Instance(tags.scheme, entry.address, port)


class Discovery:
    """Follows a catalog until it is cancelled.

    on_change: gets everything that is known, at first when every app with the
    tag was looked at once; it must not raise or wait.
    see_catalog: gets all services with their tags whenever they change, before
    their apps are read. keep_s: see `KEEP_S`.
    """

    def __init__(
        self,
        catalog: Catalog,
        read_tags: ReadTags,
        on_change: Callable[[Discovered], None],
        *,
        see_catalog: SeeCatalog = ignore_catalog,
        keep_s: float = KEEP_S,
    ) -> None:
        self._catalog = catalog
        self._read_tags = read_tags
        self._on_change = on_change
        self._see_catalog = see_catalog
        self._keep_s = keep_s
        self._asking: set[str] = set()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._found: dict[str, FoundApp | None] = {}
        self._told: dict[str, FoundApp] | None = None
        self._problems: dict[str, str] = {}
        self._settled_at = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._due: dict[str, FoundApp | None] = {}

    def problem(self) -> str | None:
        """Return what keeps it from reading the catalog, None while nothing does."""
        return next(iter(self._problems.values()), None)

    async def run(self) -> None:
        """Follow; ends only when it is cancelled."""
        self._told = None
        try:
            async for services in watch(
                self._catalog,
                self._catalog.services,
                on_problem=lambda problem: self._note("", problem),
            ):
                self._see_catalog(services)
                self._asking = {name for name, tags in services.items() if _asks(tags)}
                self._follow()
        finally:
            tasks = list(self._watches.values())
            for service in ["", *self._watches]:
                self._end(service)
            await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self) -> None:
        """Watch what asks for it and nothing else."""
        for service in sorted(self._asking - self._watches.keys()):
            task = asyncio.create_task(self._watch(service), name=f"watch {service}")
            task.add_done_callback(functools.partial(self._ended, service))
            self._watches[service] = task
        gone = self._watches.keys() - self._asking
        if gone and self._is_settling():
            self._later("", self._follow)
            return
        for service in gone | (self._found.keys() - self._asking):
            self._end(service)
        self._tell()

    async def _watch(self, service: str) -> None:
        async for entries in watch(
            self._catalog,
            lambda index: self._catalog.instances(service, index),
            on_problem=lambda problem: self._note(service, problem),
        ):
            before = self._found.get(service)
            kept = before.app.instances if before and before.app else ()
            found = now = read_app(service, entries, self._read_tags)
            if found is None and self._is_settling():
                found = before
            elif found and found.app and kept and not _any_healthy(entries):
                found = read_app(service, entries, self._read_tags, kept)
            if found == now:
                self._cancel_timer(service)
            else:
                # What changes meanwhile does not begin the time anew.
                if service not in self._timers:
                    self._later(service, functools.partial(self._expire, service))
                self._due[service] = now
            self._found[service] = found
            self._tell()

    def _ended(self, service: str, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._watches.get(service) is not task:
            return
        # A bug. It must hold up no other app; the next change of the catalog tries again.
        error = task.exception()
        log.error("watching %s ended", service, exc_info=error)
        del self._watches[service]
        self._found[service] = FoundApp(
            service=service, why=f"an error of ours: {type(error).__name__}"
        )
        self._tell()

    def _expire(self, service: str) -> None:
        now = self._due.pop(service)
        if now is not None:
            log.warning("%s has no healthy instance any more", service)
        self._found[service] = now
        self._tell()

    def _is_settling(self) -> bool:
        """Whether the catalog was away a moment ago, and may not know everything yet."""
        return asyncio.get_running_loop().time() < self._settled_at

    def _later(self, key: str, action: Callable[[], None]) -> None:
        def fire() -> None:
            del self._timers[key]
            action()

        self._cancel_timer(key)
        loop = asyncio.get_running_loop()
        # A timer may fire a tick of the clock early; it must not find things settling still.
        self._timers[key] = loop.call_later(self._keep_s * 1.01, fire)

    def _cancel_timer(self, key: str) -> None:
        self._due.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _end(self, service: str) -> None:
        task = self._watches.pop(service, None)
        if task is not None:
            task.cancel()
        self._cancel_timer(service)
        self._found.pop(service, None)
        self._problems.pop(service, None)

    def _tell(self) -> None:
        # The first word of a start must not leave out what is not looked at yet: a mirror that
        # was restarted would take it for gone.
        if self._told is None and self._watches.keys() - self._found.keys():
            return
        known = {
            found.service.lower(): found for found in self._found.values() if found is not None
        }
        if known != self._told:
            self._told = known
            self._on_change(dict(sorted(known.items())))

    def _note(self, service: str, problem: str | None) -> None:
        was_away = bool(self._problems)
        if problem is None:
            if self._problems.pop(service, None) is not None:
                now = asyncio.get_running_loop().time()
                self._settled_at = now + self._keep_s
        else:
            self._problems[service] = problem
        if bool(self._problems) != was_away:
            if problem is None:
                log.info("the catalog is read again")
            else:
                log.warning("%s; going on with what was known", problem)


def _asks(tags: Sequence[str]) -> bool:
    return any(tag.lower().startswith(ENABLE_TAG) for tag in tags)


def _any_healthy(entries: Sequence[Entry]) -> bool:
    return any(entry.healthy and MIRROR_META not in entry.meta for entry in entries)
