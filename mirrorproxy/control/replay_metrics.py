"""Metrics of a running replay: its ledger so far, its lag and its knob.

Pure: numbers in, text out. They begin at zero with each run. No label comes from
a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from mirrorproxy.control.exposition import Family, counter, gauge, text_of
from mirrorproxy.control.words import State

SHED_REASONS = ("rate", "max_lag", "backoff")
TOKEN_RESULTS = ("granted", "refused", "failed")
"""Shown from the start, so that the first one of them is seen to come."""


class TargetSample(msgspec.Struct, frozen=True, kw_only=True):
    """A target that is backed off from or ramped up. percent: what it is sent of its share."""

    percent: float
    is_paused: bool
    cuts: int


class ReplayScrape(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown.

    run: the name of the replay. started_us: microseconds since 1970. The counts
    are the ledger's. lag_s, latency_s: by quantile, such as "0.99", of all that
    was sent so far; empty before. targets: by name, those with back-off or a ramp.
    """

    run: str
    version: str
    started_us: int
    duplicates: int
    skipped: Mapping[str, int]
    selected: int
    planned: int
    answered: Mapping[str, int]
    failed: Mapping[str, int]
    shed: Mapping[str, int]
    unsent: int
    unreadable: int
    unordered: int
    token_requests: Mapping[str, int]
    resent: int
    in_flight: int
    held: int
    lag_s: Mapping[str, float]
    latency_s: Mapping[str, float]
    rate_percent: float
    state: State
    targets: Mapping[str, TargetSample] = {}


def render_replay(scrape: ReplayScrape) -> str:
    """Return the text that `/metrics` answers."""
    return text_of(
        (
            *_run(scrape),
            *_exchanges(scrape),
            *_shots(scrape),
            *_targets(scrape.targets),
            *_times(scrape),
        )
    )


def _run(scrape: ReplayScrape) -> Iterator[Family]:
    identity = {"run": scrape.run, "version": scrape.version}
    yield Family("replay_info", "gauge", "Which replay this is.", ((identity, 1),))
    yield gauge(
        "replay_start_time_seconds", "When the replay started, since 1970.", scrape.started_us / 1e6
    )
    yield gauge(
        "replay_rate_percent", "The live knob: the share that is sent.", scrape.rate_percent
    )
    yield Family(
        "replay_state",
        "gauge",
        "The live knob: 1 for what the replay does now.",
        tuple(
            ({"state": state}, float(state == scrape.state)) for state in ("run", "pause", "stop")
        ),
    )


def _exchanges(scrape: ReplayScrape) -> Iterator[Family]:
    yield counter("replay_duplicates_total", "Exchanges that came again.", scrape.duplicates)
    yield _by("skipped", "reason", "Exchanges that were not to be sent.", scrape.skipped)
    yield counter("replay_selected_total", "Exchanges that shots were made of.", scrape.selected)
    yield counter(
        "replay_unreadable_total", "Lines and objects that could not be read.", scrape.unreadable
    )


def _shots(scrape: ReplayScrape) -> Iterator[Family]:
    yield counter("replay_planned_total", "Shots that were planned.", scrape.planned)
    yield _by("answered", "class", "Shots that the target answered.", scrape.answered)
    yield _by("failed", "kind", "Shots that got no answer.", scrape.failed)
    shed = dict.fromkeys(SHED_REASONS, 0) | dict(scrape.shed)
    yield _by("shed", "reason", "Shots that were due and not sent.", shed)
    tokens = dict.fromkeys(TOKEN_RESULTS, 0) | dict(scrape.token_requests)
    yield _by("token_requests", "result", "Requests for credentials of the target.", tokens)
    yield counter("replay_resent_total", "Shots sent again with a fresh credential.", scrape.resent)
    yield counter("replay_unsent_total", "Shots whose turn never came.", scrape.unsent)
    yield counter(
        "replay_unordered_total",
        "Shots without order: their session is no single user's.",
        scrape.unordered,
    )
    yield gauge("replay_held", "Shots that wait for others of their session.", scrape.held)
    yield gauge("replay_in_flight", "Shots that wait for their answer.", scrape.in_flight)


def _targets(targets: Mapping[str, TargetSample]) -> Iterator[Family]:
    if not targets:
        return
    for name, kind, text, values in (
        (
            "target_percent",
            "gauge",
            "What back-off and ramps leave of a target's share.",
            {name: one.percent for name, one in targets.items()},
        ),
        (
            "target_paused",
            "gauge",
            "Whether the target gets nothing, or probes alone.",
            {name: float(one.is_paused) for name, one in targets.items()},
        ),
        (
            "backoff_cuts_total",
            "counter",
            "How often less was sent because of how the target answered.",
            {name: float(one.cuts) for name, one in targets.items()},
        ),
    ):
        samples = tuple(({"target": target}, value) for target, value in values.items())
        yield Family(f"replay_{name}", kind, text, samples)


def _times(scrape: ReplayScrape) -> Iterator[Family]:
    for name, text, values in (
        ("lag", "How late shots left, over the whole run.", scrape.lag_s),
        ("latency", "From sending to the whole answer, over the whole run.", scrape.latency_s),
    ):
        samples = tuple(({"quantile": quantile}, value) for quantile, value in values.items())
        yield Family(f"replay_{name}_seconds", "gauge", text, samples)


def _by(name: str, label: str, text: str, counts: Mapping[str, int]) -> Family:
    samples = tuple(({label: value}, float(count)) for value, count in sorted(counts.items()))
    return Family(f"replay_{name}_total", "counter", text, samples)
