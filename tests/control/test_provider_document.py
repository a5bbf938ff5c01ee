"""The document for Traefik's HTTP provider."""

from __future__ import annotations

import pytest

from mirrorproxy.control.tags import parse_app
from mirrorproxy.control.traefik import copied_percent, provider_document, recorded_percent

RULE = "traefik.http.routers.web.rule=Host(`a.example`)"
TAP = ["mirrorproxy.enable=true", "mirrorproxy.mode=tap", RULE]


def test_a_tap():
    """Main leg is the app's own service; names without a provider are those of the tags'."""
    tags = [
        *TAP,
        "mirrorproxy.percent=10",
        "traefik.http.routers.web.middlewares=auth,limit@file",
        "traefik.http.routers.web.tls=true",
    ]
    taps = ["http://10.0.0.2:8001", "http://10.0.0.1:8001", "http://10.0.0.2:8001"]
    assert provider_document([parse_app("orders", tags)], taps) == {
        "http": {
            "routers": {
                "mirrorproxy-orders-web": {
                    "rule": "Host(`a.example`)",
                    "priority": 18,
                    "service": "mirrorproxy-orders",
                    "middlewares": ["auth@consulcatalog", "limit@file", "mirrorproxy-orders"],
                    "tls": {},
                }
            },
            "services": {
                "mirrorproxy-tap": {
                    "loadBalancer": {
                        "servers": [
                            {"url": "http://10.0.0.1:8001"},
                            {"url": "http://10.0.0.2:8001"},
                        ],
                        "serversTransport": "mirrorproxy-tap",
                    }
                },
                "mirrorproxy-orders": {
                    "mirroring": {
                        "service": "orders@consulcatalog",
                        "maxBodySize": 262144,
                        "mirrors": [{"name": "mirrorproxy-tap", "percent": 10}],
                    }
                },
            },
            "middlewares": {
                "mirrorproxy-orders": {
                    "headers": {"customRequestHeaders": {"X-Mirrorproxy-App": "orders"}}
                }
            },
            "serversTransports": {
                "mirrorproxy-tap": {
                    "forwardingTimeouts": {"dialTimeout": "1s", "responseHeaderTimeout": "2s"}
                }
            },
        }
    }


@pytest.mark.parametrize(
    ("tags", "taps"),
    [
        pytest.param(TAP, [], id="no tap listens"),
        pytest.param(TAP[1:], ["http://10.0.0.1:8001"], id="not enabled"),
        pytest.param([TAP[0], RULE], ["http://10.0.0.1:8001"], id="another mode"),
        pytest.param([*TAP, "mirrorproxy.percent=x"], ["http://10.0.0.1:8001"], id="left alone"),
    ],
)
def test_nothing_to_tap_is_an_empty_document(tags: list[str], taps: list[str]):
    """Traefik refuses empty sections, and would keep what it had."""
    assert provider_document([parse_app("orders", tags)], taps) == {}


def test_a_bound_below_minus_one_is_a_mistake():
    """Minus one means none."""
    with pytest.raises(ValueError, match="-1 for no bound"):
        provider_document([], [], max_body_bytes=-2)


@pytest.mark.parametrize(
    ("mode", "percent", "by", "copied", "recorded"),
    [
        ("tap", "10", "id", 10, 100.0),
        ("tap", "0.5", "id", 1, 50.0),
        ("tap", "10", "session", 100, 10.0),
        ("tap", "0", "id", 0, 0.0),
        ("inline", "10", "id", 10, 10.0),
        ("pooled", "10", "id", 10, 100.0),
    ],
)
def test_a_share_is_taken_once(mode: str, percent: str, by: str, copied: int, recorded: float):
    """What Traefik has chosen already, the mirror does not thin out again."""
    app = parse_app(
        "orders",
        [
            f"mirrorproxy.mode={mode}",
            f"mirrorproxy.percent={percent}",
            f"mirrorproxy.percent-by={by}",
            RULE,
        ],
    )
    assert (copied_percent(app), recorded_percent(app)) == (copied, recorded)
