"""The files under examples/ are taken as they stand."""

from __future__ import annotations

from mirrorproxy import config
from mirrorproxy.errors import ConfigError


def fail(message, key):
    return ConfigError(f"{key}: {message}")


def test_the_capture_configuration(repository):
    """It is complete, and says what its comments say."""
    loaded, _ = config.load(repository / "examples/capture.yaml", {})
    settings = config.resolve(loaded, fail)
    orders, shop = settings.services
    assert (settings.listen.host, settings.listen.port) == ("0.0.0.0", 8000)
    assert (orders.name, orders.response_body, orders.hosts) == (
        "orders",
        True,
        ("orders.example.com",),
    )
    assert (shop.percent, shop.percent_by) == (10.0, "session")
    assert shop.filters.methods == ("POST", "PUT", "PATCH", "DELETE")
    assert settings.spool.limit_bytes == 8 << 30
