"""Neighbours: whether there is room in Traefik for a mirrored router above an app's own.

Pure. A mirrored router stands one above the app's. Where another router stands
there already, Traefik gives the two no order: requests of one app could reach
the other. Sees what the catalog holds; routers of other providers it cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mirrorproxy.control.labels import PREFIX, Router, parse_labels, shown
from mirrorproxy.control.match import hosts_of
from mirrorproxy.control.tags import (
    AppTags,
    mirror_name,
    mirrored_priority,
    routers_by_backend,
)

DEFAULT_RULE = "Host(`{{ normalize .Name }}`)"
"""Traefik's own for Consul's catalog, unless it was given another."""


class Neighbours:
    """All routers of a catalog, by priority; made once for each state of it.

    catalog: every service with its tags, as Consul's list of services has them;
    mirrors among them do not count. default_rule, prefix: as for `parse_app`.
    """

    def __init__(
        self,
        catalog: Mapping[str, Iterable[str]],
        *,
        default_rule: str | None = None,
        prefix: str = PREFIX,
    ) -> None:
        self._at: dict[int, list[tuple[str, Router]]] = {}
        mirrors = {mirror_name(service) for service in catalog}
        for service, tags in catalog.items():
            if service in mirrors:
                continue
            labels = parse_labels(tags, prefix=prefix)
            led = routers_by_backend(service, labels, default_rule or DEFAULT_RULE)
            found = {router.name: router for router in labels.routers}
            # Those that lead to the app have their rules filled in.
            found |= {router.name: router for group in led.values() for router in group}
            for router in found.values():
                self._at.setdefault(router.priority, []).append((service, router))

    def crowd(self, app: AppTags) -> str | None:
        """Return why there is no room above a router of an app, or None.

        A reason to leave it alone, like those in `AppTags.problems`.
        """
        mirrored = {router.name for router in app.routers}
        for router in app.routers:
            above = mirrored_priority(router)
            for service, other in self._at.get(above, ()):
                # Between two of one app the mirrored router of the higher one decides.
                if service == app.service and other.name in mirrored:
                    continue
                if _may_meet(router, other):
                    return (
                        f"router {shown(other.name)} has priority {above}, one above its router"
                        f" {shown(router.name)}: set the priority of one of them,"
                        " two or more apart"
                    )
        return None


def _may_meet(a: Router, b: Router) -> bool:
    if a.entry_points and b.entry_points and not set(a.entry_points) & set(b.entry_points):
        return False
    hosts_a, hosts_b = hosts_of(a.rule), hosts_of(b.rule)
    return hosts_a is None or hosts_b is None or bool(hosts_a & hosts_b)
