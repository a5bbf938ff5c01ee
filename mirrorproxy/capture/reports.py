"""What a running mirror tells about itself: readiness, status, the ledger.

Reads counters, the supervisor and the shipper's status file; changes nothing.
Upstreams are shown without anything secret: their URLs can hold no password.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from mirrorproxy.capture.apps import problem
from mirrorproxy.capture.ledger import CaptureLedger, Shipped, build_ledger
from mirrorproxy.capture.prober import Prober
from mirrorproxy.capture.settings import ServiceSettings
from mirrorproxy.capture.slots import spool_totals
from mirrorproxy.capture.staff import ShipperProcess, WorkerStatus
from mirrorproxy.capture.supervisor import Supervisor
from mirrorproxy.http1.origin import Origin
from mirrorproxy.metrics import CounterFile
from mirrorproxy.spool.segment import SEGMENTS
from mirrorproxy.spool.status import ShipperStatus, read_status
from mirrorproxy.topology import AppMode, Topology


class Identity(msgspec.Struct, frozen=True):
    """What stays the same while a mirror runs. kept: names recorded in the clear by choice.

    tap: where copies are taken, None without a tap.
    """

    name: str
    version: str
    started_us: int
    listen: str
    to: str
    spool: str
    services: tuple[ServiceSettings, ...]
    seal_key_id: str
    kept: tuple[str, ...]
    tap: str | None = None


class AppStatus(msgspec.Struct, frozen=True):
    """One app as `/status` shows it.

    instances: URLs. percent: the share that is recorded. problem: why it cannot be
    served as it is described. unready: why its traffic should not come here.
    """

    name: str
    mode: AppMode
    instances: list[str]
    percent: float
    problem: str | None
    unready: list[str]


class MirrorStatus(msgspec.Struct, frozen=True):
    """The answer of `/status`.

    apps: of the topology. control: what whoever watches for apps says of itself,
    None where nobody does. live: what was changed while it runs, and by whom.
    shipping: what the shipper last said, None before it spoke.
    """

    mirror: Identity
    unready: list[str]
    ledger: CaptureLedger
    apps: list[AppStatus]
    control: object
    live: object
    workers: list[WorkerStatus]
    shipper: ShipperProcess
    shipping: ShipperStatus | None


class MirrorReports:
    """The reports of one mirror.

    prober: what it found of the apps. render: the text of all metrics, from the
    numbers given. control: what whoever watches for apps says of itself.
    """

    def __init__(
        self,
        identity: Identity,
        supervisor: Supervisor,
        counters: CounterFile,
        prober: Prober,
        render: Callable[[MirrorReports], str],
        control: Callable[[], object] = lambda: None,
        live: Callable[[], object] = lambda: None,
    ) -> None:
        self.identity = identity
        self.supervisor = supervisor
        self.counters = counters
        self._prober = prober
        self._render = render
        self._control = control
        self._judged: tuple[Topology, dict[str, str | None]] = (Topology(), {})
        self._live = live
        self._services = [service.name for service in identity.services]
        self._spool = Path(identity.spool)

    def unready(self) -> list[str]:
        """Return why traffic should not be sent here."""
        reasons = self.supervisor.unready()
        if not os.access(self._spool / SEGMENTS, os.W_OK):
            reasons.append("the spool cannot be written")
        return reasons

    def app_unready(self, name: str) -> list[str] | None:
        """Return why an app's traffic should not come here, None for an app that is not known."""
        reasons = self._prober.unready(name)
        if reasons is None:
            return None
        if self.supervisor.is_leaving:
            reasons = ["draining", *reasons]
        elif not any(worker.state == "ready" for worker in self.supervisor.worker_statuses()):
            reasons = ["no worker is ready", *reasons]
        wrong = self._problems().get(name)
        return [wrong, *reasons] if wrong is not None else reasons

    def apps(self) -> list[AppStatus]:
        """Return every app of the topology."""
        live = self.supervisor.live
        return [
            AppStatus(
                name=app.name,
                mode=app.mode,
                instances=[str(Origin(one.scheme, one.host, one.port)) for one in app.instances],
                percent=live.percent_of(app.name, app.percent),
                problem=self._problems()[app.name],
                unready=self.app_unready(app.name) or [],
            )
            for app in live.topology.apps
        ]

    def _problems(self) -> dict[str, str | None]:
        """Return what is wrong with each app; looked for once in each topology."""
        topology, problems = self._judged
        if topology is not self.supervisor.live.topology:
            topology = self.supervisor.live.topology
            problems = {app.name: problem(app, self._services) for app in topology.apps}
            self._judged = (topology, problems)
        return problems

    def metrics(self) -> str:
        """Return all counters in Prometheus's text format."""
        return self._render(self)

    def shipping(self) -> ShipperStatus | None:
        """Return what the shipper last said."""
        return read_status(self._spool)

    def status(self) -> MirrorStatus:
        """Return everything at once."""
        shipping = self.shipping()
        return MirrorStatus(
            mirror=self.identity,
            unready=self.unready(),
            ledger=self.ledger(shipping),
            apps=self.apps(),
            control=self._control(),
            live=self._live(),
            workers=self.supervisor.worker_statuses(),
            shipper=self.supervisor.shipper_status(),
            shipping=shipping,
        )

    def ledger(self, shipping: ShipperStatus | None) -> CaptureLedger:
        """Return the ledger of a mirror that runs."""
        shipped = Shipped()
        if shipping:
            shipped = Shipped(
                shipped=shipping.shipped,
                waiting=shipping.waiting,
                quarantined=shipping.quarantined,
                discarded=shipping.discarded,
                torn=shipping.torn,
            )
        return build_ledger(self.counters.totals(), shipped, final=False)

    def final_ledger(self) -> CaptureLedger:
        """Return the ledger once every process has ended, from the spool itself.

        Raises OSError if the spool cannot be read.
        """
        return build_ledger(self.counters.totals(), spool_totals(self._spool), final=True)
