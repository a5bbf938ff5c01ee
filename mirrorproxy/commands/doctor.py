"""``mirrorproxy doctor``: check what a capture or a replay needs, and say what to do.

Owns the options, the order of the checks and what is printed. What is asked and
how it is judged is `doctor`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mirrorproxy import config, yamlfile
from mirrorproxy.config import CaptureConfig
from mirrorproxy.control.token import TokenFile
from mirrorproxy.doctor import catalog, keys, machine, mirrors, traefik
from mirrorproxy.doctor.aws import Aws
from mirrorproxy.doctor.bucket import Use
from mirrorproxy.doctor.cloud import check_identity, check_place
from mirrorproxy.doctor.finding import Finding
from mirrorproxy.doctor.http import Fetched, Unanswered, check_url, fetch
from mirrorproxy.doctor.places import Place, parse_place
from mirrorproxy.doctor.spool import measure_spool
from mirrorproxy.errors import ConfigError, SourceError
from mirrorproxy.report.printable import printable
from mirrorproxy.sources.events import Captured
from mirrorproxy.sources.reading import read_capture
from mirrorproxy.units import Bytes

EXIT_PROBLEM = 1

SAMPLE = 2_000
"""How many exchanges of a capture are looked at."""

DESCRIPTION = """\
Check what a capture or a replay needs, before it is started or while it runs, and say what to
do: a line for each check. Nothing is changed. What cannot be known is said too.
"""

EPILOG = """\
examples:
  mirrorproxy doctor --config capture.yaml
  mirrorproxy doctor --to 'firehose://orders?bodies=s3://captures/orders/'
  mirrorproxy doctor s3://captures/orders/ sqs://captures
  mirrorproxy doctor --mirror http://10.0.0.5:9808 --mirror http://10.0.0.6:9808
  mirrorproxy doctor --consul http://127.0.0.1:8500 --traefik-api http://127.0.0.1:8080

exit status: 0 no problem was found, 1 one was, 2 a mistake in options or files
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "doctor",
        help="check what a capture or replay needs, and say what to do",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "source",
        nargs="*",
        metavar="SOURCE",
        help="what a replay reads: s3://, sqs://, a directory or files",
    )
    add("--config", type=Path, metavar="FILE", help="a capture's configuration: all it names")
    add("--to", metavar="URL", help="where a capture goes: firehose://, s3:// or a directory")
    add("--spool", type=Path, metavar="DIR", help="the spool of a capture")
    add("--spool-limit", metavar="SIZE", help="its bound (default: 4GiB)")
    add(
        "--mirror",
        action="append",
        default=[],
        metavar="URL",
        help="admin address of a running capture; repeat it for each",
    )
    group = parser.add_argument_group("Consul and Traefik")
    add = group.add_argument
    add("--consul", metavar="URL", help="the agent that a mirror speaks to")
    add("--consul-token-file", metavar="FILE", help="its ACL token (CONSUL_HTTP_TOKEN)")
    add(
        "--consul-read-only",
        action="store_true",
        help="do not register a service for a moment to see whether it is allowed",
    )
    add("--default-rule", metavar="RULE", help="Traefik's own, for apps without a rule")
    add("--traefik-api", metavar="URL", help="Traefik's API, such as http://127.0.0.1:8080")
    add("--traefik-config", type=Path, metavar="FILE", help="its static configuration, in YAML")
    parser.add_argument("--json", action="store_true", help="print one object a line")


def run(args: argparse.Namespace) -> int:
    """Check; return the exit status. Raises ConfigError for a mistake in the options."""
    found_problem = False
    said: set[Finding] = set()
    for finding in _Doctor(args).findings():
        # One bucket may be both written to and read from.
        if finding in said:
            continue
        said.add(finding)
        found_problem |= finding.level == "problem"
        if args.json:
            print(msgspec.json.encode(finding).decode(), flush=True)
        else:
            remedy = f"; {finding.do}" if finding.do else ""
            print(
                printable(f"{finding.level:<9} {finding.what}: {finding.says}{remedy}"), flush=True
            )
    return EXIT_PROBLEM if found_problem else 0


class _Doctor:
    """All checks that the options ask for. Raises ConfigError, before any is made."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._config = CaptureConfig()
        if args.config is not None:
            self._config, self._document = config.load(args.config, os.environ)
        limit = self._config.spool.limit if args.spool_limit is None else _size(args.spool_limit)
        self._limit = int(limit)
        self._to = args.to if args.to is not None else self._config.to
        self._places: list[tuple[Place, Use]] = []
        if self._to is not None and (place := parse_place(self._to, "--to")) is not None:
            self._places.append((place, "write"))
        self._files: list[str] = []
        for source in args.source:
            place = parse_place(source, "SOURCE")
            if place is None:
                self._files.append(source)
            else:
                self._places.append((place, "read"))
        self._mirrors = [check_url(url, "--mirror") for url in args.mirror]
        self._traefik = args.traefik_api and check_url(args.traefik_api, "--traefik-api")
        self._static = None
        if args.traefik_config is not None:
            self._static = yamlfile.load(args.traefik_config, name=str(args.traefik_config))
        asked = (self._to, args.config, args.spool, args.source, args.mirror, args.consul)
        if not any((*asked, self._traefik, self._static)):
            raise ConfigError("say what to check: --config, --to, a SOURCE, --mirror, --consul ...")
        self._token = TokenFile(args.consul_token_file and Path(args.consul_token_file))
        self._apps = 0

    def findings(self) -> Iterator[Finding]:
        """Yield what every check says."""
        if self._args.config is not None:
            yield from self._configuration()
        yield from self._spool()
        if self._places:
            yield from self._cloud()
        for source in self._files:
            yield from _capture(source)
        if self._mirrors:
            yield from self._running()
        if self._args.consul is not None:
            yield from self._consul()
        if self._traefik:
            yield from self._traefik_api(self._traefik)
        if self._static is not None:
            yield from traefik.check_static(self._static.data)

    def _configuration(self) -> Iterator[Finding]:
        what = f"configuration {self._args.config}"
        try:
            config.resolve(self._config, self._document.error)
        except ConfigError as error:
            yield Finding("problem", what, str(error), "see docs/configuration.md")
        else:
            yield Finding("ok", what, "good")

    def _spool(self) -> Iterator[Finding]:
        path = self._args.spool or self._config.spool.directory
        if path is None and self._to is not None and "://" not in self._to:
            path = Path(self._to) / ".spool"
        if path is not None:
            yield from machine.check_spool(measure_spool(Path(path)), self._limit)
        elif self._to is not None:
            yield Finding("unchecked", "spool", "not named", "name it with --spool")

    def _cloud(self) -> Iterator[Finding]:
        try:
            aws = Aws()
        except ConfigError:
            yield Finding(
                "unchecked", "AWS", "boto3 is not installed", "pip install 'mirrorproxy[aws]'"
            )
            return
        who = check_identity(aws.identity())
        yield who
        if who.level != "problem":
            for place, use in self._places:
                yield from check_place(aws, place, use)
        if aws.clock_ahead_s is not None:
            yield machine.check_clock("AWS", aws.clock_ahead_s, signs=True)

    def _running(self) -> Iterator[Finding]:
        ids: dict[str, str] = {}
        for url in self._mirrors:
            answer = fetch(url, "/status")
            seen = answer if isinstance(answer, Unanswered) else mirrors.view(answer.value)
            yield from mirrors.check_mirror(url, seen)
            if isinstance(seen, Unanswered) or isinstance(answer, Unanswered):
                continue
            ids[f"{seen.mirror.name} ({url})"] = seen.mirror.seal_key_id
            yield from _clock(f"mirror {seen.mirror.name}", answer)
        if ids:
            yield keys.check_mirror_keys(ids)

    def _consul(self) -> Iterator[Finding]:
        try:
            # py-consul is an extra.
            from mirrorproxy.control.consul import ConsulClient  # noqa: PLC0415
        except ConfigError:
            yield Finding(
                "unchecked",
                "Consul",
                "py-consul is not installed",
                "pip install 'mirrorproxy[consul]'",
            )
            return

        async def look() -> catalog.Seen:
            client = ConsulClient(self._args.consul, token=self._token)
            try:
                return await catalog.look(client, may_register=not self._args.consul_read_only)
            finally:
                await client.close()

        seen = asyncio.run(look())
        self._apps = catalog.asking(seen)
        yield from catalog.check_catalog(seen, self._args.default_rule)

    def _traefik_api(self, url: str) -> Iterator[Finding]:
        version = fetch(url, "/api/version")
        if isinstance(version, Unanswered):
            yield traefik.check_version(version)
            return
        yield traefik.check_version(version.value)
        yield from _clock("Traefik", version)
        overview, routers = (
            fetch(url, "/api/overview"),
            fetch(url, "/api/http/routers?per_page=10000"),
        )
        yield traefik.check_providers(_value(overview))
        yield from traefik.check_routers(_value(routers), self._apps)


def _capture(source: str) -> Iterator[Finding]:
    """Look at the first exchanges of a capture in files."""
    what = f"capture {source}"
    if source == "-":
        yield Finding("unchecked", what, "standard input is not read")
        return
    try:
        events = itertools.islice(read_capture([source]), SAMPLE)
        found = [event.exchange for event in events if isinstance(event, Captured)]
    except SourceError as error:
        yield Finding("problem", what, str(error), "mend its name")
        return
    if not found:
        yield Finding("warning", what, "no exchange is found", "is it a capture?")
        return
    nodes, count = keys.keys_of(found)
    yield Finding("ok", what, "can be read")
    yield keys.check_record_keys(nodes, count)


def _clock(peer: str, answer: Fetched) -> Iterator[Finding]:
    if answer.ahead_s is not None:
        yield machine.check_clock(peer, answer.ahead_s)


def _value(answer: Fetched | Unanswered) -> Any:
    return answer if isinstance(answer, Unanswered) else answer.value


def _size(text: str) -> int:
    try:
        return Bytes.parse(text)
    except ValueError as error:
        raise ConfigError(str(error), file="--spool-limit") from None
