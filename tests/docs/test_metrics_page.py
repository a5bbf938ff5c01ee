"""docs/metrics.md names every metric that a mirror shows, and no other."""

from __future__ import annotations

import re

from pages import ROOT

from mirrorproxy.control.metrics import AppSample, Scrape, WorkerSample, render
from mirrorproxy.control.replay_metrics import ReplayScrape, TargetSample, render_replay
from mirrorproxy.metrics import FIELDS
from mirrorproxy.spool.status import ShipperStatus

PAGE = ROOT / "docs/metrics.md"


def shown() -> list[tuple[str, str, str, str]]:
    """Return (name, type, labels, text) of every metric, in the order of /metrics."""
    text = render(
        Scrape(
            name="m",
            version="1",
            ready=True,
            started_us=0,
            now_us=0,
            totals=dict.fromkeys(FIELDS, 0),
            workers=(WorkerSample(slot=0, up=True),),
            apps=(AppSample(name="orders", up=True),),
            shipping=ShipperStatus(updated_us=0),
        )
    ) + render_replay(
        ReplayScrape(
            run="r",
            version="1",
            started_us=0,
            duplicates=0,
            skipped={"rule": 0},
            selected=0,
            planned=0,
            answered={"2xx": 0},
            failed={"reset": 0},
            shed={},
            unsent=0,
            unreadable=0,
            unordered=0,
            token_requests={},
            resent=0,
            in_flight=0,
            held=0,
            lag_s={"0.5": 0},
            latency_s={"0.5": 0},
            rate_percent=100,
            state="run",
            targets={"staging": TargetSample(percent=50, is_paused=False, cuts=1)},
        )
    )
    found = []
    for name, words, kind, sample in re.findall(
        r"# HELP (\S+) (.+)\n# TYPE \S+ (\S+)\n(.*)\n", text
    ):
        labels = ", ".join(re.findall(r'(\w+)="', sample))
        found.append((name, kind, labels, words))
    return found


def test_the_page_lists_every_metric():
    """With its type, labels and meaning, as /metrics says it."""
    rows = re.findall(
        r"^\| `(mirrorproxy_\w+)` \| (\w+) \| ([^|]*?) ?\| (.+) \|$", PAGE.read_text(), re.M
    )
    documented = [
        (name, kind, labels.replace("`", ""), words) for name, kind, labels, words in rows
    ]
    assert documented == shown()


def test_alerts_are_on_metrics_that_exist():
    """An alert on a misspelt name never fires."""
    named = set(re.findall(r"\bmirrorproxy_\w+", PAGE.read_text()))
    assert named <= {name for name, *_ in shown()}
