"""What a running mirror tells about itself: readiness, status, the ledger.

Reads counters, the supervisor and the shipper's status file; changes nothing.
Upstreams are shown without anything secret: their URLs can hold no password.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from mirrorproxy.capture.ledger import CaptureLedger, Shipped, build_ledger
from mirrorproxy.capture.settings import ServiceSettings
from mirrorproxy.capture.slots import spool_totals
from mirrorproxy.capture.supervisor import ShipperProcess, Supervisor, WorkerStatus
from mirrorproxy.metrics import CounterFile
from mirrorproxy.spool.segment import SEGMENTS
from mirrorproxy.spool.status import ShipperStatus, read_status


class Identity(msgspec.Struct, frozen=True):
    """What stays the same while a mirror runs. kept: names recorded in the clear by choice."""

    name: str
    version: str
    started_us: int
    listen: str
    to: str
    spool: str
    services: tuple[ServiceSettings, ...]
    seal_key_id: str
    kept: tuple[str, ...]


class MirrorStatus(msgspec.Struct, frozen=True):
    """The answer of `/status`. shipping: what the shipper last said, None before it spoke."""

    mirror: Identity
    unready: list[str]
    ledger: CaptureLedger
    workers: list[WorkerStatus]
    shipper: ShipperProcess
    shipping: ShipperStatus | None


class MirrorReports:
    """The reports of one mirror. render: the text of all metrics, from the numbers given."""

    def __init__(
        self,
        identity: Identity,
        supervisor: Supervisor,
        counters: CounterFile,
        render: Callable[[MirrorReports], str],
    ) -> None:
        self.identity = identity
        self.supervisor = supervisor
        self.counters = counters
        self._render = render
        self._spool = Path(identity.spool)

    def unready(self) -> list[str]:
        """Return why traffic should not be sent here."""
        reasons = self.supervisor.unready()
        if not os.access(self._spool / SEGMENTS, os.W_OK):
            reasons.append("the spool cannot be written")
        return reasons

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
