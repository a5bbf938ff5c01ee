"""Capture's configuration: the YAML file, checked, and turned into settings.

Owns the file's shape, its defaults and the rules between keys. It opens no
socket and makes no directory. Command-line options are laid over the file by
`commands.capture_options`; the keys are documented in ``docs/configuration.md``.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from mirrorproxy import yamlfile
from mirrorproxy.capture.listeners import Address
from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.capture.settings import (
    LogSettings,
    Mode,
    SealSettings,
    ServiceSettings,
    SpoolSettings,
    TlsSettings,
)
from mirrorproxy.capture.slots import MAX_WORKERS
from mirrorproxy.config_consul import (
    DRAIN_WAIT_S,
    ConsulConfig,
    ConsulSettings,
    resolve_consul,
)
from mirrorproxy.config_limits import (
    Fail,
    LimitsConfig,
    Part,
    Place,
    address_of,
    client_limits,
    server_limits,
    size_of,
    time_of,
)
from mirrorproxy.config_record import (
    AccessLogConfig,
    FilterConfig,
    resolve_filters,
    resolve_log,
    texts,
)
from mirrorproxy.http1.limits import ClientLimits, ServerLimits
from mirrorproxy.http1.origin import parse_origin
from mirrorproxy.units import Bytes, Seconds, format_size

LogLevel = Literal["debug", "info", "warning", "error"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class MatchConfig(Part, frozen=True):
    """`services[].match`: which requests belong to a service."""

    host: str | tuple[str, ...] = ()
    path: str | tuple[str, ...] = ()


class TlsConfig(Part, frozen=True):
    """`services[].tls`, `upstream_tls`: how an https upstream is verified."""

    verify: bool = True
    ca_file: str | None = None


class ServiceConfig(Part, frozen=True):
    """`services[]`: an application behind the mirror."""

    name: str
    upstream: str
    match: MatchConfig = MatchConfig()
    tls: TlsConfig = TlsConfig()
    record: FilterConfig = FilterConfig()
    percent: float = 100.0
    percent_by: Literal["id", "session"] = "id"
    response_body: bool = False


class SpoolConfig(Part, frozen=True):
    """`spool`: the disk between recording and shipping."""

    directory: str | None = None
    limit: Bytes = Bytes(4 << 30)
    segment: Bytes = Bytes(64 << 20)
    segment_age: Seconds = Seconds(10)
    body_limit: Bytes = Bytes(64 << 20)


class RollConfig(Part, frozen=True):
    """`roll`: when an object of the capture ends and the next begins."""

    size: Bytes = Bytes(64 << 20)
    age: Seconds = Seconds(10)


class SealConfig(Part, frozen=True):
    """`seal`: which secrets are replaced, dropped or kept, over the defaults."""

    key_file: str | None = None
    headers: dict[str, Mode] = msgspec.field(default_factory=dict)
    cookies: dict[str, Mode] = msgspec.field(default_factory=dict)
    fields: dict[str, Mode] = msgspec.field(default_factory=dict)
    basic_user: Literal["seal", "keep"] = "seal"


class CaptureConfig(Part, frozen=True):
    """The whole file. None: not said; a default or an option decides."""

    version: Literal[1] = 1
    listen: str | None = None
    to: str | None = None
    services: tuple[ServiceConfig, ...] = ()
    access_log: AccessLogConfig = AccessLogConfig()
    tap: str | None = None
    consul: ConsulConfig = ConsulConfig()
    upstream_tls: TlsConfig = TlsConfig()
    name: str | None = None
    workers: int | None = None
    admin: str = "127.0.0.1:9808"
    strict: bool = False
    spool: SpoolConfig = SpoolConfig()
    roll: RollConfig = RollConfig()
    seal: SealConfig = SealConfig()
    limits: LimitsConfig = LimitsConfig()
    drain_wait: Seconds | None = None
    drain_timeout: Seconds = Seconds(10)
    ship_timeout: Seconds = Seconds(30)
    log_level: LogLevel = "info"


class CaptureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a capture needs, complete and checked.

    admin, tap, consul: None for no admin server, no tap and no Consul. access_log:
    the log that is followed; then nothing listens, and there are no services.
    """

    listen: Address | None
    tap: Address | None
    consul: ConsulSettings | None
    upstream_tls: TlsSettings
    admin: Address | None
    to: str
    services: tuple[ServiceSettings, ...]
    access_log: LogSettings | None
    name: str
    workers: int
    strict: bool
    spool: SpoolSettings
    roll_bytes: int
    roll_age_s: float
    seal: SealSettings
    seal_key_file: str | None
    server: ServerLimits
    client: ClientLimits
    drain_wait_s: float
    drain_timeout_s: float
    ship_timeout_s: float
    log_level: LogLevel


def load(path: Path, environ: Mapping[str, str]) -> tuple[CaptureConfig, yamlfile.Document]:
    """Return the configuration in a file, and the document, which knows its lines.

    ``${NAME}`` and ``${file:PATH}`` in values are put in.
    Raises ConfigError with file, line and key.
    """
    document = yamlfile.load(path, name=str(path))
    expanded = yamlfile.expand(document, environ, lambda name: Path(name).read_text("utf-8"))
    return yamlfile.convert(expanded, CaptureConfig), expanded


def resolve(config: CaptureConfig, fail: Fail) -> CaptureSettings:
    """Return the complete settings of a configuration.

    fail: makes the error for a message and the path of its key, so that it names
    the option or the line that the value came from.
    Raises what fail makes.
    """
    log = resolve_log(config.access_log, _NAME.fullmatch, fail)
    listen = None
    if log is None:
        if config.listen is None:
            raise fail("say where to listen: HOST:PORT", ("listen",))
        listen = address_of(config.listen, ("listen",), fail)
    if config.to is None:
        raise fail("say where the capture goes: a directory, s3:// or firehose://", ("to",))
    consul = resolve_consul(config.consul, fail)
    if log is not None:
        _check_alone(config, fail)
    elif not config.services and consul is None:
        raise fail("say what to forward to: a URL", ("services",))
    if config.strict and consul is not None:
        # Traefik says whose a request is by a header that strict does not believe.
        raise fail("not with Consul: Traefik faces the clients then", ("strict",))
    admin = None if config.admin == "off" else address_of(config.admin, ("admin",), fail)
    default_workers = 1 if log else os.cpu_count() or 1
    workers = default_workers if config.workers is None else config.workers
    if not 1 <= workers <= MAX_WORKERS:
        raise fail(f"a mirror has 1 to {MAX_WORKERS} workers", ("workers",))
    name = config.name if config.name is not None else host_name()
    if not _NAME.fullmatch(name):
        raise fail("a name has letters, digits, '.', '_' and '-', 63 at most", ("name",))
    return CaptureSettings(
        listen=listen,
        tap=None if config.tap is None else address_of(config.tap, ("tap",), fail),
        consul=consul,
        upstream_tls=_tls(config.upstream_tls, ("upstream_tls",), fail),
        admin=admin,
        to=config.to,
        services=_services(config.services, listen, fail),
        access_log=log,
        name=name,
        workers=workers,
        strict=config.strict,
        spool=_spool(config, fail),
        roll_bytes=size_of(config.roll.size, ("roll", "size"), fail),
        roll_age_s=time_of(config.roll.age, ("roll", "age"), fail),
        seal=_seal(config.seal),
        seal_key_file=config.seal.key_file,
        server=server_limits(config.limits, fail),
        client=client_limits(config.limits, fail),
        drain_wait_s=_drain_wait(config),
        drain_timeout_s=float(config.drain_timeout),
        ship_timeout_s=float(config.ship_timeout),
        log_level=config.log_level,
    )


def _check_alone(config: CaptureConfig, fail: Fail) -> None:
    """A log is followed by a capture of its own: what is seen twice would be recorded twice."""
    for key, is_given in (
        ("listen", config.listen is not None),
        ("services", bool(config.services)),
        ("workers", config.workers is not None),
        ("tap", config.tap is not None),
        ("consul", config.consul != ConsulConfig()),
    ):
        if is_given:
            raise fail("not beside an access log: start another capture for it", (key,))


def _drain_wait(config: CaptureConfig) -> float:
    if config.drain_wait is not None:
        return float(config.drain_wait)
    return DRAIN_WAIT_S if config.consul.url is not None else 0.0


def _services(
    services: tuple[ServiceConfig, ...],
    listen: Address | None,
    fail: Fail,
) -> tuple[ServiceSettings, ...]:
    names: set[str] = set()
    catch_all: str | None = None
    resolved = []
    for index, service in enumerate(services):
        at: Place = ("services", index)
        if not _NAME.fullmatch(service.name):
            raise fail("a name has letters, digits, '.', '_' and '-', 63 at most", (*at, "name"))
        if service.name.lower() in names:  # X-Mirrorproxy-App names them, case aside
            raise fail("two services have this name", (*at, "name"))
        if catch_all is not None:
            raise fail(f"never reached: {catch_all} before it takes every request", at)
        names.add(service.name.lower())
        resolved.append(_service(service, at, listen, fail))
        if not resolved[-1].hosts and not resolved[-1].paths:
            catch_all = service.name
    return tuple(resolved)


def _service(
    service: ServiceConfig,
    at: Place,
    listen: Address | None,
    fail: Fail,
) -> ServiceSettings:
    try:
        origin, base_path = parse_origin(service.upstream)
    except ValueError as error:
        raise fail(str(error), (*at, "upstream")) from None
    if (origin.host, origin.port) == listen:
        raise fail("the mirror itself: requests would go in circles", (*at, "upstream"))
    if not 0 <= service.percent <= 100:
        raise fail("a share is from 0 to 100", (*at, "percent"))
    hosts, paths = texts(service.match.host), texts(service.match.path)
    try:
        Routes([Route(service.name, origin, base_path, hosts, paths)])
    except ValueError as error:
        raise fail(str(error), (*at, "match")) from None
    filters = resolve_filters(service.record, (*at, "record"), fail)
    if service.tls != TlsConfig() and origin.scheme != "https":
        raise fail("the upstream is not https", (*at, "tls"))
    return ServiceSettings(
        name=service.name,
        upstream=service.upstream,
        tls=_tls(service.tls, (*at, "tls"), fail),
        hosts=hosts,
        paths=paths,
        percent=service.percent,
        percent_by=service.percent_by,
        response_body=service.response_body,
        filters=filters,
    )


def _tls(tls: TlsConfig, at: Place, fail: Fail) -> TlsSettings:
    path = tls.ca_file
    if path is not None:
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            raise fail(f"{path} holds no PEM certificates", (*at, "ca_file")) from None
        except OSError as error:
            raise fail(f"{path} cannot be read: {error.strerror}", (*at, "ca_file")) from None
    return TlsSettings(verify=tls.verify, ca_file=path)


def _spool(config: CaptureConfig, fail: Fail) -> SpoolSettings:
    spool, at = config.spool, "spool"
    directory = spool.directory
    if directory is None:
        if config.to is None or "://" in config.to:
            raise fail("say where the spool is: --spool DIRECTORY", (at, "directory"))
        directory = str(Path(config.to) / ".spool")
    if spool.limit < spool.segment:
        segment = format_size(int(spool.segment))
        raise fail(f"smaller than one segment (spool.segment, {segment})", (at, "limit"))
    return SpoolSettings(
        directory=directory,
        limit_bytes=size_of(spool.limit, (at, "limit"), fail),
        segment_bytes=size_of(spool.segment, (at, "segment"), fail),
        segment_age_s=time_of(spool.segment_age, (at, "segment_age"), fail),
        body_limit_bytes=int(spool.body_limit),
    )


def _seal(seal: SealConfig) -> SealSettings:
    return SealSettings(
        headers={name.lower(): mode for name, mode in seal.headers.items()},
        cookies={name.lower(): mode for name, mode in seal.cookies.items()},
        fields={name.lower(): mode for name, mode in seal.fields.items()},
        basic_user=seal.basic_user == "keep",
    )


def host_name() -> str:
    """Return the host's name as a mirror may be named."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63].lstrip("._-")
    return name or "mirror"
