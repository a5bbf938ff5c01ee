"""Apps: where requests go, by what is configured and what a topology says.

Owns the table of routes and balances that a worker looks requests up in. One
table is whole and never changes but for the states of its balances; another
topology makes another table.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from mirrorproxy.capture.balance import Balance
from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.http1.origin import Origin
from mirrorproxy.topology import App, Instance

log = logging.getLogger(__name__)

_NOWHERE = Origin("http", "", 0)
"""The upstream of an app's route: its balance says where a request really goes."""


class Table:
    """Where requests go.

    routes: finds a request's route by host and path. named: by the value of
    X-Mirrorproxy-App, lower-case. balances: the instances of each app by its
    name; a service of the configuration has none. apps: routes of apps, by name.
    """

    def __init__(
        self,
        routes: Routes,
        apps: Mapping[bytes, Route] | None = None,
        balances: Mapping[str, Balance] | None = None,
    ) -> None:
        self.routes = routes
        self.named = {**routes.named, **(apps or {})}
        self.balances = dict(balances or {})

    def origins(self) -> set[Origin]:
        """Return where connections may go for any app."""
        return {
            member.route.upstream
            for balance in self.balances.values()
            for member in balance.members
        }


def problem(app: App, taken: Iterable[str] = ()) -> str | None:
    """Return why an app cannot be served as it is described, None if it can.

    taken: names that the mirror's own configuration gives to services.
    """
    if app.name in {name.lower() for name in taken}:
        return "a service of the configuration has this name"
    if not 0 <= app.percent <= 100:
        return f"a share is from 0 to 100, not {app.percent:g}"
    try:
        Filters(include=app.record_paths)
        Routes([_route(app)])
    except ValueError as error:
        return str(error).removeprefix(f"service {app.name}: ")
    return None


def make_table(static: Sequence[Route], apps: Iterable[App], before: Table) -> Table:
    """Return the table of what is configured and these apps.

    static: routes of configured services; their names are theirs. before: whose
    balances go on for apps that stay. An app that is not found by its hosts and
    paths, because one of them cannot be read, is still found by its name.
    """
    names = {route.service.lower() for route in static}
    named: dict[bytes, Route] = {}
    found: list[Route] = []
    balances: dict[str, Balance] = {}
    for app in apps:
        if app.name in names:
            log.warning("app %s is left alone: a service has this name", app.name)
            continue
        balances[app.name] = _balance(app, before.balances.get(app.name))
        route = _route(app)
        named[app.name.encode()] = route
        if app.hosts or app.paths:
            try:
                Routes([route])
            except ValueError as error:
                log.warning("only found by name: %s", error)
                continue
            found.append(route)
    return Table(Routes([*found, *static]), named, balances)


def _route(app: App) -> Route:
    return Route(app.name, _NOWHERE, hosts=app.hosts, paths=app.paths)


def _balance(app: App, before: Balance | None) -> Balance:
    routes = [Route(app.name, _origin(instance)) for instance in dict.fromkeys(app.instances)]
    if before is None:
        return Balance(routes)
    before.follow(routes)
    return before


def _origin(instance: Instance) -> Origin:
    return Origin(instance.scheme, instance.host, instance.port)
