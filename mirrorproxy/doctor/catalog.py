"""The checks of Consul: the agent, what the token may see and do, and the apps.

`look` asks; everything else is pure, over what it found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from typing import Protocol, TypeVar

import msgspec

from mirrorproxy.control.catalog import Answer, Entry, Registration
from mirrorproxy.control.discovery import ENABLE_TAG
from mirrorproxy.control.tags import AppTags, mirror_name, parse_app
from mirrorproxy.doctor.finding import Finding
from mirrorproxy.errors import CatalogUnavailable

PROBE = "mirror-mirrorproxy-doctor"
"""Registered for a moment, to see whether a mirror may be; no app is named so."""

KEYS = "mirrorproxy/"

_POLICY = "see consul/policy.hcl"
T = TypeVar("T")


class Agent(Protocol):
    """What is asked; see `control.consul.ConsulClient`."""

    async def services(self) -> Answer[dict[str, tuple[str, ...]]]:
        """Return all services with their tags."""

    async def instances(self, service: str) -> Answer[tuple[Entry, ...]]:
        """Return the instances of one."""

    async def values(self, prefix: str) -> Answer[dict[str, str]]:
        """Return keys with their values."""

    async def register(self, wanted: Registration) -> None:
        """Register a service."""

    async def deregister(self, service_id: str) -> None:
        """Take it away."""


class Unavailable(msgspec.Struct, frozen=True):
    """Why there is no answer, in one line without a secret."""

    text: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. instances: of each app with the tag; write: None when it is allowed."""

    services: Mapping[str, tuple[str, ...]] | Unavailable
    instances: Mapping[str, tuple[Entry, ...] | Unavailable] = {}
    keys: int | Unavailable = 0
    write: Unavailable | None = None


async def look(agent: Agent, *, may_register: bool) -> Seen:
    """Ask for everything. may_register: whether a service may be registered for a moment."""
    services = await _asked(agent.services())
    if isinstance(services, Unavailable):
        return Seen(services=services)
    instances: dict[str, tuple[Entry, ...] | Unavailable] = {}
    for name, tags in sorted(services.value.items()):
        if any(tag.lower().startswith(ENABLE_TAG) for tag in tags):
            found = await _asked(agent.instances(name))
            instances[name] = found if isinstance(found, Unavailable) else found.value
    keys = await _asked(agent.values(KEYS))
    write = await _try_to_register(agent) if may_register else None
    return Seen(
        services=services.value,
        instances=instances,
        keys=keys if isinstance(keys, Unavailable) else len(keys.value),
        write=write,
    )


def check_catalog(seen: Seen, default_rule: str | None = None) -> list[Finding]:
    """Return what is to be said of Consul and of the apps in it."""
    if isinstance(seen.services, Unavailable):
        text = seen.services.text
        remedy = (
            f"name a token, {_POLICY}" if "denied" in text else "start the agent, or mend its URL"
        )
        return [Finding("problem", "Consul", text, remedy)]
    findings = [Finding("ok", "Consul", f"{len(seen.services):,} services are seen")]
    if not set(seen.services) - {"consul"}:
        findings = [
            Finding(
                "warning",
                "Consul",
                "no service is seen: there is none, or the token may not see any",
                f'allow service_prefix "" and node_prefix "" read, {_POLICY}',
            )
        ]
    if isinstance(seen.keys, Unavailable):
        remedy = (
            f'allow key_prefix "{KEYS}" read, {_POLICY}; without it live control by keys is off'
        )
        findings.append(Finding("warning", "Consul keys", seen.keys.text, remedy))
    if seen.write is not None:
        remedy = f'allow service_prefix "mirror-" write, {_POLICY}'
        findings.append(Finding("problem", "Consul registration", seen.write.text, remedy))
    findings += _apps(seen, default_rule)
    return findings


def asking(seen: Seen) -> int:
    """Return how many apps ask to be mirrored, and can be."""
    return sum(
        1
        for name, found in seen.instances.items()
        if (app := _app(name, found)) and not app.problems
    )


def _apps(seen: Seen, default_rule: str | None) -> Iterator[Finding]:
    services = {} if isinstance(seen.services, Unavailable) else seen.services
    if not seen.instances:
        yield Finding(
            "warning",
            "apps",
            "none has the tag mirrorproxy.enable=true",
            "add it to an app, and register it anew",
        )
    for name, found in seen.instances.items():
        what = f"app {name}"
        if isinstance(found, Unavailable):
            remedy = f'allow node_prefix "" read, {_POLICY}'
            yield Finding("problem", what, found.text, remedy)
            continue
        if not found:
            remedy = f'allow node_prefix "" read, {_POLICY}; or start one'
            yield Finding("warning", what, "no instance is seen", remedy)
            continue
        app = _app(name, found, default_rule)
        if app is None:
            yield Finding("ok", what, "does not ask to be mirrored")
        elif app.problems:
            yield Finding(
                "problem",
                what,
                f"is left alone: {'; '.join(app.problems)}",
                "change its tags, see docs/traefik.md, Left alone",
            )
        else:
            healthy = sum(entry.healthy for entry in found)
            mirrored = mirror_name(name) in services or app.mode == "tap"
            says = f"{app.mode}, {healthy} of {len(found)} instances healthy"
            if mirrored:
                yield Finding("ok", what, says)
            else:
                yield Finding(
                    "warning", what, f"{says}, no mirror is registered", "start one with --consul"
                )


def _app(
    name: str, found: tuple[Entry, ...] | Unavailable, default_rule: str | None = None
) -> AppTags | None:
    if isinstance(found, Unavailable) or not found:
        return None
    newest = max(found, key=lambda entry: (entry.healthy, entry.changed))
    app = parse_app(name, newest.tags, default_rule=default_rule)
    # A tag that cannot be read asks for nothing; whoever wrote it thinks otherwise.
    is_unclear = any(ENABLE_TAG.rstrip("=") in problem for problem in app.problems)
    return app if app.enabled or is_unclear else None


async def _try_to_register(agent: Agent) -> Unavailable | None:
    probe = Registration(
        id=PROBE,
        name=PROBE,
        address="127.0.0.1",
        port=9,
        # Traefik must not make a router of it, whatever it exposes by default.
        tags=("traefik.enable=false",),
        meta={"mirrorproxy": "doctor"},
        check_url="http://127.0.0.1:9/",
    )
    refused = await _asked(agent.register(probe))
    if isinstance(refused, Unavailable):
        return refused
    left = await _asked(agent.deregister(PROBE))
    return left if isinstance(left, Unavailable) else None


async def _asked(call: Awaitable[T]) -> T | Unavailable:
    try:
        return await call
    except CatalogUnavailable as error:
        return Unavailable(str(error))
