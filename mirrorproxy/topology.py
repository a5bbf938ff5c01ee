"""Topology: which apps a mirror serves just now, where they run, and what of them is recorded.

Values alone, and their one form on the wire between processes. Whoever watches a
catalog makes them, workers follow them; neither knows the other.
"""

from __future__ import annotations

from typing import Literal

import msgspec

AppMode = Literal["inline", "pooled", "tap"]
"""Who is in the path: the mirror for all requests, for a share of them, or not at all."""


class Instance(msgspec.Struct, frozen=True, order=True):
    """One running instance of an app. scheme: "http" or "https"; host: a name or an address."""

    scheme: str
    host: str
    port: int


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One app behind the mirror.

    name: as X-Mirrorproxy-App says it, lower-case. instances: those that are
    healthy; none while there is none. hosts, paths: globs of `capture.routes` that
    find the app for a request without that header (pooled mode); both empty:
    only the header finds it. percent: 0 to 100, the share that is recorded.
    record_paths: globs of what is recorded; empty takes all. seal: further
    names of headers, query keys and fields that hold secrets.
    """

    name: str
    mode: AppMode = "inline"
    instances: tuple[Instance, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    percent: float = 100.0
    percent_by: Literal["id", "session"] = "id"
    response_body: bool = False
    record_paths: tuple[str, ...] = ()
    seal: tuple[str, ...] = ()


class Topology(msgspec.Struct, frozen=True):
    """All apps of a mirror, in the order of their names."""

    apps: tuple[App, ...] = ()
