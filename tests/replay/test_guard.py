"""The production guard: a target that was captured is refused, whatever it is called."""

from __future__ import annotations

import pytest

from mirrorproxy.errors import ConfigError
from mirrorproxy.http1.origin import Origin, parse_origin
from mirrorproxy.record import Exchange, Request
from mirrorproxy.replay.guard import ProductionGuard


def exchange(host: str | None, scheme: str = "https", upstream: str = "http://10.0.3.7:8080"):
    headers = [] if host is None else [("host", host)]
    return Exchange(
        v=1, id="0" * 32, service="orders", via="inline", node="n/0", started_us=0, duration_us=0,
        client="203.0.113.7", scheme=scheme, upstream=upstream,
        request=Request("GET", "/", "1.1", headers),
    )  # fmt: skip


def guard(url: str) -> ProductionGuard:
    return ProductionGuard({"staging": parse_origin(url)[0]})


@pytest.mark.parametrize(
    ("target", "captured"),
    [
        pytest.param("https://api.example.com", exchange("api.example.com"), id="the same host"),
        pytest.param("https://API.example.com.", exchange("api.EXAMPLE.com"), id="case and dot"),
        pytest.param("https://api.example.com:443", exchange("api.example.com"), id="default port"),
        pytest.param("https://api.example.com", exchange("api.example.com:443"), id="said port"),
        pytest.param("http://10.0.3.7:8080/v2", exchange("api.example.com"), id="the upstream"),
        pytest.param("http://[::1]:80", exchange("[::1]", "http"), id="IPv6"),
        pytest.param("http://localhost", exchange("127.0.0.1", "http"), id="this machine"),
        pytest.param("http://127.0.0.2", exchange("api.localhost", "http"), id="its other names"),
    ],
)
def test_production_is_refused(target, captured):
    """Scheme, host and port are equal, so it is where the traffic came from."""
    with pytest.raises(ConfigError, match=r"target staging is .*captured.*allow_production"):
        guard(target).check(captured)


@pytest.mark.parametrize(
    ("target", "captured"),
    [
        pytest.param("https://staging.example.com", exchange("api.example.com"), id="another host"),
        pytest.param("http://api.example.com", exchange("api.example.com"), id="another scheme"),
        pytest.param("https://api.example.com:8443", exchange("api.example.com"), id="port"),
        pytest.param("http://10.0.3.7:8081", exchange(None), id="no Host"),
        pytest.param("https://x", exchange("]not a host[", upstream="nonsense"), id="malformed"),
        pytest.param("https://x", exchange("user:password@x"), id="user information"),
        pytest.param("https://x", exchange("", upstream=""), id="nothing known"),
    ],
)
def test_elsewhere_is_allowed(target, captured):
    """One of scheme, host and port differs, or nothing sensible was captured."""
    guard(target).check(captured)


def test_a_later_exchange_is_checked_too():
    """What was captured is only known as it is read."""
    one = guard("https://b.example.com")
    one.check(exchange("a.example.com"))
    one.check(exchange("a.example.com"))
    with pytest.raises(ConfigError):
        one.check(exchange("b.example.com"))
    with pytest.raises(ConfigError):
        one.check(exchange("b.example.com"))


def test_an_allowed_target_is_not_guarded():
    """Whoever says allow_production does not hand the target to the guard."""
    ProductionGuard({}).check(exchange("api.example.com"))


def test_captured_places_are_collected():
    """For the warning by address."""
    one = guard("https://staging")
    one.check(exchange("api.example.com"))
    assert one.places == {
        Origin("https", "api.example.com", 443), Origin("http", "10.0.3.7", 8080)
    }  # fmt: skip


def test_made_up_hosts_do_not_fill_the_memory():
    """Host headers come from strangers."""
    one = guard("https://staging")
    for number in range(10_000):
        one.check(exchange(f"h{number}"))
    assert len(one.places) == 4096
    with pytest.raises(ConfigError):
        one.check(exchange("staging"))


def test_a_login_at_production_is_warned_of_once():
    """A login server may be shared, so the replay goes on."""
    lines: list[str] = []
    guard = ProductionGuard(
        {"staging": parse_origin("https://staging.example.com")[0]},
        {"targets.staging.auth.0": parse_origin("https://login.example.com/token")[0]},
        lines.append,
    )
    guard.check(exchange("api.example.com"))
    assert lines == []
    guard.check(exchange("login.example.com"))
    guard.check(exchange("LOGIN.example.com"))
    assert lines == [
        "targets.staging.auth.0 fetches credentials from https://login.example.com, where this "
        "traffic was captured: production gives them out, and counts the logins"
    ]
