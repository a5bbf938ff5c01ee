"""Limits and time-outs of the wire engine, with where each number comes from.

All times in seconds, None for no limit; all sizes in bytes.
"""

from __future__ import annotations

import msgspec


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may do on a connection of ours."""

    max_head_bytes: int = 1024 * 1024
    """All header lines together: Traefik's default. More is a 431 (a 414 in the target)."""

    max_pipelined_bytes: int = 64 * 1024
    """Read ahead of the answer that is under way; then the client waits."""

    head_timeout_s: float = 30.0
    """From a request's first byte to the end of its head: 408."""

    body_timeout_s: float = 60.0
    """Between two reads of a request's body: 408. nginx's client_body_timeout."""

    send_timeout_s: float = 60.0
    """A client that takes no byte of its answer for this long is cut off. nginx's send_timeout."""

    idle_timeout_s: float = 120.0
    """A kept connection without a request; Traefik re-uses one for up to 90 s."""


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream may do, and how connections to it are kept."""

    max_head_bytes: int = 1024 * 1024
    """A response's header lines together; more is a bad response."""

    connect_timeout_s: float = 5.0
    """TCP and TLS together."""

    response_timeout_s: float | None = None
    """From the request's last byte to the response's head: 504. Off: some answers take long."""

    idle_timeout_s: float = 4.0
    """A pooled connection is closed after this; Node closes its own at 5 s."""

    unsafe_idle_s: float = 1.0
    """A non-idempotent request goes out only on a connection idle for less than this."""

    max_idle: int = 256
    """Connections kept per origin."""
