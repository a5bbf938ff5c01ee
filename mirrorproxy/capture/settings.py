"""What the processes of one capture are told: values, checked before anything is started.

These travel as JSON over each process's control socket, never in arguments or
the environment, which other users of the machine can read: the sealing key is
among them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from mirrorproxy.capture.live import Live
from mirrorproxy.capture.liveness import ORPHAN_S
from mirrorproxy.http1.limits import ClientLimits, ServerLimits

Mode = Literal["seal", "drop", "keep"]


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How an https upstream is verified. ca_file: PEM; None for the system's authorities."""

    verify: bool = True
    ca_file: str | None = None


class FilterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded; an empty list takes everything.

    methods: names in upper case. include, exclude: path globs. content_types:
    globs of the request's media type. status: codes, classes such as "5xx" or
    ranges such as "400-499" of the answer.
    """

    methods: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    content_types: tuple[str, ...] = ()
    status: tuple[str, ...] = ()


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One application behind the mirror.

    upstream: URL with scheme, host, port and optional base path. hosts, paths:
    globs that route a request here, the first service that fits takes it;
    empty takes all. percent: 0 to 100, the share recorded.
    """

    name: str
    upstream: str
    tls: TlsSettings = TlsSettings()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    percent: float = 100.0
    percent_by: Literal["id", "session"] = "id"
    response_body: bool = False
    filters: FilterSettings = FilterSettings()


class SealSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Modes per name, over the defaults of sealing; names in lower case.

    basic_user: keep the user name of Basic credentials in the clear.
    """

    headers: dict[str, Mode] = {}
    cookies: dict[str, Mode] = {}
    fields: dict[str, Mode] = {}
    basic_user: bool = False


class SpoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The spool's bounds. Sizes in bytes, segment_age_s in seconds."""

    directory: str
    limit_bytes: int = 4 << 30
    segment_bytes: int = 64 << 20
    segment_age_s: float = 10.0
    body_limit_bytes: int = 64 << 20


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a worker knows. slot: its number, set per worker; seal_key: hex digits.

    drain_timeout_s: how long what is in flight may take once draining began.
    orphan_s: how long it goes on serving when its supervisor has died. live:
    what is so when it is started, and may change. upstream_tls: how https
    instances of apps are verified.
    """

    name: str
    slot: int
    spool: SpoolSettings
    services: tuple[ServiceSettings, ...]
    seal: SealSettings
    seal_key: str
    server: ServerLimits
    client: ClientLimits
    strict: bool = False
    drain_timeout_s: float = 10.0
    orphan_s: float = ORPHAN_S
    live: Live = Live()
    upstream_tls: TlsSettings = TlsSettings()
    log_level: str = "info"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The access log that is followed. service: the name of all; None to take the log's."""

    file: str
    service: str | None = None
    percent: float = 100.0
    percent_by: Literal["id", "session"] = "id"
    filters: FilterSettings = FilterSettings()


class FollowerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the follower of a log knows; the same meanings as in `WorkerSettings`."""

    name: str
    slot: int
    spool: SpoolSettings
    access_log: LogSettings
    seal: SealSettings
    seal_key: str
    drain_timeout_s: float = 10.0
    log_level: str = "info"


class ShipperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the shipper knows. to: a directory or a sink's URL; roll: when objects end."""

    name: str
    spool: SpoolSettings
    to: str
    roll_bytes: int = 64 << 20
    roll_age_s: float = 10.0
    ship_timeout_s: float = 30.0
    log_level: str = "info"
