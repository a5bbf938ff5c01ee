"""Sizes, times and addresses of a configuration: checked, and turned into limits.

Owns what keys of every part have in common, and the part `limits`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mirrorproxy.capture.listeners import Address, parse_address
from mirrorproxy.errors import ConfigError
from mirrorproxy.http1.limits import ClientLimits, ServerLimits
from mirrorproxy.units import Bytes, Seconds

Place = tuple[str | int, ...]
"""The path of a key."""

Fail = Callable[[str, Place], ConfigError]
"""Makes the error for a message and the path of its key."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of the file; unknown keys are refused."""


class LimitsConfig(Part, frozen=True):
    """`limits`: what clients and upstreams may do."""

    request_head: Bytes = Bytes(ServerLimits().max_head_bytes)
    head_timeout: Seconds = Seconds(ServerLimits().head_timeout_s)
    body_timeout: Seconds = Seconds(ServerLimits().body_timeout_s)
    send_timeout: Seconds = Seconds(ServerLimits().send_timeout_s)
    idle_timeout: Seconds = Seconds(ServerLimits().idle_timeout_s)
    response_head: Bytes = Bytes(ClientLimits().max_head_bytes)
    connect_timeout: Seconds = Seconds(ClientLimits().connect_timeout_s)
    response_timeout: Seconds | None = None
    upstream_idle_timeout: Seconds = Seconds(ClientLimits().idle_timeout_s)
    upstream_idle_connections: int = ClientLimits().max_idle


def server_limits(limits: LimitsConfig, fail: Fail) -> ServerLimits:
    """Return what clients may do. Raises what fail makes."""
    return ServerLimits(
        max_head_bytes=size_of(limits.request_head, ("limits", "request_head"), fail),
        head_timeout_s=time_of(limits.head_timeout, ("limits", "head_timeout"), fail),
        body_timeout_s=time_of(limits.body_timeout, ("limits", "body_timeout"), fail),
        send_timeout_s=time_of(limits.send_timeout, ("limits", "send_timeout"), fail),
        idle_timeout_s=time_of(limits.idle_timeout, ("limits", "idle_timeout"), fail),
    )


def client_limits(limits: LimitsConfig, fail: Fail) -> ClientLimits:
    """Return what upstreams may do. Raises what fail makes."""
    timeout_s = None
    if limits.response_timeout is not None:
        timeout_s = time_of(limits.response_timeout, ("limits", "response_timeout"), fail)
    if limits.upstream_idle_connections < 0:
        raise fail("0 or more", ("limits", "upstream_idle_connections"))
    return ClientLimits(
        max_head_bytes=size_of(limits.response_head, ("limits", "response_head"), fail),
        connect_timeout_s=time_of(limits.connect_timeout, ("limits", "connect_timeout"), fail),
        response_timeout_s=timeout_s,
        idle_timeout_s=float(limits.upstream_idle_timeout),
        max_idle=limits.upstream_idle_connections,
    )


def size_of(value: Bytes, at: Place, fail: Fail) -> int:
    """Return a size in bytes, more than 0. Raises what fail makes."""
    return int(_positive(value, at, fail))


def time_of(value: Seconds, at: Place, fail: Fail) -> float:
    """Return a time in seconds, more than 0. Raises what fail makes."""
    return float(_positive(value, at, fail))


def _positive(value: float, at: Place, fail: Fail) -> float:
    if value <= 0:
        raise fail("more than 0 is needed", at)
    return value


def address_of(text: str, at: Place, fail: Fail) -> Address:
    """Return the address that a text says. Raises what fail makes."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise fail(str(error), at) from None
