"""The options of ``mirrorproxy replay``: what they are, and what they mean.

Owns their text and their checks. Opens the rule file and what it names, and
nothing else.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mirrorproxy.commands.source_options import add_source_options
from mirrorproxy.errors import ConfigError
from mirrorproxy.http1.origin import Origin
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.schedule import parse_speed
from mirrorproxy.replay.verdict import COMPARED, DEFAULT_FAIL_ON, Limit, parse_fail_on
from mirrorproxy.rules.ruleset import CompiledTarget, RuleSet
from mirrorproxy.rules.session import SessionOrder
from mirrorproxy.rules.simple import simple_rules
from mirrorproxy.sources.objects import STDIN
from mirrorproxy.units import parse_duration

_RUN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_EXPLAINED = 100
_DEFAULT_SEED = "replay"

DESCRIPTION = """\
Send a capture to another server, paced as it was recorded. Every exchange that was read and
every shot that was planned stands in the ledger at the end, once. Ctrl-C stops cleanly: what
is in flight is waited for, the rest counts as unsent.
"""

EPILOG = """\
examples:
  mirrorproxy replay ./capture --target https://staging.example.com --auth-env STAGING_TOKEN
      everything, with one token of staging's own in place of production's

  mirrorproxy replay ./capture --rules rules.yaml --speed 10 --out ./result
      by a rule file, ten times as fast, with an outcome per shot in ./result/outcomes.jsonl

  zcat capture.gz | mirrorproxy replay - --target http://127.0.0.1:8080 --speed max --json
      from a pipe, as fast as the target answers, the ledger as JSON

  mirrorproxy replay s3://captures/orders --from -2h --to -1h --target http://127.0.0.1:8080
      an hour of what Firehose stored

  mirrorproxy replay sqs://captures --delay 5m --target https://staging.example.com --fleet-size 4
      live, five minutes behind production, one of four workers

exit status: 0 done and balanced, 1 input was lost or the ledger does not balance,
2 a mistake in options or files, 3 nothing was sent or a --fail-on limit was crossed
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "replay",
        help="send a capture to another server, paced as it was recorded",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # So that `--from -2h` is a value; argparse takes `-2` for one by itself.
    parser._negative_number_matcher = re.compile(r"-[0-9.]+[0-9.wdhmsu]*\Z")
    add_source_options(parser)
    what = parser.add_argument_group("what is sent where")
    add = what.add_argument
    add("--target", metavar="URL", help="send everything here; replaces a rule file's one target")
    add("--rules", metavar="FILE", help="a rule file, see docs/rules.md")
    add("--auth-env", metavar="NAME", help="variable with the token that replaces sealed ones")
    add("--allow-production", action="store_true", help="send to where the traffic was captured")
    add("--seed", default=_DEFAULT_SEED, help="for sampling by session; alike on all of a fleet")
    add("--run", metavar="NAME", help="name of this replay, sent in X-Mirrorproxy-Replay")
    add("--ca-file", metavar="FILE", help="certificates to trust for https, instead of the usual")
    pace = parser.add_argument_group("how fast")
    add = pace.add_argument
    add("--speed", default="1", metavar="N|max", help="0.1 to 1000 times as recorded, or max")
    add("--limit-rate", metavar="N", help="requests a second for each target at most")
    add("--concurrency", metavar="N", help="requests without an answer at most (256)")
    add("--timeout", metavar="TIME", help="from sending to the whole answer at most (30s)")
    add(
        "--order",
        choices=("session", "target", "off"),
        help="what a session's shots wait for: all before them, those of the same target, nothing",
    )
    add("--no-correlate", action="store_true", help="send ids and tokens as production gave them")
    add("--max-lag", metavar="TIME", help="shed what is overdue by more (5s), never for none")
    add("--max-shots", metavar="N", help="end when each target was sent so many")
    add("--max-duration", metavar="TIME", help="end when it has sent for so long")
    add("--fleet-size", metavar="N", help="workers that share these limits (1)")
    add("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    live = parser.add_argument_group("while it runs")
    add = live.add_argument
    add(
        "--admin",
        default="off",
        metavar="HOST:PORT",
        help="health, metrics, status and control here, port 0 for any (off)",
    )
    add("--admin-token-file", metavar="FILE", help="what a change must bring; needed off loopback")
    add("--consul", metavar="URL", help="follow this run's keys in Consul's key-value store")
    add("--consul-token-file", metavar="FILE", help="ACL token (CONSUL_HTTP_TOKEN)")
    add("--name", metavar="NAME", help="first part of those keys (the host's name)")
    result = parser.add_argument_group("result")
    add = result.add_argument
    add(
        "--no-compare",
        dest="compare",
        action="store_false",
        help="do not compare the answers with production's",
    )
    add(
        "--noise-probe",
        metavar="N",
        help="send up to N reads of each kind twice, to tell what always differs (0)",
    )
    add("--out", metavar="DIR", help="write outcomes.jsonl and ledger.json here")
    add(
        "--explain",
        action="append",
        default=[],
        metavar="ID",
        help="say what this replay put into that exchange, and from where",
    )
    add("--json", action="store_true", help="print the ledger as one JSON object")
    add(
        "--fail-on",
        default=DEFAULT_FAIL_ON,
        metavar="LIMITS",
        help="end with status 3 on more than this, such as failed>1%%,5xx>0, or never (failed)",
    )


class Settings(NamedTuple):
    """What the options mean, all of it checked.

    order: of sessions. limits: by target. guarded: the targets that may not be production; logins:
    where their credentials are fetched. run: the name of this replay. compares: whether answers
    are compared with production's. noise_probe: so many requests of a group are sent twice.
    correlates: whether what answers give is put into later shots. explained: the exchanges that
    are told of.
    """

    rules: RuleSet
    order: SessionOrder
    limits: dict[str, Limits]
    guarded: dict[str, Origin]
    logins: dict[str, Origin]
    speed: float
    fail_on: list[Limit]
    run: str
    tls: ssl.SSLContext | None
    compares: bool
    noise_probe: int
    correlates: bool = True
    explained: tuple[str, ...] = ()


def settings_of(args: argparse.Namespace) -> Settings:
    """Return what the options mean. Raises ConfigError, which names the option or file."""
    if args.target is None and args.rules is None:
        raise ConfigError("say where to send to: --target URL, or --rules FILE")
    if args.source.count(STDIN) and args.rules == STDIN:
        raise ConfigError("standard input cannot be both a source and the rules", file="--rules")
    if args.bodies is not None and not os.path.isdir(args.bodies):
        raise ConfigError(f"{args.bodies}: no such directory", file="--bodies")
    rules = _rules(args)
    if not rules.targets:
        raise ConfigError("names no target", file=args.rules, key="targets")
    return Settings(
        rules=rules,
        order=_order(args.order, rules.order),
        limits={name: _limits(args, target) for name, target in rules.targets.items()},
        guarded=rules.guarded(allow_production=args.allow_production),
        logins=rules.logins(allow_production=args.allow_production),
        speed=parse_speed(args.speed),
        fail_on=_fail_on(args.fail_on, compares=args.compare),
        run=_run_name(args.run),
        tls=_tls(args.ca_file),
        compares=args.compare,
        noise_probe=_noise_probe(args),
        correlates=not args.no_correlate,
        explained=_explained(args.explain, correlates=not args.no_correlate),
    )


def _explained(ids: list[str], *, correlates: bool) -> tuple[str, ...]:
    if ids and not correlates:
        raise ConfigError("with --no-correlate nothing is replaced", file="--explain")
    if len(ids) > _MAX_EXPLAINED:
        raise ConfigError(f"expected {_MAX_EXPLAINED} at most", file="--explain")
    return tuple(dict.fromkeys(ids))


def _rules(args: argparse.Namespace) -> RuleSet:
    bearer = None
    if args.auth_env is not None:
        bearer = os.environ.get(args.auth_env)
        if not bearer:
            raise ConfigError(
                f"the environment variable {args.auth_env} is not set", file="--auth-env"
            )
    if args.rules is None:
        return simple_rules(args.target, bearer=bearer)
    # YAML is loaded for rule files alone: it takes a sixth of the start.
    from mirrorproxy.rules.load import load_rules  # noqa: PLC0415

    return load_rules(Path(args.rules), os.environ, target_url=args.target, bearer=bearer)


def _limits(args: argparse.Namespace, target: CompiledTarget) -> Limits:
    limits = target.limits
    rate = limits.rate
    if args.limit_rate is not None:
        rate = _number("--limit-rate", args.limit_rate, float, "a number of requests a second")
    concurrency = limits.concurrency
    if args.concurrency is not None:
        concurrency = _number("--concurrency", args.concurrency, int, "a whole number")
    timeout_s: float = limits.timeout_s
    if args.timeout is not None:
        timeout_s = _duration("--timeout", args.timeout)
        if not timeout_s:
            raise ConfigError("expected a duration above 0", file="--timeout")
    max_lag_s: float | None = limits.max_lag_s
    if args.max_lag is not None:
        max_lag_s = None if args.max_lag == "never" else _duration("--max-lag", args.max_lag)
    max_shots = limits.max_shots
    if args.max_shots is not None:
        max_shots = _number("--max-shots", args.max_shots, int, "a whole number")
    max_duration_s = limits.max_duration_s
    if args.max_duration is not None:
        max_duration_s = _duration("--max-duration", args.max_duration)
        if not max_duration_s:
            raise ConfigError("expected a duration above 0", file="--max-duration")
    workers = 1
    if args.fleet_size is not None:
        workers = _number("--fleet-size", args.fleet_size, int, "a whole number")
    return Limits(
        rate=rate,
        concurrency=concurrency,
        timeout_s=timeout_s,
        max_lag_s=max_lag_s,
        max_shots=max_shots,
        max_duration_s=max_duration_s,
        ramp_s=target.ramp_s,
        backoff=target.backoff,
    ).shared_by(workers)


def _order(asked: str | None, order: SessionOrder) -> SessionOrder:
    if asked is None:
        return order
    return order._replace(is_kept=asked != "off", by_target=asked == "target")


def _number(option: str, text: str, kind: Callable[[str], float], what: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value <= 1e7:
        raise ConfigError(f"expected {what} above 0", file=option)
    return value


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error), file=option) from error


def _run_name(name: str | None) -> str:
    if name is None:
        return secrets.token_hex(4)
    if not _RUN.fullmatch(name):
        raise ConfigError("expected up to 64 letters, digits, '.', '_' or '-'", file="--run")
    return name


def _noise_probe(args: argparse.Namespace) -> int:
    if args.noise_probe is None or args.noise_probe == "0":
        return 0
    if not args.compare:
        raise ConfigError("nothing is compared with --no-compare", file="--noise-probe")
    return int(_number("--noise-probe", args.noise_probe, int, "a whole number"))


def _fail_on(text: str, *, compares: bool) -> list[Limit]:
    limits = parse_fail_on(text)
    if not compares and (needs := [one.what for one in limits if one.what in COMPARED]):
        raise ConfigError(f"{needs[0]} is not known with --no-compare", file="--fail-on")
    return limits


def _tls(ca_file: str | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ConfigError(f"{ca_file}: holds no certificate", file="--ca-file") from error
    except OSError as error:
        raise ConfigError(f"{ca_file}: {error.strerror}", file="--ca-file") from error
