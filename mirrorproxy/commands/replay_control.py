"""What can be seen and changed of a running replay: its admin server, its keys in Consul.

Owns the joining of a runner with `control`. Loaded only when it is asked for:
the server takes longer to load than all the rest of a replay.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from mirrorproxy import __version__
from mirrorproxy.capture.listeners import Address, address_of, bind_alone, parse_address
from mirrorproxy.clock import wall_us
from mirrorproxy.config import host_name
from mirrorproxy.control.admin import AdminServer
from mirrorproxy.control.endpoint import ControlEndpoint, read_token
from mirrorproxy.control.kv_words import KV_REPLAY_WORDS, OnChange, follower, replay_prefix
from mirrorproxy.control.live import ChangeLog, ReplayControls
from mirrorproxy.control.replay_metrics import ReplayScrape, TargetSample, render_replay
from mirrorproxy.errors import ConfigError
from mirrorproxy.replay.governor import Narrowed
from mirrorproxy.replay.histogram import Histogram
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.runner import Runner

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PER_S = 1_000_000
_QUANTILES = {"0.5": 50, "0.99": 99}


class WatchKv(Protocol):
    """Watches a key-value store; see `control.watch.watch_values`."""

    async def __call__(
        self, prefix: str, on_change: OnChange, on_problem: Callable[[str | None], None]
    ) -> None:
        """Tell of the keys below a prefix, at first and after each change. Does not end.

        on_problem: told what keeps it from reading, None when it reads again.
        """


class ControlSettings(NamedTuple):
    """What was asked for. admin: None for no server; token: what a change must bring.

    consul: the agent's URL, None for none. name: the replay's in Consul.
    """

    run: str
    admin: Address | None
    token: str | None
    consul: str | None
    consul_token_file: str | None
    name: str


def control_settings(args: argparse.Namespace, run: str) -> ControlSettings:
    """Return what the options ask for. Raises ConfigError."""
    admin = None
    if args.admin != "off":
        try:
            admin = parse_address(args.admin)
        except ValueError as error:
            raise ConfigError(str(error), file="--admin") from None
    if args.admin_token_file is not None and admin is None:
        raise ConfigError("there is no admin server without --admin", file="--admin-token-file")
    if args.consul is None:
        for option, given in (
            ("--consul-token-file", args.consul_token_file),
            ("--name", args.name),
        ):
            if given is not None:
                raise ConfigError("means nothing without --consul", file=option)
    name = args.name
    if name is None:
        name = host_name()
    elif not _NAME.fullmatch(name):
        raise ConfigError("expected letters, digits, '.', '_' and '-', 63 at most", file="--name")
    return ControlSettings(
        run=run,
        admin=admin,
        token=None if args.admin_token_file is None else read_token(args.admin_token_file),
        consul=args.consul,
        consul_token_file=args.consul_token_file,
        name=name,
    )


class ReplayReports:
    """The reports of one replay, as `AdminServer` shows them."""

    def __init__(
        self,
        run: str,
        runner: Runner,
        ledger: Ledger,
        current: Callable[[], Mapping[str, object]],
        source: Callable[[], Mapping[str, object]],
    ) -> None:
        self._run = run
        self._runner = runner
        self._ledger = ledger
        self._current = current
        self._source = source
        self._started_us = wall_us()
        self._started_s = time.monotonic()

    def unready(self) -> list[str]:
        """Return why nothing is sent just now."""
        state = self._runner.knob.state
        return [] if state == "run" else [{"pause": "paused", "stop": "ending"}[state]]

    def app_unready(self, _name: str) -> list[str] | None:
        """Return None: a replay serves no apps."""
        return None

    def metrics(self) -> str:
        """Return all numbers in Prometheus's text format."""
        ledger, knob = self._ledger, self._runner.knob
        return render_replay(
            ReplayScrape(
                run=self._run,
                version=__version__,
                started_us=self._started_us,
                duplicates=ledger.duplicates,
                skipped=ledger.skipped,
                selected=ledger.selected,
                planned=ledger.planned,
                answered=ledger.status_classes(),
                failed=ledger.failed,
                shed=ledger.shed,
                unsent=ledger.unsent,
                unreadable=ledger.unreadable,
                unordered=ledger.unordered.total(),
                held=self._runner.engine.held_count,
                token_requests=ledger.token_requests,
                resent=ledger.resent,
                in_flight=self._runner.engine.in_flight,
                lag_s=_quantiles(ledger.lag),
                latency_s=_quantiles(ledger.latency),
                rate_percent=knob.rate_percent,
                state=knob.state,
                targets={
                    name: TargetSample(
                        percent=one.percent, is_paused=one.state != "run", cuts=one.cuts
                    )
                    for name, one in self._targets().items()
                },
            )
        )

    def _targets(self) -> Mapping[str, Narrowed]:
        governor = self._runner.governor
        return {} if governor is None else governor.targets()

    def status(self) -> object:
        """Return the ledger so far and how far the replay is.

        The ledger is the one of `--json`, without `balanced`: that is said of a
        replay that has ended. What is planned and has no outcome yet is `pending`.
        """
        ledger = self._ledger
        shown = ledger.to_json()
        del shown["balanced"]
        ended = ledger.sent + ledger.shed.total() + ledger.unsent
        return {
            "replay": {
                "run": self._run,
                "version": __version__,
                "started_us": self._started_us,
                "seconds": round(time.monotonic() - self._started_s, 3),
            },
            "control": self._current(),
            "progress": {
                "in_flight": self._runner.engine.in_flight,
                "pending": ledger.planned - ended,
            },
            "source": self._source(),
            "targets": {name: one._asdict() for name, one in self._targets().items()},
            "ledger": shown,
        }


@contextlib.asynccontextmanager
async def controlled(
    settings: ControlSettings,
    runner: Runner,
    ledger: Ledger,
    say: Callable[[str], None],
    watch_kv: WatchKv | None = None,
    source: Callable[[], Mapping[str, object]] = dict,
) -> AsyncIterator[None]:
    """Let a replay be seen and turned while the block lasts.

    say: takes lines for people. watch_kv: follows the keys of this run; those
    of settings.consul by default. source: how the source is, for `/status`.
    Raises ConfigError if an address cannot be used.
    """
    controls = ReplayControls(runner.knob, ChangeLog(say, wall_us))
    async with contextlib.AsyncExitStack() as stack:
        if settings.admin is not None:
            reports = ReplayReports(settings.run, runner, ledger, controls.current, source)
            await stack.enter_async_context(
                _admin(settings.admin, settings, controls, reports, say)
            )
        if watch_kv is None and settings.consul is not None:
            watch_kv = await stack.enter_async_context(
                consul_kv(settings.consul, settings.consul_token_file)
            )
        if watch_kv is not None:
            prefix = replay_prefix(settings.name, settings.run)
            following = asyncio.create_task(_follow(watch_kv, prefix, controls, say))
            stack.push_async_callback(_end, following)
            say(f"replay {settings.run}: follows {prefix} in Consul")
        yield


async def _follow(
    watch_kv: WatchKv, prefix: str, controls: ReplayControls, say: Callable[[str], None]
) -> None:
    problem: str | None = None

    def on_problem(now: str | None) -> None:
        nonlocal problem
        if now is not None and problem is None:
            say(f"warning: {now}; the replay goes on as it is")
        elif now is None and problem is not None:
            say("Consul can be read again")
        problem = now

    try:
        await watch_kv(prefix, follower(prefix, KV_REPLAY_WORDS, controls, say), on_problem)
    except Exception as error:  # noqa: BLE001 - a watch that broke must not end the replay unseen
        say(f"warning: {prefix} is followed no longer: {type(error).__name__}: {error}")


@contextlib.asynccontextmanager
async def consul_kv(url: str, token_file: str | None) -> AsyncIterator[WatchKv]:
    """Give what watches the keys of an agent. Raises ConfigError."""
    # By name: py-consul is an extra, and takes its time to load.
    try:
        consul = importlib.import_module("mirrorproxy.control.consul")
        token = importlib.import_module("mirrorproxy.control.token")
        watch = importlib.import_module("mirrorproxy.control.watch")
    except ImportError as error:
        raise ConfigError(
            "Consul needs the extra: pip install 'mirrorproxy[consul]'", file="--consul"
        ) from error
    client = consul.ConsulClient(
        url, token=token.TokenFile(None if token_file is None else Path(token_file))
    )

    async def watch_kv(
        prefix: str, on_change: OnChange, on_problem: Callable[[str | None], None]
    ) -> None:
        await watch.watch_values(client, prefix, on_change, on_problem=on_problem)

    try:
        yield watch_kv
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _admin(
    address: Address,
    settings: ControlSettings,
    controls: ReplayControls,
    reports: ReplayReports,
    say: Callable[[str], None],
) -> AsyncIterator[None]:
    try:
        listening = bind_alone(address)
    except ConfigError as error:
        raise ConfigError(error.message, file="--admin") from error
    loopback = address.is_loopback
    server = AdminServer(
        reports,
        loopback=loopback,
        control=ControlEndpoint(controls, loopback=loopback, token=settings.token),
    )
    try:
        await server.start(listening)
        say(
            f"replay {settings.run}: admin on http://{address_of(listening)}: "
            "/healthz /readyz /metrics /status /control"
        )
        yield
    finally:
        await server.close()
        listening.close()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _quantiles(histogram: Histogram) -> dict[str, float]:
    found = {name: histogram.percentile(percent) for name, percent in _QUANTILES.items()}
    return {name: us / _PER_S for name, us in found.items() if us is not None}
