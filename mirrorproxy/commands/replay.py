"""``mirrorproxy replay``: send a capture to another server, paced as it was recorded.

Owns the command's options and what it prints. The sending is in `replay`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import secrets
import signal
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mirrorproxy.errors import ConfigError, MirrorproxyError
from mirrorproxy.http1.origin import Origin
from mirrorproxy.outcome import Outcome
from mirrorproxy.replay.guard import ProductionGuard
from mirrorproxy.replay.intake import Intake
from mirrorproxy.replay.ledger import Ledger, times
from mirrorproxy.replay.limits import Limits
from mirrorproxy.replay.neighbours import Neighbours
from mirrorproxy.replay.outcomes import OutcomeFile
from mirrorproxy.replay.runner import Runner
from mirrorproxy.replay.schedule import parse_speed
from mirrorproxy.replay.verdict import DEFAULT_FAIL_ON, Limit, exit_status, parse_fail_on
from mirrorproxy.report.progress import INTERVAL_S, Progress
from mirrorproxy.report.summary import (
    SHOWN_UNREADABLE,
    Details,
    progress_line,
    summary_lines,
    unreadable_lines,
)
from mirrorproxy.rules.load import load_rules, simple_rules
from mirrorproxy.rules.plan import SKIP_NO_CREDENTIAL, plan, with_body
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import Unreadable
from mirrorproxy.sources.feed import Reader
from mirrorproxy.sources.merge import Merge
from mirrorproxy.sources.objects import STDIN, find_objects
from mirrorproxy.units import parse_duration

_RUN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DRAIN_S = 10.0
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
    add = parser.add_argument
    add("source", nargs="+", metavar="SOURCE", help="a directory, files, or - for standard input")
    add("--bodies", metavar="DIR", help="where large bodies lie, when - does not say it")
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
    add("--max-lag", metavar="TIME", help="shed what is overdue by more (5s), never for none")
    result = parser.add_argument_group("result")
    add = result.add_argument
    add("--out", metavar="DIR", help="write outcomes.jsonl and ledger.json here")
    add("--json", action="store_true", help="print the ledger as one JSON object")
    add(
        "--fail-on",
        default=DEFAULT_FAIL_ON,
        metavar="LIMITS",
        help="end with status 3 on more than this, such as failed>1%%,5xx>0, or never (failed)",
    )


class _Settings(NamedTuple):
    """What the options mean, all of it checked."""

    rules: RuleSet
    limits: dict[str, Limits]
    guarded: dict[str, Origin]
    speed: float
    fail_on: list[Limit]
    run: str
    tls: ssl.SSLContext | None


def run(args: argparse.Namespace) -> int:
    """Replay; return the exit status.

    Raises ConfigError or SourceError for a mistake, before anything is sent if
    it can be known by then.
    """
    settings = _settings(args)
    ledger = Ledger()
    unreadable = _Unreadable()
    with ExitStack() as stack:
        outcomes = _open_outcomes(args.out)
        if outcomes is not None:
            stack.callback(outcomes.close)
        reader = Reader("source")
        stack.callback(reader.close)
        guard = ProductionGuard(settings.guarded)
        merge = Merge(find_objects(args.source, args.bodies), reader.feed, look_ahead=guard.check)
        planner = partial(plan, rules=settings.rules, seed=args.seed, run=settings.run)
        intake = Intake(merge, planner, ledger, unreadable.add)
        report: Callable[[Outcome], None] = outcomes.add if outcomes else lambda _: None
        started_s = time.monotonic()
        error = _replay(settings, intake, ledger, guard, report, unreadable.add)
        seconds = time.monotonic() - started_s
    if error is not None and not ledger.sent:
        raise error
    _print_result(args, ledger, unreadable, seconds)
    if error is not None:
        raise error
    if args.out is not None:
        _write_ledger(Path(args.out), ledger)
    if outcomes is not None and outcomes.error is not None:
        raise MirrorproxyError(f"{args.out}/outcomes.jsonl: {outcomes.error.strerror}")
    return exit_status(ledger, settings.fail_on)


def _replay(
    settings: _Settings,
    intake: Intake,
    ledger: Ledger,
    guard: ProductionGuard,
    report: Callable[[Outcome], None],
    on_unreadable: Callable[[Unreadable], None],
) -> MirrorproxyError | None:
    """Run the event loop until the replay is over; return what ended it early."""

    async def replay() -> None:
        loop = asyncio.get_running_loop()
        runner = Runner(
            intake,
            settings.limits,
            ledger,
            speed=settings.speed,
            with_body=_with_body,
            report=report,
            on_unreadable=on_unreadable,
            drain_s=_DRAIN_S,
            tls=settings.tls,
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, runner.stop)
        neighbours = Neighbours(settings.guarded, guard.places, _warn)
        with Progress() as progress:
            watching = asyncio.create_task(_watch(progress, runner, ledger, neighbours))
            try:
                await runner.run()
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    # A collection walks everything that is planned; what lives this shortly needs few.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    # The reading thread must not keep the interpreter from a shot that is due.
    sys.setswitchinterval(0.001)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(replay())
        except MirrorproxyError as error:
            return error
    return None


async def _watch(
    progress: Progress, runner: Runner, ledger: Ledger, neighbours: Neighbours
) -> None:
    started_s = time.monotonic()
    while True:
        await asyncio.sleep(INTERVAL_S)
        if progress.is_shown:
            seconds = time.monotonic() - started_s
            progress.show(progress_line(ledger.to_json(), runner.engine.in_flight, seconds))
        await neighbours.look()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every machine
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _with_body(shot: Shot, body: bytes) -> Shot | str:
    return with_body(shot, body) or SKIP_NO_CREDENTIAL


# -- options -------------------------------------------------------------------


def _settings(args: argparse.Namespace) -> _Settings:
    if args.target is None and args.rules is None:
        raise ConfigError("say where to send to: --target URL, or --rules FILE")
    if args.source.count(STDIN) and args.rules == STDIN:
        raise ConfigError("standard input cannot be both a source and the rules", file="--rules")
    rules = _rules(args)
    if not rules.targets:
        raise ConfigError("names no target", file=args.rules, key="targets")
    return _Settings(
        rules=rules,
        limits={name: _limits(args, target.limits) for name, target in rules.targets.items()},
        guarded={
            name: target.origin
            for name, target in rules.targets.items()
            if not (target.allow_production or args.allow_production)
        },
        speed=parse_speed(args.speed),
        fail_on=parse_fail_on(args.fail_on),
        run=_run_name(args.run),
        tls=_tls(args.ca_file),
    )


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
    return load_rules(Path(args.rules), os.environ, target_url=args.target, bearer=bearer)


def _limits(args: argparse.Namespace, limits: Any) -> Limits:
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
    return Limits(rate=rate, concurrency=concurrency, timeout_s=timeout_s, max_lag_s=max_lag_s)


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


def _tls(ca_file: str | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ConfigError(f"{ca_file}: holds no certificate", file="--ca-file") from error
    except OSError as error:
        raise ConfigError(f"{ca_file}: {error.strerror}", file="--ca-file") from error


# -- results -------------------------------------------------------------------


class _Unreadable:
    """The first parts that could not be read, and how many there were."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.total = 0

    def add(self, event: Unreadable) -> None:
        self.total += 1
        if len(self.shown) < SHOWN_UNREADABLE:
            self.shown.append(str(event))


def _open_outcomes(out: str | None) -> OutcomeFile | None:
    if out is None:
        return None
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        return OutcomeFile(Path(out) / "outcomes.jsonl")
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}", file="--out") from error


def _write_ledger(out: Path, ledger: Ledger) -> None:
    try:
        (out / "ledger.json").write_text(json.dumps(ledger.to_json(), indent=1) + "\n")
    except OSError as error:
        raise MirrorproxyError(f"{out}/ledger.json: {error.strerror}") from error


def _print_result(
    args: argparse.Namespace, ledger: Ledger, unreadable: _Unreadable, seconds: float
) -> None:
    for line in unreadable_lines(unreadable.shown, unreadable.total):
        _say(line, sys.stderr)
    if args.json:
        _say(json.dumps(ledger.to_json()), sys.stdout)
        return
    details = Details(
        seconds=seconds,
        late=ledger.late,
        differing=ledger.differing,
        cookies_removed=ledger.cookies_removed,
        lag_by_cause={
            cause: times(lag, 50, 99) for cause, lag in ledger.lag_by_cause.items() if lag.count
        },
        left_out=ledger.left_out,
    )
    for line in summary_lines(ledger.to_json(), details):
        _say(line, sys.stdout)


def _warn(message: str) -> None:
    _say(f"warning: {message}", sys.stderr)


def _say(line: str, stream: Any) -> None:
    print(line, file=stream)
