"""``mirrorproxy replay``: send a capture to another server, paced as it was recorded.

Owns the putting together of a replay; `replay_options` owns the options,
`replay_result` what is printed of it, `replay` the sending.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    contextmanager,
    nullcontext,
)
from functools import partial
from pathlib import Path

from mirrorproxy.clock import wall_us
from mirrorproxy.commands.decoding import Decoder, body_reader
from mirrorproxy.commands.dry_run import dry_run
from mirrorproxy.commands.replay_compare import Compared
from mirrorproxy.commands.replay_correlation import correlation_of
from mirrorproxy.commands.replay_credentials import fetched_credentials
from mirrorproxy.commands.replay_options import Settings, add_parser, settings_of
from mirrorproxy.commands.replay_result import Result, UnreadableParts, open_outcomes, say
from mirrorproxy.commands.replay_source import Opened, open_source
from mirrorproxy.errors import MirrorproxyError
from mirrorproxy.loops import loop_factory
from mirrorproxy.outcome import Outcome
from mirrorproxy.record import Exchange
from mirrorproxy.replay.credentials import Credentials
from mirrorproxy.replay.guard import ProductionGuard
from mirrorproxy.replay.intake import Intake
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.neighbours import Neighbours
from mirrorproxy.replay.order import order_of
from mirrorproxy.replay.runner import Runner
from mirrorproxy.replay.unmapped import Unmapped
from mirrorproxy.replay.verdict import exit_status
from mirrorproxy.report.summary import progress_line
from mirrorproxy.rules.offered import Offered
from mirrorproxy.rules.plan import Plan, with_body
from mirrorproxy.rules.planner import Planner
from mirrorproxy.sources.events import CaptureObject
from mirrorproxy.sources.feed import InlineFeed, Reader
from mirrorproxy.sources.merge import Merge

__all__ = ["add_parser", "run"]

_DRAIN_S = 10.0

Control = Callable[
    [Runner, Ledger, Callable[[], Mapping[str, object]]], AbstractAsyncContextManager[None]
]
"""Lets a runner be seen and turned while it lasts, with how its source is."""

_WATCH_S = 0.5
"""Drawing takes the sender about a millisecond, so it is done seldom."""


def run(args: argparse.Namespace) -> int:
    """Replay; return the exit status.

    Raises ConfigError or SourceError for a mistake, before anything is sent if
    it can be known by then.
    """
    settings = settings_of(args)
    control = _control(args, settings.run)
    ledger = Ledger()
    unreadable = UnreadableParts()
    opened = open_source(args, settings.speed, _warn)
    guard = ProductionGuard(settings.guarded, settings.logins, _warn)
    decode = Decoder(keeps_secrets=settings.rules.sends_logged_credentials)
    planner = _planner(settings, args.seed, opened.delay_s)
    correlation = correlation_of(settings)
    with ExitStack() as stack:
        stack.callback(opened.close)
        if args.dry_run:
            merge = Merge(
                opened.objects,
                InlineFeed,
                window_us=opened.window_us,
                look_ahead=guard.check,
                decode=decode,
            )
            intake = Intake(opened.chosen(merge), planner, ledger, unreadable.add)
            status = dry_run(args, settings, intake, ledger, guard, _warn)
            unreadable.say()
            return status
        outcomes = open_outcomes(args.out)
        if outcomes is not None:
            stack.callback(outcomes.close)
        reader = Reader("source")
        stack.callback(reader.close)
        unmapped = Unmapped()
        merge = Merge(
            opened.objects,
            reader.feed,
            window_us=opened.window_us,
            look_ahead=guard.check,
            decode=decode,
        )
        intake = Intake(opened.chosen(merge), unmapped.watching(planner), ledger, unreadable.add)
        report = outcomes.add if outcomes else None
        compared = Compared(
            settings.rules,
            ledger,
            is_on=settings.compares,
            probes=settings.noise_probe,
            same=None
            if correlation is None
            else lambda f, one, other: correlation.maps(f.shot, one, other),
        )
        result = Result(ledger, unreadable, unmapped, correlation, compared)
        started_s = time.monotonic()
        error = _replay(settings, intake, result, guard, report, control, opened)
        seconds = time.monotonic() - started_s
    if error is not None and not ledger.sent:
        raise error
    compared.judge()
    result.show(seconds, as_json=args.json)
    if error is not None:
        raise error
    if args.out is not None:
        result.write(Path(args.out))
    if outcomes is not None and outcomes.error is not None:
        raise MirrorproxyError(f"{args.out}/outcomes.jsonl: {outcomes.error.strerror}")
    return exit_status(ledger, settings.fail_on)


def _planner(
    settings: Settings, seed: str, delay_s: float | None
) -> Callable[[Exchange, CaptureObject], Plan]:
    planner = Planner(
        settings.rules,
        seed,
        settings.run,
        speed=settings.speed,
        now_us=wall_us,
        delay_us=None if delay_s is None else round(delay_s * 1e6),
        offered=Offered() if settings.correlates else None,
    )
    return lambda exchange, source: planner.plan(exchange, body_reader(source))


def _replay(
    settings: Settings,
    intake: Intake,
    result: Result,
    guard: ProductionGuard,
    report: Callable[[Outcome], None] | None,
    control: Control,
    opened: Opened,
) -> MirrorproxyError | None:
    """Run the event loop until the replay is over; return what ended it early.

    result: what is learned, compared and counted goes there.
    """
    ledger, compared = result.ledger, result.compared

    async def replay() -> None:
        loop = asyncio.get_running_loop()
        async with fetched_credentials(
            settings.rules.sources, ledger, _tell, speed=settings.speed, tls=settings.tls
        ) as credentials:
            await run_with(loop, credentials)

    async def run_with(loop: asyncio.AbstractEventLoop, credentials: Credentials | None) -> None:
        runner = Runner(
            intake,
            settings.limits,
            ledger,
            speed=settings.speed,
            order=order_of(settings.order, ledger.unordered),
            with_body=with_body,
            report=report,
            on_unreadable=result.unreadable.add,
            drain_s=_DRAIN_S,
            tls=settings.tls,
            delay_s=opened.delay_s,
            credentials=credentials,
            say=partial(say, stream=sys.stderr),
            listener=compared.listener(),
            prober=compared.prober,
            correlator=result.correlation,
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, runner.stop)
        neighbours = Neighbours(settings.guarded, guard.places, _warn)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(control(runner, ledger, opened.status))
            show = stack.enter_context(_progress())
            watching = asyncio.create_task(_watch(show, runner, ledger, neighbours))
            try:
                await runner.run()
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    with _steady_interpreter(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            runner.run(replay())
        except MirrorproxyError as error:
            return error
    return None


def _control(args: argparse.Namespace, run: str) -> Control:
    """Return what lets a runner be seen and turned; does nothing if nobody asked for it."""
    asked = (args.admin_token_file, args.consul, args.consul_token_file, args.name)
    if args.admin == "off" and not any(asked):
        return lambda _runner, _ledger, _source: nullcontext()
    # It takes longer to load than all the rest of a replay.
    from mirrorproxy.commands.replay_control import (  # noqa: PLC0415
        control_settings,
        controlled,
    )

    settings = control_settings(args, run)
    return lambda runner, ledger, source: controlled(
        settings, runner, ledger, partial(say, stream=sys.stderr), source=source
    )


async def _watch(
    show: Callable[[str], None] | None, runner: Runner, ledger: Ledger, neighbours: Neighbours
) -> None:
    started_s = time.monotonic()
    while True:
        await asyncio.sleep(_WATCH_S)
        if show is not None:
            seconds = time.monotonic() - started_s
            show(progress_line(ledger.to_json(), runner.engine.in_flight, seconds))
        await neighbours.look()


@contextmanager
def _progress() -> Iterator[Callable[[str], None] | None]:
    """Give what shows a line on a terminal, None where there is none."""
    if not sys.stderr.isatty():
        yield None
        return
    # Not loaded for nobody: rich takes a tenth of the start of a replay.
    from mirrorproxy.report.progress import Progress  # noqa: PLC0415

    with Progress() as progress:
        yield progress.show


@contextmanager
def _steady_interpreter() -> Iterator[None]:
    """Keep the interpreter's own pauses short while shots are due."""
    thresholds = gc.get_threshold()
    interval_s = sys.getswitchinterval()
    gc.freeze()
    # A collection of the older generations walks all that is held: too long a pause.
    gc.set_threshold(10_000, 1_000, 1_000)
    # The reading thread must not keep the interpreter from a shot that is due.
    sys.setswitchinterval(0.001)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        sys.setswitchinterval(interval_s)


def _tell(message: str) -> None:
    say(message, sys.stderr)


def _warn(message: str) -> None:
    say(f"warning: {message}", sys.stderr)
