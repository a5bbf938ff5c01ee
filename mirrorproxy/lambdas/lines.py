"""What the functions log: their ledger, as metrics of CloudWatch and as a line to read.

Pure but for `say`. The embedded metric format is one line of JSON on standard output; CloudWatch
makes metrics of it by itself (CloudWatch User Guide, embedded metric format specification).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from mirrorproxy.replay.histogram import Histogram

MAX_VALUES = 100
"""So many values a metric may have in one line (embedded metric format specification)."""

_PER_MS = 1000


def say(line: str) -> None:
    """Write one line where CloudWatch Logs takes it from; what cannot be shown is escaped."""
    # Keys of objects and events are others' texts: none of them begins a line of its own.
    shown = line if line.isprintable() else line.encode("unicode_escape").decode()
    sys.stdout.write(f"{shown}\n")
    sys.stdout.flush()


def metrics_line(
    namespace: str,
    function: str,
    at_ms: int,
    counts: Mapping[str, int],
    times_ms: Mapping[str, Sequence[float]] | None = None,
) -> str:
    """Return the line that makes metrics. times_ms: those that have values are left in."""
    timed = {name: values for name, values in (times_ms or {}).items() if values}
    metrics = [{"Name": name, "Unit": "Count"} for name in counts]
    metrics += [{"Name": name, "Unit": "Milliseconds"} for name in timed]
    directive = {"Namespace": namespace, "Dimensions": [["Function"]], "Metrics": metrics}
    line = {
        "_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]},
        "Function": function,
        **counts,
        **timed,
    }
    return json.dumps(line, separators=(",", ":"))


def spread_values(histogram: Histogram) -> list[float]:
    """Return at most MAX_VALUES times in milliseconds that stand for all that were counted.

    They are percentiles at equal distances: so CloudWatch's own percentiles come out right.
    """
    wanted = min(histogram.count, MAX_VALUES)
    values = [histogram.percentile(100 * (at + 1) / wanted) for at in range(wanted)]
    return [value / _PER_MS for value in values if value is not None]
