"""Following: a worker takes over what its supervisor says while it runs.

Owns the step from values to what the data plane works with, taken between two
requests: what is under way goes on as it began. Nothing said here can stop a
worker; what cannot be used leaves everything as it was.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from mirrorproxy.capture.apps import Table, make_table
from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.live import Live, decode
from mirrorproxy.capture.recorder import Sealing, ServicePolicy
from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.http1.origin import Origin
from mirrorproxy.topology import App

log = logging.getLogger(__name__)

_MAX_SECRET_NAME = 256


class Plane(Protocol):
    """Where requests are looked up; see `proxy.Proxy`."""

    def use(self, table: Table) -> None:
        """Look requests up here from now on."""


class Recorder(Protocol):
    """What is recorded; see `recorder.Recorder`."""

    def set_policy(self, service: str, policy: ServicePolicy) -> None:
        """Change what is recorded of a service."""


class Pool(Protocol):
    """Connections to instances; see `http1.pool.Pool`."""

    def keep_only(self, origins: Collection[Origin]) -> None:
        """Close idle connections to all others."""


class AppFollower:
    """Applies what is said to one worker.

    static: the routes of configured services. policies: theirs, by name.
    sealing_of: makes what seals further names. table: where requests are looked up now.
    """

    def __init__(
        self,
        plane: Plane,
        recorder: Recorder,
        pool: Pool,
        *,
        static: Sequence[Route],
        policies: Mapping[str, ServicePolicy],
        sealing_of: Callable[[tuple[str, ...]], Sealing],
    ) -> None:
        self._plane = plane
        self._recorder = recorder
        self._pool = pool
        self._static = tuple(static)
        self._policies = dict(policies)
        self._sealing_of = sealing_of
        self._sealings: dict[tuple[str, ...], Sealing] = {}
        self.table = Table(Routes(static))

    def hear(self, data: bytes) -> None:
        """Apply what came over the control socket; what cannot be used is logged."""
        try:
            self.apply(decode(data))
        except Exception:
            # A worker that serves what it knew is worth more than one that dies.
            log.exception("a change of the topology is not followed")

    def apply(self, live: Live) -> None:
        """Serve these apps and record these shares from the next request on."""
        apps = live.topology.apps
        table = make_table(self._static, apps, self.table)
        # First what is recorded: no request may find its app before its secrets are known.
        # Apps that are gone keep theirs, for what is under way.
        for service, policy in self._policies.items():
            percent = live.percent_of(service, policy.percent)
            self._recorder.set_policy(service, dataclasses.replace(policy, percent=percent))
        sealings = dict(self._sealings)
        self._sealings = {}
        for app in apps:
            if app.name in table.balances:
                policy = self._policy(app, live, sealings)
                self._recorder.set_policy(app.name, policy)
        self.table = table
        self._plane.use(table)
        self._pool.keep_only(table.origins())

    def _policy(
        self, app: App, live: Live, sealings: Mapping[tuple[str, ...], Sealing]
    ) -> ServicePolicy:
        percent = min(100.0, max(0.0, live.percent_of(app.name, app.percent)))
        try:
            filters = Filters(include=app.record_paths)
        except ValueError as error:
            log.warning("nothing of app %s is recorded: %s", app.name, error)
            filters, percent = Filters(), 0.0
        return ServicePolicy(
            filters=filters,
            percent=percent,
            percent_by=app.percent_by,
            response_body=app.response_body,
            sealing=self._sealing(app.seal, sealings),
        )

    def _sealing(
        self, names: tuple[str, ...], before: Mapping[tuple[str, ...], Sealing]
    ) -> Sealing | None:
        secret = tuple(
            sorted({name.lower() for name in names if 0 < len(name) <= _MAX_SECRET_NAME})
        )
        if not secret:
            return None
        sealing = self._sealings.get(secret) or before.get(secret) or self._sealing_of(secret)
        self._sealings[secret] = sealing
        return sealing
