"""The ledger adds up, or says that it does not."""

from __future__ import annotations

import pytest

from mirrorproxy.errors import ConfigError
from mirrorproxy.replay.ledger import Ledger, Turned
from mirrorproxy.replay.verdict import exit_status, parse_fail_on


def ledger(**counts) -> Ledger:
    made = Ledger()
    for name, value in counts.items():
        if isinstance(value, dict):
            getattr(made, name).update(value)
        else:
            setattr(made, name, value)
    return made


GOOD = {
    "read": 12, "duplicates": 1, "skipped": {"rule": 1}, "selected": 10,
    "planned": 20, "answered": 20, "status": {200: 15, 404: 3, 500: 2},
}  # fmt: skip


def test_the_json_is_what_was_agreed():
    """Every key is there, times in milliseconds, null where nothing was timed."""
    made = ledger(
        **GOOD | {"answered": 17, "failed": {"reset": 1}, "shed": {"max_lag": 1}, "unsent": 1}
    )
    made.lag_by_cause["limit"].add(1500)
    made.events.append(Turned(5, "staging", 40.0, "p95"))
    assert made.to_json() == {
        "read": 12, "duplicates": 1, "skipped": {"rule": 1}, "selected": 10, "planned": 20,
        "answered": 17, "failed": {"reset": 1}, "shed": {"max_lag": 1}, "unsent": 1,
        "unreadable": 0, "unordered": 0, "token_requests": {}, "resent": 0, "probes": {},
        "status": {"2xx": 15, "4xx": 3, "5xx": 2},
        "lag_ms": {"p50": 1.5, "p99": 1.5, "max": 1.5},
        "latency_ms": {"p50": None, "p90": None, "p99": None, "max": None},
        "events": [{"at_us": 5, "target": "staging", "percent": 40.0, "reason": "p95"}],
        "balanced": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "balanced"),
    [
        pytest.param({}, True, id="everything in one place"),
        pytest.param({"read": 13}, False, id="an exchange that nobody knows of"),
        pytest.param({"duplicates": 2}, False, id="an exchange in two places"),
        pytest.param({"answered": 19}, False, id="a shot without an end"),
        pytest.param({"unsent": 1}, False, id="a shot with two ends"),
        pytest.param({"answered": 19, "failed": {"reset": 1}}, True, id="a failure"),
        pytest.param({"unreadable": 5}, True, id="unreadable stands apart"),
    ],
)
def test_the_sums(change, balanced):
    """Exchanges and shots are each accounted for once."""
    assert ledger(**GOOD | change).is_balanced is balanced


@pytest.mark.parametrize(
    ("change", "fail_on", "status"),
    [
        pytest.param({}, "failed", 0, id="done"),
        pytest.param({"read": 13}, "failed", 1, id="out of balance"),
        pytest.param({"unreadable": 1}, "failed", 1, id="input lost"),
        pytest.param({"unreadable": 1, "answered": 0, "unsent": 20}, "failed", 1, id="lost wins"),
        pytest.param({"answered": 0, "shed": {"max_lag": 20}}, "failed", 3, id="nothing sent"),
        pytest.param({"answered": 0, "unsent": 20}, "never", 3, id="nothing sent, never fail"),
        pytest.param({"answered": 19, "failed": {"reset": 1}}, "failed", 3, id="one failed"),
        pytest.param({"answered": 19, "failed": {"reset": 1}}, "failed>1", 0, id="one allowed"),
        pytest.param({"answered": 19, "failed": {"reset": 1}}, "failed>5%", 0, id="5% is not over"),
        pytest.param({"answered": 19, "failed": {"reset": 1}}, "failed>4.9%", 3, id="4.9% is"),
        pytest.param({"answered": 19, "failed": {"reset": 1}}, "never", 0, id="never"),
        pytest.param({}, "5xx>1", 3, id="server errors"),
        pytest.param({}, "failed, 4xx > 10%", 3, id="several, with spaces"),
        pytest.param({"answered": 19, "shed": {"max_lag": 1}}, "failed", 0, id="shed is allowed"),
        pytest.param({"answered": 19, "shed": {"max_lag": 1}}, "shed", 3, id="shed is not"),
        pytest.param({}, "skipped>9%", 0, id="8.3% of the exchanges were skipped"),
        pytest.param({}, "skipped>8%", 3, id="more than 8%"),
        pytest.param({"differing": 3}, "differing>2", 3, id="another status than production's"),
    ],
)
def test_the_exit_status(change, fail_on, status):
    """0 done, 1 lost, 3 nothing sent or a limit crossed."""
    assert exit_status(ledger(**GOOD | change), parse_fail_on(fail_on)) == status


@pytest.mark.parametrize(
    "text", ["", "failures", "failed>x", "failed>-1", "failed;shed", "failed>1%%"]
)
def test_a_limit_that_means_nothing_is_refused(text):
    """With what is expected."""
    with pytest.raises(ConfigError, match=r"^--fail-on: expected never, or conditions"):
        parse_fail_on(text)
