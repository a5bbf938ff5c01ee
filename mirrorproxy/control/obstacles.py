"""Obstacles: why an app is left alone, in plain sentences.

Pure. Each check appends what it finds; no sentence holds the value of a tag
that could be a secret. What is listed here would change what clients see, or
what the app sees, if the mirror stood between.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from mirrorproxy.control.labels import Labels, Options, Router, flag, shown

MAX_PRIORITY = (1 << 63) - 1 - 1000
"""The highest priority that Traefik takes (routing reference, priority)."""

_PORT = re.compile(r"[0-9]{1,5}")


def check_general(labels: Labels, problems: list[str], *, between: bool) -> None:
    """Look at the app as a whole. between: whether the mirror would be in the path."""
    if flag(labels.option("enable")) is False:
        problems.append("Traefik is told to leave it out (enable=false)")
    if between and flag(labels.option("consulcatalog.connect")):
        problems.append("it is reached over Consul Connect, which the mirror does not speak")
    if flag(labels.option("consulcatalog.canary")):
        problems.append("it is a canary (consulcatalog.canary=true), a service apart in Traefik")


def check_routers(led: Mapping[str, tuple[Router, ...]], problems: list[str]) -> None:
    """Look at the routers that lead to an app, by the Traefik service that they lead to."""
    if not led:
        problems.append("no router of its own leads to it")
    if len(led) > 1:
        problems.append(
            f"its routers lead to several services: {', '.join(map(shown, sorted(led)))}"
        )
    for router in (router for group in led.values() for router in group):
        name = shown(router.name)
        if not router.rule:
            problems.append(
                f"its router {name} has no rule: give it one, or the mirror a default rule"
            )
        # One above -1 would be 0, by which Traefik means the length of the rule.
        if router.priority >= MAX_PRIORITY or router.priority == -1:
            problems.append(f"the priority of its router {name} leaves no room above it")
        if any(key.lower().startswith("parentrefs") for key, _ in router.options):
            problems.append(f"its router {name} is part of a tree of routers (parentRefs)")
        if any(key.lower().startswith("middlewares[") for key, _ in router.options):
            problems.append(
                f"the middlewares of its router {name} are not one comma-separated list"
            )


def check_backend(options: Options, problems: list[str]) -> None:
    """Look at how Traefik reaches an app: whether the mirror can do so in its place."""
    known = {key.lower(): value for key, value in options}
    scheme = known.get("loadbalancer.server.scheme", "http")
    if any(key.startswith("loadbalancer.sticky") for key in known):
        problems.append("its sticky cookie ties clients to instances, which the mirror would undo")
    if known.get("loadbalancer.strategy", "").lower() == "hrw":
        problems.append("its strategy hrw ties clients to instances, which the mirror would undo")
    if scheme == "h2c":
        problems.append("it speaks h2c, which the mirror does not")
    elif scheme not in ("http", "https"):
        problems.append(f"its scheme is neither http nor https: {scheme[:64]!r}")
    if "loadbalancer.serverstransport" in known:
        problems.append("Traefik reaches it by a serversTransport, whose TLS the mirror lacks")
    if "loadbalancer.server.url" in known:
        problems.append("Traefik reaches it by a URL of its own (server.url)")
    port = known.get("loadbalancer.server.port")
    if port is not None and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        problems.append("its loadbalancer.server.port is not a port")
    if flag(known.get("loadbalancer.passhostheader")) is False:
        problems.append("it gets the instance's address as Host (passhostheader=false)")


def check_pool(
    options: Options, percent: float, weight: int | None, key: str, problems: list[str]
) -> None:
    """Look at whether a mirror can be one server among an app's own.

    key: of the app's Traefik service, for the sentence that says what to add.
    """
    if any(name.lower().startswith("loadbalancer.healthcheck") for name, _ in options):
        problems.append(
            "Traefik's own health check of it would ask the mirror, which knows no app's health:"
            " use the catalog's checks in pooled mode"
        )
    if not 0 < percent < 100:
        problems.append("the tag mirrorproxy.percent must be above 0 and below 100 in pooled mode")
    elif (weight or 1) * percent < 100 - percent:
        least = math.ceil((100 - percent) / percent)
        problems.append(
            f"a share of {percent:g} % needs a weight of its own instances: add the tag"
            f" {key}.loadbalancer.server.weight={least} (or more)"
        )
