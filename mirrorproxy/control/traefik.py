"""Traefik: the dynamic configuration that a mirror serves to Traefik's HTTP provider, for taps.

Pure: apps in, a document out. Traefik's ``mirroring`` cannot be written in tags,
so the mirror serves it. Main leg is the app's own Traefik service, by its name
in the provider that made it: Traefik keeps the last document while the mirror
is away, and instances that come and go meanwhile are followed all the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from mirrorproxy.control.labels import Router, flag, listed
from mirrorproxy.control.tags import PROVIDER, AppTags, mirrored_priority, token_of
from mirrorproxy.headers import APP_HEADER

MAX_BODY_BYTES = 256 * 1024
"""Traefik 3.7.7 and later set this much aside for each request, whatever its body."""

UNBOUNDED = -1
RESPONSE_HEADER_TIMEOUT_S = 2.0
DIAL_TIMEOUT_S = 1.0

_TRANSPORT = "mirrorproxy-tap"
_DOMAIN = re.compile(r"tls\.domains\[([0-9]{1,3})\]\.(main|sans)")
_OBSERVABILITY = {
    "observability.accesslogs": "accessLogs",
    "observability.metrics": "metrics",
    "observability.tracing": "tracing",
}

Document = dict[str, object]


def provider_document(
    apps: Iterable[AppTags],
    taps: Iterable[str],
    *,
    provider: str = PROVIDER,
    max_body_bytes: int = MAX_BODY_BYTES,
    response_header_timeout_s: float = RESPONSE_HEADER_TIMEOUT_S,
) -> Document:
    """Return the document, the same for the same apps and taps in any order.

    apps: all that are known; those are served that are enabled, in tap mode and
    without problems. taps: URLs of all tap listeners, such as
    ``http://10.0.0.5:8001``. provider: Traefik's name of the provider that reads
    the apps' tags; names without one mean that one. max_body_bytes: what is
    copied of a request's body, `UNBOUNDED` for all; a request with a larger one
    is not copied. response_header_timeout_s: how long a copy may wait for the
    mirror. Without an app or a tap the document is empty, which Traefik takes
    for no routers; a document with empty sections would be refused, and the
    last one kept.
    """
    if max_body_bytes != UNBOUNDED and max_body_bytes < 0:
        raise ValueError("max_body_bytes is 0 or more, or -1 for no bound")
    servers = [{"url": url} for url in sorted(set(taps))]
    tapped = sorted(
        (app for app in apps if app.enabled and app.mode == "tap" and not app.problems),
        key=lambda app: app.name,
    )
    if not servers or not tapped:
        return {}
    routers: Document = {}
    services: Document = {
        _TRANSPORT: {"loadBalancer": {"servers": servers, "serversTransport": _TRANSPORT}}
    }
    middlewares: Document = {}
    for app in tapped:
        name = f"mirrorproxy-{token_of(app.service)}"
        services[name] = {
            "mirroring": {
                "service": f"{app.backend}@{provider}",
                "maxBodySize": max_body_bytes,
                "mirrors": [{"name": _TRANSPORT, "percent": copied_percent(app)}],
            }
        }
        middlewares[name] = {"headers": {"customRequestHeaders": {APP_HEADER: app.name}}}
        for router in app.routers:
            routers[f"{name}-{router.name}"] = _router(router, name, provider)
    timeouts = {
        "dialTimeout": f"{DIAL_TIMEOUT_S:g}s",
        "responseHeaderTimeout": f"{response_header_timeout_s:g}s",
    }
    return {
        "http": {
            "routers": routers,
            "services": services,
            "middlewares": middlewares,
            "serversTransports": {_TRANSPORT: {"forwardingTimeouts": timeouts}},
        }
    }


def copied_percent(app: AppTags) -> int:
    """Return the share that Traefik copies, a whole number: it knows no other.

    Sessions are chosen by the mirror alone, which must see every request for it.
    """
    return 100 if app.percent_by == "session" else math.ceil(app.percent)


def recorded_percent(app: AppTags) -> float:
    """Return the share that the mirror records of what reaches it, 0 to 100.

    Of a pool, and of a tap chosen by id, the mirror gets no more than its share.
    """
    if app.mode == "pooled":
        return 100.0
    if app.mode == "inline":
        return app.percent
    copied = copied_percent(app)
    return app.percent * 100 / copied if copied else 0.0


def _router(router: Router, name: str, provider: str) -> Document:
    document: Document = {
        "rule": router.rule,
        "priority": mirrored_priority(router),
        "service": name,
        # Last, so that nothing that a middleware of the app does can change it.
        "middlewares": [_qualified(one, provider) for one in router.middlewares] + [name],
    }
    if router.entry_points:
        document["entryPoints"] = list(router.entry_points)
    if syntax := router.option("rulesyntax"):
        document["ruleSyntax"] = syntax
    observability = {
        written: value
        for key, written in _OBSERVABILITY.items()
        if (value := flag(router.option(key))) is not None
    }
    if observability:
        document["observability"] = observability
    tls = _tls(router, provider)
    if tls is not None:
        document["tls"] = tls
    return document


def _tls(router: Router, provider: str) -> Document | None:
    """Return a router's TLS; an empty one means TLS with all defaults, None none."""
    given = {key.lower(): value for key, value in router.options}
    if not any(key.startswith("tls.") for key in given) and not flag(given.get("tls")):
        return None
    tls: Document = {}
    if resolver := given.get("tls.certresolver"):
        tls["certResolver"] = resolver
    if options := given.get("tls.options"):
        tls["options"] = options if options == "default" else _qualified(options, provider)
    domains: dict[int, Document] = {}
    for key, value in sorted(given.items()):
        found = _DOMAIN.fullmatch(key)
        if found:
            domain = domains.setdefault(int(found[1]), {})
            domain[found[2]] = list(listed(value)) if found[2] == "sans" else value
    if domains:
        tls["domains"] = [domains[number] for number in sorted(domains)]
    return tls


def _qualified(name: str, provider: str) -> str:
    return name if "@" in name else f"{name}@{provider}"
