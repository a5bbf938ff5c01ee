"""Plans: how long a benchmark run is. Pure values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Say = Callable[[str], None]
"""Takes one line about the progress."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    rounds, seconds: of the side-by-side runs. gauge_rounds, gauge_s: of what has
    many rows. exchanges: sizes of captures and loads. warm_requests: that come
    before memory is looked at, of steady_requests together.
    """

    name: str
    rounds: int
    seconds: int
    gauge_rounds: int
    gauge_s: int
    pacing_s: int
    pacing_rates: tuple[int, ...]
    replay_shots: int
    connections: tuple[int, ...]
    body_sizes: tuple[int, ...]
    exchanges: tuple[int, ...]
    warm_requests: int
    steady_requests: int
    transfer_bytes: int
    idle_connections: int


CONNECTIONS = (1, 10, 100, 1000)
BODIES = (0, 1 << 10, 64 << 10, 1 << 20, 10 << 20)

QUICK = Plan(
    name="quick", rounds=5, seconds=2, gauge_rounds=3, gauge_s=1, pacing_s=3,
    pacing_rates=(500, 2000, 5000), replay_shots=30_000, connections=CONNECTIONS,
    body_sizes=BODIES, exchanges=(10_000, 100_000), warm_requests=30_000,
    steady_requests=120_000, transfer_bytes=1 << 30, idle_connections=10_000,
)  # fmt: skip
FULL = Plan(
    name="full", rounds=5, seconds=5, gauge_rounds=5, gauge_s=3, pacing_s=20,
    pacing_rates=(500, 2000, 5000), replay_shots=100_000, connections=CONNECTIONS,
    body_sizes=BODIES, exchanges=(10_000, 100_000, 1_000_000), warm_requests=30_000,
    steady_requests=300_000, transfer_bytes=1 << 30, idle_connections=10_000,
)  # fmt: skip
TRIAL = Plan(
    name="trial", rounds=1, seconds=1, gauge_rounds=1, gauge_s=1, pacing_s=2, pacing_rates=(500,),
    replay_shots=2_000, connections=(1, 10), body_sizes=(0, 1 << 20), exchanges=(2_000,),
    warm_requests=500, steady_requests=2_000, transfer_bytes=16 << 20, idle_connections=200,
)  # fmt: skip
"""Too short to mean anything: shows that the benchmarks run."""

PLANS = {plan.name: plan for plan in (QUICK, FULL, TRIAL)}
