"""Limits and back-off of a target, as a rule file says them."""

from __future__ import annotations

import pytest
from rulekit import exchange, rules_from, sending

from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.limits import BackoffLimits
from mirrorproxy.rules.plan import SKIP_UNSAFE, plan


def backoff(text: str) -> BackoffLimits | None:
    return rules_from(sending(f", backoff: {text}")).targets["staging"].backoff


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        pytest.param("{p95: 800ms}", BackoffLimits(p95_s=0.8, errors=0.05), id="a duration"),
        pytest.param("{p95: 1.5}", BackoffLimits(p95_s=1.5), id="seconds"),
        pytest.param("{p95: 2x}", BackoffLimits(p95_times=2), id="times production's"),
        pytest.param("{p95: '1.5 x', errors: null}",
                     BackoffLimits(p95_times=1.5, errors=None), id="no errors"),
        pytest.param("{}", BackoffLimits(), id="errors alone"),
        pytest.param("{errors: 2.5%, timeouts: 1, floor: 10%, increase: 5%, window: 2s}",
                     BackoffLimits(errors=0.025, timeouts=0.01, floor=0.1, increase=0.05,
                                   window_s=2.0), id="everything"),
    ],
)  # fmt: skip
def test_what_back_off_looks_at(text, limits):
    """Percentages with or without their sign, durations as everywhere."""
    assert backoff(text) == limits


def test_without_it_nothing_is_looked_at():
    """Back-off is asked for, never assumed."""
    target = rules_from(sending()).targets["staging"]
    assert (target.backoff, target.ramp_s, target.safe_methods_only) == (None, 0.0, False)
    assert (target.limits.max_shots, target.limits.max_duration_s) == (None, None)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("backoff: {p95: fast}", "backoff.p95: expected a duration such as 800ms, or a multiple "
         "of production's such as 2x"),
        ("backoff: {p95: 0}", "backoff.p95: expected a duration such as 800ms, or a multiple of "
         "production's such as 2x"),
        ("backoff: {p95: 0.5x}", "backoff.p95: expected from 1x to 1000x"),
        ("backoff: {errors: 101%}", "backoff.errors: expected a percentage such as 5%"),
        ("backoff: {timeouts: few}", "backoff.timeouts: expected a percentage such as 5%"),
        ("backoff: {errors: null}", "backoff: expected at least one of p95, errors and timeouts"),
        ("backoff: {increase: 0%}", "backoff.increase: expected a percentage above 0%"),
        ("backoff: {window: 1ms}", "backoff.window: expected a duration from 0.2s to 60s"),
        ("limits: {max_shots: 0}", "limits.max_shots: expected a number above 0"),
        ("limits: {max_duration: 0s}", "limits.max_duration: expected a duration above 0"),
        ("ramp: soon", "ramp: expected a duration such as 800ms, 10s, 5m or 1h30m"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_key(target, message):
    """With file and line, before anything is sent."""
    with pytest.raises(ConfigError) as raised:
        rules_from(sending(f", {target}"))
    assert str(raised.value) == f"rules.yaml:2: targets.staging.{message}"


@pytest.mark.parametrize(
    ("method", "headers", "is_sent"),
    [
        ("GET", [], True),
        ("HEAD", [], True),
        ("OPTIONS", [], True),
        ("POST", [], False),
        ("PATCH", [], False),
        ("get", [], False),
        ("GET", [("x-http-method-override", "DELETE")], False),
    ],
)
def test_safe_methods_alone(method, headers, is_sent):
    """What only reads; the rest is skipped and says why."""
    rules = rules_from(sending(", safe_methods_only: true"))
    one = exchange(method, headers=[("Host", "api.example.com"), *headers])
    made = plan(one, rules, "seed", "run")
    assert (len(made.shots), made.skipped) == ((1, None) if is_sent else (0, SKIP_UNSAFE))


def test_another_target_may_be_sent_writes():
    """Safe is what a target says, not the file."""
    rules = rules_from(
        "version: 1\n"
        "targets: {a: {url: 'http://a', safe_methods_only: true}, b: {url: 'http://b'}}\n"
        "rules: [{name: all, send: {target: [a, b]}}]\n"
    )
    made = plan(exchange("POST"), rules, "seed", "run")
    assert [shot.target for shot in made.shots] == ["b"]
    assert made.left_out == (("a", SKIP_UNSAFE),)
