"""What `/metrics` shows of a running capture: its reports, put into the form of metrics."""

from __future__ import annotations

from mirrorproxy.capture.reports import MirrorReports
from mirrorproxy.clock import wall_us
from mirrorproxy.control.metrics import AppSample, Scrape, WorkerSample, render


def metrics_text(reports: MirrorReports) -> str:
    """Return a mirror's numbers at this moment in Prometheus's text format."""
    shipper = reports.supervisor.shipper_status()
    return render(
        Scrape(
            name=reports.identity.name,
            version=reports.identity.version,
            ready=not reports.unready(),
            started_us=reports.identity.started_us,
            now_us=wall_us(),
            totals=reports.counters.totals(),
            workers=tuple(
                WorkerSample(
                    slot=worker.slot,
                    up=worker.state == "ready",
                    restarts=worker.restarts,
                    open_connections=worker.open_connections,
                    open_requests=worker.open_requests,
                )
                for worker in reports.supervisor.worker_statuses()
            ),
            apps=tuple(
                AppSample(name=app.name, up=not app.unready, instances=len(app.instances))
                for app in reports.apps()
            ),
            shipper_up=shipper.state == "ready",
            shipper_restarts=shipper.restarts,
            shipping=reports.shipping(),
        )
    )
