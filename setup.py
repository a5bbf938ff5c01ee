"""How the hot modules are compiled; everything else about the package is in pyproject.toml.

mypyc turns typed modules into C: the proxy then needs about half the CPU a request. The
sources stay what runs without it: where there is no compiler, in an editable
installation, or with MIRRORPROXY_COMPILE=0. MIRRORPROXY_COMPILE=1 fails instead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent

HOT = (
    "mirrorproxy/clock.py",
    "mirrorproxy/codec.py",
    "mirrorproxy/headers.py",
    "mirrorproxy/http1/body.py",
    "mirrorproxy/http1/client.py",
    "mirrorproxy/http1/deadlines.py",
    "mirrorproxy/http1/grammar.py",
    "mirrorproxy/http1/handler.py",
    "mirrorproxy/http1/heads.py",
    "mirrorproxy/http1/lines.py",
    "mirrorproxy/http1/messages.py",
    "mirrorproxy/http1/pool.py",
    "mirrorproxy/http1/refusal.py",
    "mirrorproxy/http1/server.py",
    "mirrorproxy/http1/service.py",
    "mirrorproxy/keys.py",
    "mirrorproxy/metrics.py",
    "mirrorproxy/members.py",
    "mirrorproxy/capture/apps.py",
    "mirrorproxy/capture/assemble.py",
    "mirrorproxy/capture/balance.py",
    "mirrorproxy/capture/balanced.py",
    "mirrorproxy/capture/breaker.py",
    "mirrorproxy/capture/copies.py",
    "mirrorproxy/capture/filters.py",
    "mirrorproxy/capture/paths.py",
    "mirrorproxy/capture/seal_form.py",
    "mirrorproxy/capture/seal_policy.py",
    "mirrorproxy/spool/room.py",
    "mirrorproxy/spool/tail.py",
    "mirrorproxy/capture/facts.py",
    "mirrorproxy/capture/flow.py",
    "mirrorproxy/capture/lines.py",
    "mirrorproxy/capture/proxy.py",
    "mirrorproxy/capture/recorder.py",
    "mirrorproxy/capture/routes.py",
    "mirrorproxy/capture/seal.py",
    "mirrorproxy/capture/seal_body.py",
    "mirrorproxy/capture/seal_heads.py",
    "mirrorproxy/capture/seal_text.py",
    "mirrorproxy/capture/seal_values.py",
    "mirrorproxy/capture/tap.py",
    "mirrorproxy/capture/tee.py",
    "mirrorproxy/spool/segment.py",
    "mirrorproxy/marks.py",
    "mirrorproxy/remembered.py",
    "mirrorproxy/correlation/affinity.py",
    "mirrorproxy/correlation/answered_body.py",
    "mirrorproxy/correlation/answered_values.py",
    "mirrorproxy/correlation/carried.py",
    "mirrorproxy/correlation/carried_json.py",
    "mirrorproxy/correlation/learned.py",
    "mirrorproxy/correlation/likeness.py",
    "mirrorproxy/correlation/links.py",
    "mirrorproxy/correlation/reference.py",
    "mirrorproxy/replay/ahead.py",
    "mirrorproxy/replay/answer.py",
    "mirrorproxy/replay/apart.py",
    "mirrorproxy/replay/awaited.py",
    "mirrorproxy/replay/backoff.py",
    "mirrorproxy/replay/comparer.py",
    "mirrorproxy/replay/correlate.py",
    "mirrorproxy/replay/departures.py",
    "mirrorproxy/replay/engine.py",
    "mirrorproxy/replay/flight.py",
    "mirrorproxy/replay/given.py",
    "mirrorproxy/replay/guard.py",
    "mirrorproxy/replay/held.py",
    "mirrorproxy/replay/histogram.py",
    "mirrorproxy/replay/intake.py",
    "mirrorproxy/replay/lane.py",
    "mirrorproxy/replay/ledger.py",
    "mirrorproxy/replay/order.py",
    "mirrorproxy/replay/outcomes.py",
    "mirrorproxy/replay/runner.py",
    "mirrorproxy/replay/signs.py",
    "mirrorproxy/replay/valve.py",
    "mirrorproxy/report/alike.py",
    "mirrorproxy/report/body_diff.py",
    "mirrorproxy/report/compare.py",
    "mirrorproxy/report/groups.py",
    "mirrorproxy/report/head_diff.py",
    "mirrorproxy/report/shapes.py",
    "mirrorproxy/report/spread.py",
    "mirrorproxy/report/structure.py",
    "mirrorproxy/rules/auth.py",
    "mirrorproxy/rules/facts.py",
    "mirrorproxy/rules/heads.py",
    "mirrorproxy/rules/late.py",
    "mirrorproxy/rules/lineage.py",
    "mirrorproxy/rules/match.py",
    "mirrorproxy/rules/offered.py",
    "mirrorproxy/rules/offers.py",
    "mirrorproxy/rules/plan.py",
    "mirrorproxy/rules/rewrite.py",
    "mirrorproxy/rules/ruleset.py",
    "mirrorproxy/rules/session.py",
    "mirrorproxy/rules/unseal.py",
    "mirrorproxy/sources/feed.py",
    "mirrorproxy/sources/merge.py",
    "mirrorproxy/sources/recent.py",
)
"""What runs for every request. What msgspec reads from outside (settings, limits, records)
stays Python: it needs the annotations, which compiled classes do not have."""


def extensions() -> list[Extension]:
    """Return the modules to compile; none where they are to stay Python."""
    wanted = os.environ.get("MIRRORPROXY_COMPILE", "auto")
    # An editable installation would go on running what was compiled before the last edit.
    if wanted == "0" or (wanted == "auto" and "editable_wheel" in sys.argv):
        return []
    try:
        from mypyc.build import mypycify  # noqa: PLC0415 - where it is not installed, we do without
    except ImportError:
        if wanted == "1":
            raise
        return []
    try:
        built: list[Extension] = mypycify(
            ["--config-file", str(HERE / "pyproject.toml"), *HOT],
            opt_level="3",
            debug_level="0",
            group_name="mirrorproxy",
        )
    except SystemExit:  # what it found is on standard output
        if wanted == "1":
            raise
        print("mirrorproxy: nothing is compiled, it will run as Python", file=sys.stderr)
        return []
    for extension in built:
        extension.optional = wanted != "1"
    return built


setup(ext_modules=extensions())
