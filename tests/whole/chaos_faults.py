"""The faults that behind_traefik.py brings about, each with what is promised of it.

A scenario takes a folder, Consul's program and how long calm lasts around the fault in
seconds, and returns figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chaos_ground import Figures, Ground, figures, speed
from support.joined_mirror import Mirror, exchanges, targets

Scenario = Callable[[Path, str, float], Figures]

THREE = ("orders", "shop", "pay")
SILENT_S = 10.0
"""After which a client gives a hung request up."""


def kill(
    mode: str, apps: tuple[str, ...] = ("orders",), *, throttle: str | None = None
) -> Scenario:
    """kill -9 of every process of the mirror at once. throttle: of Traefik's, another than ours."""

    def scenario(folder: Path, program: str, calm_s: float) -> Figures:
        with Ground(folder, program, mode, apps=apps, throttle=throttle) as ground:
            with ground.load() as load:
                load.run_for(calm_s)
                began, moment = ground.mirror.kill_all()
                load.run_for(calm_s + 3)
                load.finish()
        named = "kill -9 of the mirror"
        if len(apps) > 1:
            named += f", which serves {len(apps)} apps"
        if throttle:
            named += f" (providersThrottleDuration {throttle})"
        made = figures(named, ground, load.sent, moment, began=began)
        if throttle:
            made.expect(made.back_s < 4, f"served again after {made.back_s:.2f} s")
        elif mode == "inline":
            made.expect(made.back_s < 2, f"served again after {made.back_s:.2f} s")
        elif mode == "pooled":
            made.expect(made.beyond == 0, f"{made.beyond} failed that were sent later")
        else:
            made.expect(made.failed == 0, f"{made.failed} failed")
        return made

    return scenario


def hang(mode: str, *, everything: bool) -> Scenario:
    """SIGSTOP of one worker, or of every process, for longer than a client waits."""

    def scenario(folder: Path, program: str, calm_s: float) -> Figures:
        with Ground(folder, program, mode) as ground:
            with ground.load(timeout_s=SILENT_S) as load:
                load.run_for(calm_s)
                pids = ground.mirror.pids() if everything else ground.mirror.workers()[:1]
                with ground.mirror.stopped(pids) as moment:
                    load.run_for(SILENT_S + 3 if everything else 5)
                load.run_for(calm_s + 2)
                load.finish()
        what = "every process" if everything else "a worker"
        made = figures(f"SIGSTOP of {what}", ground, load.sent, moment)
        if mode == "tap":
            made.expect(made.failed == 0, f"{made.failed} failed")
        else:
            made.expect(made.back_s < 4, f"served again after {made.back_s:.2f} s")
        return made

    return scenario


def rolling_update(mode: str) -> Scenario:
    """Two mirrors are ended and started again, one after the other."""

    def scenario(folder: Path, program: str, calm_s: float) -> Figures:
        # In the short form they leave sooner; Traefik lets go after 0.2 s.
        is_short = calm_s < 2
        options, workers = (("--drain-wait", "1s"), 1) if is_short else ((), 2)
        with Ground(folder, program, mode, mirrors=2, options=options, workers=workers) as ground:
            with ground.load() as load:
                load.run_for(calm_s)
                moment = time.monotonic()
                ledgers = []
                for mirror in ground.mirrors:
                    ledgers.append(mirror.end())
                    mirror.start()
                    ground.wait_among(mirror)
                    load.run_for(calm_s / 2)
                over_s = time.monotonic() - moment
                load.run_for(calm_s)
                load.finish()
            with ThreadPoolExecutor() as pool:
                ledgers += pool.map(Mirror.end, ground.mirrors)
        made = figures("rolling update of two mirrors", ground, load.sent, moment, lasts_s=over_s)
        found = count_captured(made, ground)
        made.expect(made.failed == 0, f"{made.failed} failed")
        if mode == "inline":
            missing = {one.target for one in load.sent} - found
            made.expect(not missing, f"{len(missing)} were not captured")
        ill = [one for one in ledgers if one["exit"] or not one["balanced"]]
        made.expect(not ill, f"{len(ill)} ledgers are not in order")
        return made

    return scenario


def consul_away(seconds: float, quick_s: float) -> Scenario:
    """Consul is stopped, forgets everything, and is started again; 0 s is a restart."""

    def scenario(folder: Path, program: str, calm_s: float) -> Figures:
        away_s = seconds if calm_s >= 3 else quick_s
        with Ground(folder, program, "inline") as ground:
            with ground.load() as load:
                load.run_for(calm_s)
                moment = time.monotonic()
                ground.consul.stop()
                load.run_for(away_s)
                ground.consul.start()
                back = time.monotonic()
                while not ground.consul.healthy("mirror-orders"):
                    time.sleep(0.02)
                    assert time.monotonic() < back + 30, "the mirror is not registered again"
                registered_s = time.monotonic() - back
                load.run_for(max(calm_s, 3))
                load.finish()
            ledger = ground.mirror.end()
        named = f"Consul stopped for {away_s:g} s" if away_s else "Consul restarted"
        made = figures(named, ground, load.sent, moment, lasts_s=away_s + 3)
        found = count_captured(made, ground)
        made.expect(made.failed == 0, f"{made.failed} failed")
        made.expect(registered_s < 5, f"registered again after {registered_s:.1f} s")
        made.expect(ledger["exit"] == 0, "the mirror's ledger is not in order")
        missing = len({one.target for one in load.sent} - found)
        made.note = f"healthy again {registered_s:.1f} s after Consul was back"
        if missing:
            made.note += f"; {missing} served by the app's own router"
        return made

    return scenario


def tag_set(mode: str) -> Scenario:
    """The tag is set under load and removed again: before, without a mirror; later, with it."""

    def scenario(folder: Path, program: str, calm_s: float) -> Figures:
        with Ground(folder, program, mode, tagged=False) as ground:
            with ground.load() as load:
                load.run_for(calm_s + 1)
                moment, moment_us = time.monotonic(), time.time_ns() // 1000
                ground.tag()
                ground.wait_mirrored()
                over_s = time.monotonic() - moment
                load.run_for(calm_s)
                off = time.monotonic()
                ground.untag()
                gone_s = ground.wait_unrouted() - off
                load.run_for(1)
                load.finish()
            ledger = ground.mirror.end()
        found = exchanges(ground.mirror.to)
        made = figures("the tag is set, and removed", ground, load.sent, moment, lasts_s=over_s)
        made.after = speed(load.between(moment + over_s, off))
        count_captured(made, ground)
        on_s = (found[0].started_us - moment_us) / 1e6
        made.note = f"recorded after {on_s:.2f} s, out of the way {gone_s:.2f} s after its removal"
        made.expect(made.failed == 0, f"{made.failed} failed")
        made.expect(on_s < 3, "recorded too late")
        made.expect(gone_s < 3, "out of the way too late")
        made.expect(ledger["exit"] == 0, "the mirror's ledger is not in order")
        return made

    return scenario


def count_captured(made: Figures, ground: Ground) -> set[str]:
    """Count what the mirrors captured of the load; return the targets."""
    found = targets(*(mirror.to for mirror in ground.mirrors))
    del found["/warm"]
    made.captured = found.total()
    twice = sum(count > 1 for count in found.values())
    made.expect(not twice, f"{twice} were captured twice")
    return set(found)


SCENARIOS: dict[str, Scenario] = {
    "tag-inline": tag_set("inline"),
    "tag-pooled": tag_set("pooled"),
    "tag-tap": tag_set("tap"),
    "kill-inline": kill("inline"),
    "kill-inline-3": kill("inline", THREE),
    "kill-inline-3-default": kill("inline", THREE, throttle="2s"),
    "kill-pooled": kill("pooled"),
    "kill-tap": kill("tap"),
    "hang-worker-inline": hang("inline", everything=False),
    "hang-worker-pooled": hang("pooled", everything=False),
    "hang-worker-tap": hang("tap", everything=False),
    "hang-all-inline": hang("inline", everything=True),
    "hang-all-pooled": hang("pooled", everything=True),
    "hang-all-tap": hang("tap", everything=True),
    "update-inline": rolling_update("inline"),
    "update-pooled": rolling_update("pooled"),
    "consul-restart": consul_away(0, 0),
    "consul-away": consul_away(60, 20),
}
