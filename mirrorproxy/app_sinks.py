"""Where a capture goes: the sink for each kind of ``--to``, and whether it can be used.

Chooses the concrete classes for `app`; what they do is theirs.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mirrorproxy.aws_urls import bodies_of, parse_bucket, parse_streams
from mirrorproxy.capture.settings import ShipperSettings
from mirrorproxy.errors import ConfigError
from mirrorproxy.packs import Sink
from mirrorproxy.sinks.directory import DirectorySink
from mirrorproxy.sinks.probe import NO_BOTO3, probe

log = logging.getLogger("mirrorproxy")


def make_directory_sink(settings: ShipperSettings) -> Sink:
    """Return the sink that writes objects below a directory."""
    return DirectorySink(
        Path(settings.to),
        stream=settings.name,
        roll_bytes=settings.roll_bytes,
        roll_age_s=settings.roll_age_s,
    )


def make_s3_sink(settings: ShipperSettings) -> Sink:
    """Return the sink that puts objects into a bucket. Raises ConfigError."""
    sink: Sink = _cloud().make_s3_sink(
        settings.to, settings.name, settings.roll_bytes, settings.roll_age_s
    )
    return sink


def make_firehose_sink(settings: ShipperSettings) -> Sink:
    """Return the sink that puts records into Firehose. Raises ConfigError."""
    sink: Sink = _cloud().make_firehose_sink(settings.to)
    return sink


def _cloud() -> Any:
    # Here and not at the top: only the shipper of such a sink pays for loading boto3.
    try:
        return importlib.import_module("mirrorproxy.sinks.cloud")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"boto3", "botocore"}:
            raise
        raise ConfigError(NO_BOTO3, file="--to") from None


SINKS: Mapping[str, Callable[[ShipperSettings], Sink]] = {
    "": make_directory_sink,
    "s3": make_s3_sink,
    "firehose": make_firehose_sink,
}
"""Sinks by the scheme of ``--to``; "" for a plain path."""


def sink_scheme(to: str) -> str:
    """Return the scheme that decides the sink. Raises ConfigError if no sink has it."""
    scheme, separator, _ = to.partition("://")
    scheme = scheme if separator else ""
    if scheme not in SINKS:
        known = ", ".join(f"{name}://" if name else "a directory" for name in SINKS)
        raise ConfigError(f"{scheme}:// is not a kind of sink; known: {known}", file="--to")
    return scheme


def make_sink(settings: ShipperSettings) -> Sink:
    """Return the sink that the settings name. Raises ConfigError."""
    return SINKS[sink_scheme(settings.to)](settings)


def check_target(to: str) -> None:
    """Make sure that a capture can go there. Raises ConfigError.

    What cannot be reached just now is no mistake: requests are forwarded and the spool holds
    their records, as in any outage.
    """
    if scheme := sink_scheme(to):
        if scheme == "s3":
            parse_bucket(to, "--to")
        else:
            bodies_of(parse_streams(to, "--to"), "--to")
        if reason := probe(to):
            log.warning("cannot ship yet: %s", reason)
        return
    try:
        Path(to).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigError("not a directory", file=to) from error
    except OSError as error:
        raise ConfigError(f"cannot be made: {error.strerror}", file=to) from error
    if not os.access(to, os.W_OK | os.X_OK):
        raise ConfigError("cannot be written", file=to)
