"""The text that Prometheus scrapes of a replay."""

from __future__ import annotations

from mirrorproxy.control.replay_metrics import ReplayScrape, TargetSample, render_replay


def scrape(**changes: object) -> str:
    values: dict[str, object] = {
        "run": "r1", "version": "1", "started_us": 1_700_000_000_500_000, "duplicates": 1,
        "skipped": {"rule": 2}, "selected": 3, "planned": 4, "answered": {"2xx": 5},
        "failed": {"reset": 6}, "shed": {"max_lag": 7}, "unsent": 8, "unreadable": 9,
        "unordered": 13, "token_requests": {"granted": 11}, "resent": 12,
        "in_flight": 10, "held": 11, "lag_s": {"0.99": 0.0015}, "latency_s": {},
        "rate_percent": 12.5, "state": "pause",
    }  # fmt: skip
    return render_replay(ReplayScrape(**(values | changes)))


def test_every_number_is_shown():
    """Each in its own series."""
    lines = scrape().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'mirrorproxy_replay_info{run="r1",version="1"} 1',
        "mirrorproxy_replay_start_time_seconds 1700000000.5",
        "mirrorproxy_replay_rate_percent 12.5",
        'mirrorproxy_replay_state{state="run"} 0',
        'mirrorproxy_replay_state{state="pause"} 1',
        'mirrorproxy_replay_state{state="stop"} 0',
        "mirrorproxy_replay_duplicates_total 1",
        'mirrorproxy_replay_skipped_total{reason="rule"} 2',
        "mirrorproxy_replay_selected_total 3",
        "mirrorproxy_replay_unreadable_total 9",
        "mirrorproxy_replay_planned_total 4",
        'mirrorproxy_replay_answered_total{class="2xx"} 5',
        'mirrorproxy_replay_failed_total{kind="reset"} 6',
        'mirrorproxy_replay_shed_total{reason="backoff"} 0',
        'mirrorproxy_replay_shed_total{reason="max_lag"} 7',
        'mirrorproxy_replay_shed_total{reason="rate"} 0',
        'mirrorproxy_replay_token_requests_total{result="failed"} 0',
        'mirrorproxy_replay_token_requests_total{result="granted"} 11',
        'mirrorproxy_replay_token_requests_total{result="refused"} 0',
        "mirrorproxy_replay_resent_total 12",
        "mirrorproxy_replay_unsent_total 8",
        "mirrorproxy_replay_unordered_total 13",
        "mirrorproxy_replay_held 11",
        "mirrorproxy_replay_in_flight 10",
        'mirrorproxy_replay_lag_seconds{quantile="0.99"} 0.0015',
    ]


def test_targets_that_are_backed_off_from_are_shown():
    """How much they are sent, whether they are paused, and how often they were cut."""
    staging = TargetSample(percent=12.5, is_paused=True, cuts=3)
    lines = scrape(targets={"staging": staging}).splitlines()
    assert [line for line in lines if line.startswith("mirror") and "target=" in line] == [
        'mirrorproxy_replay_target_percent{target="staging"} 12.5',
        'mirrorproxy_replay_target_paused{target="staging"} 1',
        'mirrorproxy_replay_backoff_cuts_total{target="staging"} 3',
    ]


def test_a_replay_that_has_sent_nothing_has_its_metrics():
    """Nothing was timed, so there is nothing to show, and the text is still whole."""
    text = scrape(lag_s={}, answered={}, failed={}, shed={}, skipped={})
    assert text.count("# HELP ") == text.count("# TYPE ") == 20
    assert text.endswith("\n")
