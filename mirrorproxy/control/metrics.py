"""Metrics: a mirror's numbers in Prometheus's text format.

Pure: numbers in, text out. Counters go on over restarts, because they live in
the spool. No label comes from a request, so that the number of series is fixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from mirrorproxy.control.exposition import Family, counter, gauge, text_of
from mirrorproxy.metrics import FIELDS
from mirrorproxy.spool.status import ShipperStatus


class WorkerSample(msgspec.Struct, frozen=True, kw_only=True):
    """One worker at this moment. up: serving; restarts: since the mirror started."""

    slot: int
    up: bool
    restarts: int = 0
    open_connections: int = 0
    open_requests: int = 0


class AppSample(msgspec.Struct, frozen=True, kw_only=True):
    """One app of the topology. up: its traffic may come here."""

    name: str
    up: bool
    instances: int = 0


class Scrape(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown.

    ready: whether traffic should be sent here. started_us: when the mirror
    started; now_us: this moment; both microseconds since 1970. totals: the
    fields of `mirrorproxy.metrics`, added up over all slots. shipping: what the
    shipper last said, None before it spoke.
    """

    name: str
    version: str
    ready: bool
    started_us: int
    now_us: int
    totals: Mapping[str, int]
    workers: tuple[WorkerSample, ...] = ()
    apps: tuple[AppSample, ...] = ()
    shipper_up: bool = False
    shipper_restarts: int = 0
    shipping: ShipperStatus | None = None


# Field -> metric name and what it says. A family of fields shares a prefix, and
# what follows the prefix is the value of one label.
_COUNTERS = {
    "seen": ("capture_seen_total", "Requests that a service took."),
    "captured": ("capture_captured_total", "Exchanges recorded in the spool."),
    "sampled": ("capture_sampled_total", "Exchanges left out by percent."),
    "lost": ("capture_lost_total", "Requests in flight when a process was killed."),
    "omitted_unsealable": (
        "capture_bodies_omitted_total",
        "Records with a body left out because it cannot be sealed.",
    ),
    "truncated": ("capture_bodies_truncated_total", "Records with a body that is not whole."),
    "connections": ("proxy_connections_total", "Connections accepted from clients."),
    "upstream_connections": (
        "proxy_upstream_connections_total",
        "Connections opened to upstreams.",
    ),
    "upstream_retries": (
        "proxy_upstream_retries_total",
        "Requests sent again because a kept connection was dead.",
    ),
    "upstream_elsewhere": (
        "proxy_failovers_total",
        "Requests that went to another instance because one could not be connected to.",
    ),
    "set_aside": (
        "proxy_set_aside_total",
        "Times an instance was set aside because it could not be connected to.",
    ),
    "copies": ("tap_copies_total", "Copies of requests that the tap took."),
    "refused": ("proxy_refused_total", "Requests refused because of how they were written."),
    "request_bytes": ("proxy_request_body_bytes_total", "Bytes of request bodies forwarded."),
    "response_bytes": ("proxy_response_body_bytes_total", "Bytes of response bodies forwarded."),
    "tunnels": ("proxy_tunnels_total", "Connections upgraded to another protocol."),
}
_FAMILIES = {
    "filtered_": (
        "capture_filtered_total",
        "reason",
        "Exchanges that a filter left out.",
    ),
    "dropped_": (
        "capture_dropped_total",
        "reason",
        "Exchanges that should have been recorded and were not.",
    ),
    "responses_": ("proxy_responses_total", "class", "Answers of upstreams, by class of status."),
    "failed_": ("proxy_failures_total", "kind", "Requests that got no answer of an upstream."),
}


def render(scrape: Scrape) -> str:
    """Return the text that `/metrics` answers."""
    return text_of(
        (
            *_mirror(scrape),
            *_totals(scrape.totals),
            *_workers(scrape.workers),
            *_apps(scrape.apps),
            *_shipper(scrape),
        )
    )


def _mirror(scrape: Scrape) -> Iterator[Family]:
    identity = {"name": scrape.name, "version": scrape.version}
    yield Family("info", "gauge", "Which mirror this is.", ((identity, 1),))
    yield gauge("ready", "Whether traffic should be sent here.", scrape.ready)
    yield gauge(
        "start_time_seconds", "When the mirror started, since 1970.", scrape.started_us / 1e6
    )


def _totals(totals: Mapping[str, int]) -> Iterator[Family]:
    for field, (name, text) in _COUNTERS.items():
        yield Family(name, "counter", text, (({}, totals[field]),))
    for prefix, (name, label, text) in _FAMILIES.items():
        samples = tuple(
            ({label: field.removeprefix(prefix)}, totals[field])
            for field in FIELDS
            if field.startswith(prefix)
        )
        yield Family(name, "counter", text, samples)


def _workers(workers: Iterable[WorkerSample]) -> Iterator[Family]:
    listed = [({"worker": str(worker.slot)}, worker) for worker in workers]
    for name, kind, text, attribute in (
        ("worker_up", "gauge", "Whether the worker serves.", "up"),
        ("worker_restarts_total", "counter", "Restarts since the mirror started.", "restarts"),
        ("proxy_open_connections", "gauge", "Clients connected.", "open_connections"),
        ("proxy_open_requests", "gauge", "Requests under way.", "open_requests"),
    ):
        samples = tuple((labels, float(getattr(worker, attribute))) for labels, worker in listed)
        yield Family(name, kind, text, samples)


def _apps(apps: Iterable[AppSample]) -> Iterator[Family]:
    listed = [({"app": app.name}, app) for app in apps]
    if not listed:
        return
    for name, text, attribute in (
        ("app_up", "Whether the app's traffic may come here.", "up"),
        ("app_instances", "Healthy instances of the app.", "instances"),
    ):
        samples = tuple((labels, float(getattr(app, attribute))) for labels, app in listed)
        yield Family(name, "gauge", text, samples)


def _shipper(scrape: Scrape) -> Iterator[Family]:
    yield gauge("shipper_up", "Whether the shipper runs.", scrape.shipper_up)
    yield counter(
        "shipper_restarts_total", "Restarts since the mirror started.", scrape.shipper_restarts
    )
    status = scrape.shipping
    if status is None:
        return
    yield counter("shipper_shipped_total", "Records that the sink has taken.", status.shipped)
    yield counter(
        "shipper_quarantined_total",
        "Records that the sink refused for good, kept in the quarantine.",
        status.quarantined,
    )
    yield counter(
        "shipper_discarded_total",
        "Records that the sink refused for good, when the quarantine was full.",
        status.discarded,
    )
    yield counter("shipper_torn_total", "Lines that a crash cut in mid-write.", status.torn)
    yield counter("shipper_retries_total", "Attempts that had to be repeated.", status.retries)
    yield counter(
        "shipper_rejected_total",
        "Packed records that Firehose rejected for the moment, sent again.",
        status.rejected,
    )
    yield counter(
        "shipper_missing_bodies_total",
        "Body objects that were gone when their record was shipped.",
        status.missing_bodies,
    )
    yield gauge("spool_waiting_records", "Records not shipped yet.", status.waiting)
    yield gauge("spool_waiting_bytes", "Bytes not shipped yet.", status.waiting_bytes)
    yield gauge(
        "spool_oldest_age_seconds", "Age of the oldest record not shipped.", status.oldest_age_s
    )
    yield gauge(
        "shipper_delay_seconds",
        "From arrival to shipped, of the last pack.",
        status.delay_s,
    )
    yield gauge("shipper_failing", "Whether the sink or the spool fails now.", bool(status.error))
    yield gauge(
        "shipper_status_age_seconds",
        "How long ago the shipper said so; grows when it hangs.",
        max(0, scrape.now_us - status.updated_us) / 1e6,
    )
