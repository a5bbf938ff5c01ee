"""What can be seen and changed of a running replay: its admin server, its keys in Consul.

Owns the joining of a runner with `control`. Loaded only when it is asked for:
the server takes longer to load than all the rest of a replay.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple, Protocol

from mirrorproxy import __version__
from mirrorproxy.capture.listeners import Address, address_of, bind_alone
from mirrorproxy.clock import wall_us
from mirrorproxy.control.admin import AdminServer
from mirrorproxy.control.endpoint import ControlEndpoint, read_token
from mirrorproxy.control.kv_words import OnChange, follower, replay_prefix
from mirrorproxy.control.live import ChangeLog, ReplayControls
from mirrorproxy.control.replay_metrics import ReplayScrape, render_replay
from mirrorproxy.control.words import REPLAY_WORDS
from mirrorproxy.errors import ConfigError
from mirrorproxy.replay.histogram import Histogram
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.runner import Runner

_PER_S = 1_000_000
_QUANTILES = {"0.5": 50, "0.99": 99}


class KvStore(Protocol):
    """A key-value store that can be watched."""

    async def watch_kv(self, prefix: str, on_change: OnChange) -> None:
        """Call on_change with all keys below a prefix, at first and after each change.

        Goes on until it is cancelled, also while the store is away.
        """


class ControlSettings(NamedTuple):
    """What was asked for. admin: None for no server. name: the replay's in Consul."""

    run: str
    admin: Address | None
    token_file: str | None
    name: str


class ReplayReports:
    """The reports of one replay, as `AdminServer` shows them."""

    def __init__(
        self, run: str, runner: Runner, ledger: Ledger, current: Callable[[], Mapping[str, object]]
    ) -> None:
        self._run = run
        self._runner = runner
        self._ledger = ledger
        self._current = current
        self._started_us = wall_us()
        self._started_s = time.monotonic()

    def unready(self) -> list[str]:
        """Return why nothing is sent just now."""
        state = self._runner.knob.state
        return [] if state == "run" else [{"pause": "paused", "stop": "ending"}[state]]

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
                in_flight=self._runner.engine.in_flight,
                lag_s=_quantiles(ledger.lag),
                latency_s=_quantiles(ledger.latency),
                rate_percent=knob.rate_percent,
                state=knob.state,
            )
        )

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
            "ledger": shown,
        }


@contextlib.asynccontextmanager
async def controlled(
    settings: ControlSettings,
    runner: Runner,
    ledger: Ledger,
    say: Callable[[str], None],
    store: KvStore | None = None,
) -> AsyncIterator[None]:
    """Let a replay be seen and turned while the block lasts.

    say: takes lines for people. store: follows the keys of this run there.
    Raises ConfigError if the address cannot be used or the token cannot be read.
    """
    controls = ReplayControls(runner.knob, ChangeLog(say, wall_us))
    async with contextlib.AsyncExitStack() as stack:
        if settings.admin is not None:
            reports = ReplayReports(settings.run, runner, ledger, controls.current)
            await stack.enter_async_context(
                _admin(settings.admin, settings, controls, reports, say)
            )
        if store is not None:
            prefix = replay_prefix(settings.name, settings.run)
            on_change = follower(prefix, REPLAY_WORDS, controls, say)
            watching = asyncio.create_task(store.watch_kv(prefix, on_change))
            stack.push_async_callback(_end, watching)
            say(f"replay {settings.run}: follows {prefix} in Consul")
        yield


@contextlib.asynccontextmanager
async def _admin(
    address: Address,
    settings: ControlSettings,
    controls: ReplayControls,
    reports: ReplayReports,
    say: Callable[[str], None],
) -> AsyncIterator[None]:
    token = read_token(settings.token_file) if settings.token_file is not None else None
    try:
        listening = bind_alone(address)
    except ConfigError as error:
        raise ConfigError(error.message, file="--admin") from error
    loopback = address.is_loopback
    server = AdminServer(
        reports,
        loopback=loopback,
        control=ControlEndpoint(controls, loopback=loopback, token=token),
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
