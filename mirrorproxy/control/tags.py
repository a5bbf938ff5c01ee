"""Tags: what an app's Consul tags or Docker labels ask of the mirror, and what the mirror answers.

Pure. What cannot be mirrored without changing what clients see is left alone:
`AppTags.problems` says why. The same app gives the same tags on every mirror,
in the same order: Traefik deletes routers of one name that differ. What the app
alone may define (middlewares, TCP and UDP) is referred to and never repeated,
so that a mirror that lags behind a change of the app takes nothing of its away.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator

import msgspec

from mirrorproxy.control.asked import OWN_PREFIX, Asked, PercentBy
from mirrorproxy.control.labels import (
    PREFIX,
    Labels,
    Options,
    Router,
    default_priority,
    expand_rule,
    normalized,
    parse_labels,
    value_of,
)
from mirrorproxy.control.match import globs_of
from mirrorproxy.control.obstacles import (
    check_backend,
    check_general,
    check_pool,
    check_routers,
)
from mirrorproxy.headers import APP_HEADER
from mirrorproxy.topology import AppMode

PROVIDER = "consulcatalog"
"""How Traefik names the provider of Consul's catalog; a namespace may follow."""

MAX_WEIGHT = 1_000_000
# The app's own health checks would leave the router without a server (503) where
# the catalog's take the router away and let the app's own serve.
_NOT_FOR_A_MIRROR = (
    "loadbalancer.server.",
    "loadbalancer.healthcheck",
    "loadbalancer.passivehealthcheck",
    "loadbalancer.strategy",
)
_GENERAL = ("enable", "tags", "consulcatalog.", "docker.")
_PORT = re.compile(r"[0-9]{1,5}")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]*")


class AppTags(msgspec.Struct, frozen=True, kw_only=True):
    """An app as its tags describe it.

    service: its name in the catalog; name: as X-Mirrorproxy-App says it.
    percent: 0 to 100. record_paths, seal, hosts, paths: as in `topology.App`.
    scheme, port: how its instances are reached; port None: as registered.
    routers: those that lead to it, with their rules filled in; backend: the
    Traefik service that they lead to, with its options. weight: of each of its
    instances there, None for none. problems: why it is left alone.
    """

    service: str
    name: str
    enabled: bool = False
    mode: AppMode = "inline"
    percent: float = 100.0
    percent_by: PercentBy = "id"
    response_body: bool = False
    record_paths: tuple[str, ...] = ()
    seal: tuple[str, ...] = ()
    scheme: str = "http"
    port: int | None = None
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    routers: tuple[Router, ...] = ()
    backend: str = ""
    backend_options: Options = ()
    weight: int | None = None
    problems: tuple[str, ...] = ()


def parse_app(
    service: str,
    tags: Iterable[str],
    *,
    default_rule: str | None = None,
    prefix: str = PREFIX,
) -> AppTags:
    """Return what the tags of an app say. Never raises.

    service: its name in the catalog. default_rule: Traefik's own for routers
    without a rule, such as ``Host(`{{ .Name }}.example.com`)``. prefix: that of
    Traefik's provider.
    """
    tags = list(tags)
    problems: list[str] = []
    if not _SERVICE.fullmatch(service):
        problems.append("its name holds more than letters, digits, dots, hyphens and underscores")
    asked = Asked(tags, problems)
    if any(tag.lower() == f"{OWN_PREFIX}.enable" for tag in tags):
        problems.append("the tag mirrorproxy.enable has no value: write mirrorproxy.enable=true")
    mode, percent = asked.mode(), asked.percent()
    labels = parse_labels(tags, prefix=prefix)
    problems += labels.faults
    check_general(labels, problems, between=mode != "tap")
    led = routers_by_backend(service, labels, default_rule)
    backend, routers = next(iter(led.items()), (normalized(service), ()))
    options = labels.services.get(backend, ())
    check_routers(led, problems)
    if mode != "tap":
        # In a tap Traefik itself speaks to the app, by the service that it has already.
        check_backend(options, problems)
    weight = _number(options, "loadbalancer.server.weight")
    if mode == "pooled":
        check_pool(options, percent, weight, f"{prefix}.http.services.{backend}", problems)
    globs = globs_of(router.rule for router in routers) if mode == "pooled" else None
    return AppTags(
        service=service,
        name=service.lower(),
        enabled=asked.truth("enable"),
        mode=mode,
        percent=percent,
        percent_by=asked.percent_by(),
        response_body=asked.truth("response-body"),
        record_paths=asked.paths(),
        seal=asked.seal(),
        scheme=value_of(options, "loadbalancer.server.scheme") or "http",
        port=_number(options, "loadbalancer.server.port"),
        hosts=globs[0] if globs else (),
        paths=globs[1] if globs else (),
        routers=routers,
        backend=backend,
        backend_options=options,
        weight=weight,
        problems=tuple(dict.fromkeys(problems)),
    )


def routers_by_backend(
    service: str, labels: Labels, default_rule: str | None = None
) -> dict[str, tuple[Router, ...]]:
    """Return the routers that lead to Traefik services of this app, by service.

    Not those that lead elsewhere, such as to ``noop@internal`` or ``orders@file``. Rules that are
    missing are filled in from the default one; without any they stay "".
    """
    named = {name.lower(): name for name in labels.services} or {
        normalized(service).lower(): normalized(service)
    }
    only = next(iter(named)) if len(named) == 1 else ""
    routers = labels.routers
    if not routers and only:
        routers = (Router(name=normalized(service)),)
    rule = expand_rule(default_rule, service) if default_rule else None
    found: dict[str, tuple[Router, ...]] = {}
    for router in routers:
        goal, _, provider = router.service.partition("@")
        # Without a name Traefik takes the one service that there is; of several, none.
        backend = named.get(goal.lower() or only)
        if backend is None or not (provider == "" or provider.startswith(PROVIDER)):
            continue
        if rule and not router.rule:
            router = msgspec.structs.replace(
                router, rule=rule, priority=router.priority or default_priority(rule)
            )
        found[backend] = (*found.get(backend, ()), router)
    return found


def mirror_name(service: str) -> str:
    """Return the name under which mirrors of an app are registered."""
    return f"mirror-{service}"


def mirror_tags(
    service: str,
    tags: Iterable[str],
    *,
    default_rule: str | None = None,
    prefix: str = PREFIX,
    instances: int = 1,
    mirrors: int = 1,
) -> tuple[str, ...]:
    """Return the tags of ``mirror-<service>``.

    default_rule, prefix: as for `parse_app`. instances, mirrors: how many of
    the app and of the mirror share a pool (pooled mode), 1 or more. Raises
    ValueError with the first reason why the app is left alone, and for a tap,
    which is not registered.
    """
    tags = list(tags)
    app = parse_app(service, tags, default_rule=default_rule, prefix=prefix)
    if app.problems:
        raise ValueError(app.problems[0])
    if app.mode == "tap":
        raise ValueError("a tap is served by the provider document and not registered")
    http = f"{prefix}.http"
    token = token_of(service)
    header = f"mirrorproxy-{token}"
    goal = app.backend if app.mode == "pooled" else f"mirror-{token}"
    made = [
        *sorted(set(_kept(tags, prefix))),
        *(tag for router in app.routers for tag in _router_tags(router, http, token, goal, header)),
        f"{http}.middlewares.{header}.headers.customrequestheaders.{APP_HEADER}={app.name}",
        *_service_tags(app, f"{http}.services.{goal}", instances, mirrors),
    ]
    return tuple(dict.fromkeys(made))


def mirrored_priority(router: Router) -> int:
    """Return the priority of a mirrored router: one above the app's own.

    Not higher: a more specific router of another app (the same host, a path of
    its own) must still win, as it does over the app's own router.
    """
    return router.priority + 1


def token_of(service: str) -> str:
    """Return an app's name as a word for names in Traefik, different for different apps."""
    name = normalized(service)
    if name == service:
        return name
    return f"{name}-{hashlib.blake2b(service.encode(), digest_size=4).hexdigest()}"


def pool_weight(percent: float, weight: int, *, instances: int, mirrors: int) -> int:
    """Return the weight of one mirror that gives all of them a share of an app's pool.

    percent: above 0, below 100. weight: of one instance of the app.
    """
    share = weight * max(instances, 1) * percent / (100 - percent) / max(mirrors, 1)
    return min(max(math.floor(share + 0.5), 1), MAX_WEIGHT)


def _kept(tags: Iterable[str], prefix: str) -> Iterator[str]:
    """Give what constraints may look at, and what Traefik must be told of the mirror too."""
    for tag in tags:
        key = tag.partition("=")[0]
        if key.lower().startswith(f"{OWN_PREFIX}."):
            continue
        rest = key.removeprefix(f"{prefix}.")
        if rest == key or rest.lower().startswith(_GENERAL):
            yield tag


def _router_tags(router: Router, http: str, token: str, goal: str, header: str) -> Iterator[str]:
    key = f"{http}.routers.mirror-{token}-{router.name}"
    yield f"{key}.rule={router.rule}"
    yield f"{key}.priority={mirrored_priority(router)}"
    yield f"{key}.service={goal}"
    if router.entry_points:
        yield f"{key}.entrypoints={','.join(router.entry_points)}"
    # Last, so that nothing that a middleware of the app does can change it.
    yield f"{key}.middlewares={','.join((*router.middlewares, header))}"
    for name, value in router.options:
        yield f"{key}.{name}={value}"


def _service_tags(app: AppTags, key: str, instances: int, mirrors: int) -> Iterator[str]:
    if app.mode == "pooled":
        # Services of one name join only when all but their servers is equal.
        for name, value in app.backend_options:
            if not name.lower().startswith("loadbalancer.server."):
                yield f"{key}.{name}={value}"
        weight = pool_weight(app.percent, app.weight or 1, instances=instances, mirrors=mirrors)
        yield f"{key}.loadbalancer.server.weight={weight}"
        return
    yield f"{key}.loadbalancer.server.scheme=http"
    for name, value in app.backend_options:
        if not name.lower().startswith(_NOT_FOR_A_MIRROR):
            yield f"{key}.{name}={value}"


def _number(options: Options, key: str) -> int | None:
    value = value_of(options, key)
    return int(value) if value is not None and _PORT.fullmatch(value) else None
