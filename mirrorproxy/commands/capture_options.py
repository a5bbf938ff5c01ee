"""The options of ``mirrorproxy capture``, and how they are laid over its file.

An option wins over the file's key. Each mistake is told at the place it came
from: the option's name, or the file's line.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mirrorproxy import config, yamlfile
from mirrorproxy.app_sinks import sink_scheme
from mirrorproxy.config import CaptureConfig, CaptureSettings, ServiceConfig
from mirrorproxy.errors import ConfigError
from mirrorproxy.units import Bytes, Seconds

_Path = tuple[str | int, ...]

DEFAULT_SERVICE = "default"

OPTIONS: dict[str, _Path] = {
    "--listen": ("listen",),
    "--access-log": ("access_log", "file"),
    "--to": ("to",),
    "--tap": ("tap",),
    "--consul": ("consul", "url"),
    "--consul-token-file": ("consul", "token_file"),
    "--datacenter": ("consul", "datacenter"),
    "--advertise": ("consul", "advertise"),
    "--default-rule": ("consul", "default_rule"),
    "--upstream-ca": ("upstream_tls", "ca_file"),
    "--upstream-skip-verify": ("upstream_tls", "verify"),
    "--spool": ("spool", "directory"),
    "--spool-limit": ("spool", "limit"),
    "--body-limit": ("spool", "body_limit"),
    "--roll-size": ("roll", "size"),
    "--roll-age": ("roll", "age"),
    "--workers": ("workers",),
    "--name": ("name",),
    "--admin": ("admin",),
    "--strict": ("strict",),
    "--seal-key": ("seal", "key_file"),
    "--drain-wait": ("drain_wait",),
    "--drain-timeout": ("drain_timeout",),
    "--ship-timeout": ("ship_timeout",),
    "--response-timeout": ("limits", "response_timeout"),
    "--log-level": ("log_level",),
}
"""Options that stand for one key of the file."""

SERVICE_OPTIONS: dict[str, str] = {
    "--upstream": "upstream",
    "--service": "name",
    "--percent": "percent",
    "--percent-by": "percent_by",
    "--response-body": "response_body",
}
"""Options about services; the first two only where there is one."""

_LOG_KEYS = {"--service": "service", "--percent": "percent", "--percent-by": "percent_by"}

_FIRST_NEEDS = {"listen": "--listen", "to": "--to", "services": "--upstream"}

_PARSERS: dict[str, Callable[[str], object]] = {
    "--spool-limit": Bytes.parse,
    "--body-limit": Bytes.parse,
    "--roll-size": Bytes.parse,
    "--roll-age": Seconds.parse,
    "--drain-wait": Seconds.parse,
    "--drain-timeout": Seconds.parse,
    "--ship-timeout": Seconds.parse,
    "--response-timeout": Seconds.parse,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of the command."""
    add = parser.add_argument
    add("--listen", metavar="HOST:PORT", help="where clients, or Traefik, connect")
    add("--upstream", metavar="URL", help="the application to forward to")
    add("--access-log", metavar="FILE", help="follow this log of Traefik's instead of listening")
    add("--to", metavar="TARGET", help="a directory, s3://... or firehose://...: docs/aws.md")
    add("--config", metavar="FILE", type=Path, help="YAML with all of this and more")
    group = parser.add_argument_group("what is recorded")
    add = group.add_argument
    add("--service", metavar="NAME", help=f"the application's name (default: {DEFAULT_SERVICE})")
    add("--percent", metavar="N", type=float, help="the share recorded, 0 to 100 (default: 100)")
    add("--percent-by", choices=["id", "session"], help="choose by request, or keep sessions whole")
    add("--response-body", action="store_true", default=None, help="record text answers, to 64 KiB")
    add("--body-limit", metavar="SIZE", help="longer request bodies are cut (default: 64MiB)")
    group = parser.add_argument_group("Traefik and Consul")
    add = group.add_argument
    add("--consul", metavar="URL", help="serve the apps that ask for it by a tag in Consul")
    add("--consul-token-file", metavar="FILE", help="file with the ACL token for Consul")
    add("--datacenter", metavar="NAME", help="Consul's datacenter (default: the agent's)")
    add("--advertise", metavar="HOST[:PORT]", help="where Traefik reaches this mirror")
    add("--default-rule", metavar="RULE", help="Traefik rule of apps that have none")
    add("--tap", metavar="HOST:PORT", help="also take copies here: answered 204, recorded")
    add("--upstream-ca", metavar="FILE", help="authorities (PEM) trusted for https instances")
    add(
        "--upstream-skip-verify",
        action="store_const",
        const=False,
        help="take any certificate of https instances",
    )
    add("--drain-wait", metavar="TIME", help="serve on after deregistering (with Consul: 3s)")
    group = parser.add_argument_group("processes")
    add = group.add_argument
    add("--workers", metavar="N", type=int, help="processes that serve (default: one per CPU)")
    add("--name", metavar="NAME", help="this mirror's name in records (default: the host's)")
    add(
        "--admin",
        metavar="HOST:PORT",
        help="health, metrics, status (default: 127.0.0.1:9808), or off",
    )
    add("--admin-token-file", metavar="FILE", help="what a change must bring; needed off loopback")
    add("--strict", action="store_true", default=None, help="for a listener that faces clients")
    add("--drain-timeout", metavar="TIME", help="for requests in flight at the end (default: 10s)")
    add("--response-timeout", metavar="TIME", help="answer 504 after this (default: never)")
    add("--log-level", choices=["debug", "info", "warning", "error"], help="default: info")
    add(
        "--json", action="store_true", help="print the ledger as JSON on standard output at the end"
    )
    group = parser.add_argument_group("spool and shipping")
    add = group.add_argument
    add("--spool", metavar="DIR", help="where records wait (default: .spool in DIRECTORY)")
    add("--spool-limit", metavar="SIZE", help="what may wait; more is dropped (default: 4GiB)")
    add("--roll-size", metavar="SIZE", help="objects end at this size (default: 64MiB)")
    add("--roll-age", metavar="TIME", help="objects end at this age (default: 10s)")
    add("--ship-timeout", metavar="TIME", help="for shipping the rest at the end (default: 30s)")
    add("--seal-key", metavar="FILE", help="key for fingerprints (default: one per user)")


def settings_of(args: argparse.Namespace, environ: Mapping[str, str]) -> CaptureSettings:
    """Return the settings that options and file say. Raises ConfigError."""
    file, document = CaptureConfig(), None
    if args.config is not None:
        file, document = config.load(args.config, environ)
    given = {
        option: value
        for option in (*OPTIONS, *SERVICE_OPTIONS)
        if (value := getattr(args, option[2:].replace("-", "_"))) is not None
    }
    merged = _with_services(_with_options(file, given), given)

    def fail(message: str, path: _Path) -> ConfigError:
        return _fail(message, path, given, document)

    if merged.to is not None:
        if not merged.to:
            raise fail("say where the capture goes: a directory, s3:// or firehose://", ("to",))
        try:
            sink_scheme(merged.to)
        except ConfigError as error:
            raise fail(error.message, ("to",)) from None
    return config.resolve(merged, fail)


def _with_options(file: CaptureConfig, given: Mapping[str, Any]) -> CaptureConfig:
    for option, value in given.items():
        if option not in OPTIONS:
            continue
        if option in _PARSERS:
            try:
                value = _PARSERS[option](value)
            except ValueError as error:
                raise ConfigError(str(error), file=option) from None
        head, *rest = OPTIONS[option]
        if rest:
            value = msgspec.structs.replace(getattr(file, str(head)), **{str(rest[0]): value})
        file = msgspec.structs.replace(file, **{str(head): value})
    return file


def _with_services(file: CaptureConfig, given: Mapping[str, Any]) -> CaptureConfig:
    changes = {
        SERVICE_OPTIONS[option]: given[option] for option in given if option in SERVICE_OPTIONS
    }
    if file.access_log.file is not None:
        return _with_log_options(file, changes)
    services = file.services
    if len(services) > 1 and (
        option := next((o for o in ("--upstream", "--service") if o in given), None)
    ):
        raise ConfigError("the file has several services: change it there", file=option)
    if not services and "upstream" in changes:
        services = (ServiceConfig(name=DEFAULT_SERVICE, upstream=""),)
    if changes and not services and file.consul.url is not None:
        option = next(o for o in given if o in SERVICE_OPTIONS)
        raise ConfigError("about --upstream only; apps in Consul say it by tags", file=option)
    if services and changes:
        services = tuple(msgspec.structs.replace(service, **changes) for service in services)
    return msgspec.structs.replace(file, services=services)


def _with_log_options(file: CaptureConfig, changes: Mapping[str, Any]) -> CaptureConfig:
    if option := next((o for o in ("--upstream", "--response-body") if _key(o) in changes), None):
        raise ConfigError("not beside an access log: start another capture for it", file=option)
    renamed = {"service" if key == "name" else key: value for key, value in changes.items()}
    return msgspec.structs.replace(
        file, access_log=msgspec.structs.replace(file.access_log, **renamed)
    )


def _key(option: str) -> str:
    return SERVICE_OPTIONS[option]


def _fail(
    message: str, path: _Path, given: Mapping[str, Any], document: yamlfile.Document | None
) -> ConfigError:
    for option in given:
        of_service = path[:1] == ("services",) and path[2:] == (SERVICE_OPTIONS.get(option),)
        of_log = path[:1] == ("access_log",) and path[1:] == (_LOG_KEYS.get(option),)
        if of_service or of_log or OPTIONS.get(option) == path:
            return ConfigError(message, file=option)
    if document is not None:
        return document.error(message, path)
    option = _FIRST_NEEDS.get(str(path[0]), "") if len(path) == 1 else ""
    return ConfigError(message, file=option or None, key=None if option else yamlfile.dotted(path))
