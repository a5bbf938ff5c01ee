"""What can be changed of a running capture: the shares that it records.

Owns the joining of a supervisor with `control`, for the admin server and for the
keys in Consul.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from mirrorproxy.clock import wall_us
from mirrorproxy.control.endpoint import ControlEndpoint
from mirrorproxy.control.kv_words import KV_CAPTURE_WORDS, OnChange, follower
from mirrorproxy.control.live import CaptureControls, ChangeLog
from mirrorproxy.topology import Topology

log = logging.getLogger(__name__)


class Live(Protocol):
    """What the workers go by just now; see `capture.live`."""

    @property
    def topology(self) -> Topology:
        """The apps that are served."""

    def percent_of(self, service: str, otherwise: float) -> float:
        """Return the share of a service. otherwise: what it says itself."""


class Sharing(Protocol):
    """A supervisor whose workers take other shares while they run."""

    @property
    def live(self) -> Live:
        """What the workers go by just now."""

    def set_percent(self, service: str | None, percent: float | None) -> None:
        """Record another share of a service, or of all, from now on."""


class SupervisorPercents:
    """The shares of one mirror. configured: those of its configuration, by service."""

    def __init__(self, supervisor: Sharing, configured: Mapping[str, float]) -> None:
        self._supervisor = supervisor
        self._configured = configured

    def percents(self) -> Mapping[str, float]:
        """Return the share of each service, and of each app that is served just now."""
        live = self._supervisor.live
        own = dict(self._configured) | {app.name: app.percent for app in live.topology.apps}
        return {name: live.percent_of(name, percent) for name, percent in own.items()}

    def set_percent(self, service: str | None, percent: float) -> None:
        """Record this share of one service from now on, or of all, whatever was said before."""
        if service is None:
            # Otherwise what was said of one service before would still win.
            for name in self.percents():
                self._supervisor.set_percent(name, None)
        self._supervisor.set_percent(service, percent)


class CaptureLive:
    """The live control of one capture, with one memory of who changed what."""

    def __init__(self, supervisor: Sharing, configured: Mapping[str, float]) -> None:
        changes = ChangeLog(log.info, wall_us)
        self._controls = CaptureControls(SupervisorPercents(supervisor, configured), changes)

    def current(self) -> dict[str, object]:
        """Return the shares now and the last changes, for `/status`."""
        return self._controls.current()

    def endpoint(self, *, loopback: bool, token: str | None) -> ControlEndpoint:
        """Return what the admin server serves at `/control`."""
        return ControlEndpoint(self._controls, loopback=loopback, token=token)

    def follower(self, prefix: str) -> OnChange:
        """Return what takes the keys below a prefix; see `kv_words.capture_prefix`."""
        return follower(prefix, KV_CAPTURE_WORDS, self._controls, log.warning)
