"""Back-off: a target whose capacity falls to a third and comes back.

Replays a steady load against a local target with one queue, narrows it after 10 s and
widens it again after 35 s, and reads from the outcomes what was sent, answered and
shed, and when. Prints the figures and, if asked to, draws them.

    python benchmarks/backoff.py [--rate N] [--p95 TIME] [--draw FILE.svg]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import captures
from chart import Line, Panel, draw

from mirrorproxy.units import parse_duration

NARROWED_AT_S, WIDENED_AT_S, ENDS_AT_S = 10.0, 35.0, 60.0
QUEUE = 10_000
BIN_S = 0.5
SETTLED_S = 6.0
"""How long after the change the rate is no longer judged as a reaction to it."""

RULES = """\
version: 1
defaults: {{unmatched: send}}
targets:
  staging:
    url: {url}
    limits: {{concurrency: 1000, timeout: 10s, max_lag: 5s}}
    backoff: {{p95: {p95}}}
"""


class Sent(NamedTuple):
    """One shot: when it left and was answered, in seconds of the replay; None if it was shed."""

    due_s: float
    ended_s: float | None
    latency_s: float
    is_good: bool


class Run(NamedTuple):
    """What one replay showed. The times of the changes are those of the target itself."""

    shots: list[Sent]
    ledger: dict[str, Any]
    narrowed_s: float
    widened_s: float
    lines: list[str]


class Figures(NamedTuple):
    """The figures. All times in seconds after the change that they are about.

    under_s: until the p95 of what is answered is under the limit. good: until the rate is
    back at nine tenths. swing: of the rate while narrowed, from its mean, once settled;
    after: the same once whole again.
    """

    under_s: float
    back_s: float
    swing: float
    after: float
    shed: int
    most_p95_s: float


@contextlib.contextmanager
def _origin(capacity: float) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            sys.executable, str(Path(__file__).with_name("narrow_origin.py")), "0",
            str(capacity), str(QUEUE),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def measure(rate: int, p95: str, scale: float = 1.0) -> Run:
    """Replay once; takes a minute. scale: of all times, for a quick look."""
    capacity = rate * 1.5
    with tempfile.TemporaryDirectory(prefix="backoff-") as name, _origin(capacity) as origin:
        assert origin.stdin is not None
        assert origin.stdout is not None
        folder = Path(name)
        url = f"http://127.0.0.1:{int(origin.stdout.readline())}"
        captures.write(folder / "capture", int(rate * ENDS_AT_S * scale), rate)
        (folder / "rules.yaml").write_text(RULES.format(url=url, p95=p95))
        replay = subprocess.Popen(
            [
                sys.executable, "-m", "mirrorproxy", "replay", str(folder / "capture"),
                "--rules", str(folder / "rules.yaml"), "--out", str(folder / "out"), "--json",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            changed_us = []
            started_s = time.monotonic()
            for at_s, per_s in ((NARROWED_AT_S, capacity / 3), (WIDENED_AT_S, capacity)):
                time.sleep(max(at_s * scale - (time.monotonic() - started_s), 0))
                print(per_s, file=origin.stdin, flush=True)
                changed_us.append(int(origin.stdout.readline()))
            out, err = replay.communicate(timeout=ENDS_AT_S * scale + 60)
        finally:
            if replay.poll() is None:
                replay.kill()
                replay.communicate()
        with (folder / "out" / "outcomes.jsonl").open() as outcomes:
            shots = [json.loads(line) for line in outcomes]
    first_us = min(shot["due_us"] for shot in shots)
    narrowed_s, widened_s = ((us - first_us) / 1e6 for us in changed_us)
    return Run(
        [_sent(shot, first_us) for shot in shots], json.loads(out), narrowed_s, widened_s,
        err.splitlines(),
    )  # fmt: skip


def _sent(shot: dict[str, Any], first_us: int) -> Sent:
    due_s = (shot["due_us"] - first_us) / 1e6
    if "latency_us" not in shot:
        return Sent(due_s, None, 0.0, is_good=False)
    latency_s = shot["latency_us"] / 1e6
    ended_s = due_s + shot["lag_us"] / 1e6 + latency_s
    return Sent(due_s, ended_s, latency_s, is_good=shot.get("status") == 200)


def rates(times: Sequence[float], seconds: float) -> list[tuple[float, float]]:
    """Return how many a second there were, over a second each, in steps of half of one."""
    counts = [0] * (int(seconds / BIN_S) + 2)
    for at_s in times:
        counts[int(at_s / BIN_S)] += 1
    return [
        ((number + 1) * BIN_S, (counts[number] + counts[number + 1]) / (2 * BIN_S))
        for number in range(len(counts) - 3)
    ]


def p95s(shots: Sequence[Sent], seconds: float) -> list[tuple[float, float | None]]:
    """Return the p95 of what was answered in each half second."""
    binned: list[list[float]] = [[] for _ in range(int(seconds / BIN_S) + 30)]
    for shot in shots:
        if shot.ended_s is not None:
            binned[int(shot.ended_s / BIN_S)].append(shot.latency_s)
    return [
        ((number + 1) * BIN_S, sorted(found)[int(len(found) * 0.95)] if found else None)
        for number, found in enumerate(binned[: int(seconds / BIN_S)])
    ]


def figures(run: Run, rate: int, limit_s: float) -> Figures:
    """Return the figures of a run."""
    end_s = max(shot.due_s for shot in run.shots)
    over = [
        at_s for at_s, p95 in p95s(run.shots, end_s)
        if p95 is not None and p95 > limit_s and run.narrowed_s < at_s < run.narrowed_s + SETTLED_S
    ]  # fmt: skip
    sent = rates([shot.due_s for shot in run.shots if shot.ended_s is not None], end_s)
    back = next((at_s for at_s, r in sent if at_s > run.widened_s and r >= 0.9 * rate), end_s)
    narrow = [r for at_s, r in sent if run.narrowed_s + SETTLED_S < at_s < run.widened_s]
    whole = [r for at_s, r in sent if back + 1 < at_s < end_s - 1] or [0.0]
    p95 = [value for _, value in p95s(run.shots, end_s) if value is not None]
    return Figures(
        under_s=max((at_s - run.narrowed_s for at_s in over), default=0.0),
        back_s=back - run.widened_s,
        swing=_swing(narrow),
        after=_swing(whole),
        shed=sum(shot.ended_s is None for shot in run.shots),
        most_p95_s=max(p95),
    )


def _swing(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return max(max(values) - mean, mean - min(values)) / mean if mean else 0.0


def picture(run: Run, rate: int, limit_s: float) -> str:
    """Return the run as SVG."""
    end_s = max(shot.due_s for shot in run.shots)
    sent = rates([shot.due_s for shot in run.shots if shot.ended_s is not None], end_s)
    due = rates([shot.due_s for shot in run.shots], end_s)
    capacity = rate * 1.5
    can = [
        (0.0, capacity), (run.narrowed_s, capacity), (run.narrowed_s, capacity / 3),
        (run.widened_s, capacity / 3), (run.widened_s, capacity), (end_s, capacity),
    ]  # fmt: skip
    p95 = [
        (at_s, None if value is None else value * 1000) for at_s, value in p95s(run.shots, end_s)
    ]
    return draw(
        [
            Panel(
                "requests a second", rate * 1.6,
                [
                    Line("what the target can do", "#999", can, is_dashed=True),
                    Line("due", "#7aa6d8", due), Line("sent", "#c1440e", sent),
                ],
            ),
            Panel(
                "p95 of what was answered, ms", limit_s * 4000,
                [
                    Line("limit", "#999", [(0.0, limit_s * 1000), (end_s, limit_s * 1000)], True),
                    Line("p95", "#2f7d4f", p95),
                ],
            ),
        ],
        end_s,
        [(run.narrowed_s, "a third"), (run.widened_s, "all of it again")],
    )  # fmt: skip


def main() -> int:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--p95", default="250ms")
    parser.add_argument("--draw", metavar="FILE")
    args = parser.parse_args()
    limit_s = parse_duration(args.p95)
    run = measure(args.rate, args.p95)
    found = figures(run, args.rate, limit_s)
    for line in run.lines:
        print(line)
    print(f"ledger: {json.dumps({k: v for k, v in run.ledger.items() if k != 'events'})}")
    print(
        f"p95 under {args.p95} again {found.under_s:.1f} s after the target was narrowed "
        f"(at most {found.most_p95_s * 1000:.0f} ms)\n"
        f"rate back at 90 % {found.back_s:.1f} s after it was widened\n"
        f"rate within {found.swing:.0%} of its mean while narrow, {found.after:.0%} after\n"
        f"shed {found.shed} of {len(run.shots)}; in the ledger: {run.ledger['shed']}"
    )
    if args.draw:
        Path(args.draw).write_text(picture(run, args.rate, limit_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
