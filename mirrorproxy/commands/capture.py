"""``mirrorproxy capture``: stand before an application and record its traffic.

Owns the order of checks before anything is started, and what is printed at
start and end. Options are `capture_options`, the file's shape is `config`;
running the processes is `capture.supervisor`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from mirrorproxy import __version__, app
from mirrorproxy.app_sinks import check_target
from mirrorproxy.capture.claim import Claim, claim
from mirrorproxy.capture.ending import Ending
from mirrorproxy.capture.ledger import describe
from mirrorproxy.capture.listeners import address_of
from mirrorproxy.capture.prober import Prober
from mirrorproxy.capture.reports import Identity, MirrorReports
from mirrorproxy.capture.seal_key import SealKey, from_env, load_or_create
from mirrorproxy.capture.seal_policy import SealPolicy
from mirrorproxy.capture.settings import FollowerSettings, ShipperSettings, WorkerSettings
from mirrorproxy.capture.supervisor import Plan, Supervisor
from mirrorproxy.clock import wall_us
from mirrorproxy.commands.capture_control import Ground, MakeControl, Watching, make_control
from mirrorproxy.commands.capture_live import CaptureLive
from mirrorproxy.commands.capture_metrics import metrics_text
from mirrorproxy.commands.capture_options import add_options, settings_of
from mirrorproxy.commands.capture_sockets import Sockets, bound
from mirrorproxy.commands.decoding import SEAL_KEY_VARIABLE
from mirrorproxy.config import CaptureSettings
from mirrorproxy.control.admin import AdminServer
from mirrorproxy.control.endpoint import read_token
from mirrorproxy.errors import ConfigError
from mirrorproxy.topology import Topology

log = logging.getLogger(__name__)

EXIT_LOST = 1

FIRST_TOPOLOGY_S = 3.0
"""How long to wait for the first apps before clients are accepted."""

EPILOG = """\
examples:
  mirrorproxy capture --listen 127.0.0.1:8000 --upstream http://127.0.0.1:8080 --to ./capture
      every request to port 8000 reaches the application on 8080 unchanged, and is recorded

  mirrorproxy capture --listen :8000 --upstream http://app:8080 --to /capture \\
      --percent 10 --percent-by session --response-body
      one session in ten, whole, with the answers' bodies

  mirrorproxy capture --consul http://127.0.0.1:8500 --listen 10.0.0.5:8000 --to /capture
      every app behind Traefik that has the tag mirrorproxy.enable=true: see docs/traefik.md

  mirrorproxy capture --access-log /var/log/traefik/access.log --to ./capture
      follow a JSON access log, through its rotations: no bodies, nothing in the path

  mirrorproxy capture --listen :8000 --upstream http://app:8080 --spool /var/spool/mirrorproxy \\
      --to 'firehose://mirror?bodies=s3://captures/mirror&region=eu-central-1'
      into a bucket by way of Kinesis Data Firehose; s3://captures/mirror goes there directly

  mirrorproxy capture --config capture.yaml
      several services, filters, limits: see docs/configuration.md

Secrets are sealed before anything is written: passwords, tokens, API keys and cookies become
fingerprints. Ctrl-C or SIGTERM ends it: what is in flight is finished, the rest is shipped, and
the ledger says what became of every request. A second one ends it at once.
exit status: 0 all shipped, 1 something is left in the spool or the ledger does not balance,
2 a mistake in options or files, a port or spool in use
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "capture",
        help="stand before an application and record its traffic",
        description="Forward every request unchanged, and record it with its answer.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)


def run(
    args: argparse.Namespace,
    control: MakeControl = make_control,
) -> int:
    """Capture until told to end; return the exit status.

    control: makes what watches for apps.
    """
    settings = settings_of(args, os.environ)
    app.configure_logging(settings.log_level, "supervisor")
    check_target(settings.to)
    if settings.access_log and Path(settings.access_log.file).is_dir():
        raise ConfigError("a directory: name the file that is written", file="--access-log")
    token = _token(args, settings)
    with contextlib.ExitStack() as stack:
        spool = claim(Path(settings.spool.directory), settings.workers)
        stack.callback(spool.close)
        key = _seal_key(settings)
        # The workers of a killed supervisor go on serving for a moment: no gap.
        sockets = stack.enter_context(bound(settings, beside_others=bool(spool.orphans)))
        capture = _Capture(settings, spool, key, sockets, token, control)
        return asyncio.run(capture.run(as_json=args.json))


def _token(args: argparse.Namespace, settings: CaptureSettings) -> str | None:
    if args.admin_token_file is None:
        return None
    if settings.admin is None:
        raise ConfigError("there is no admin server: --admin is off", file="--admin-token-file")
    return read_token(args.admin_token_file)


def _seal_key(settings: CaptureSettings) -> SealKey:
    if settings.seal_key_file is None and SEAL_KEY_VARIABLE in os.environ:
        return from_env(SEAL_KEY_VARIABLE, os.environ)
    return load_or_create(_key_path(settings))


def _key_path(settings: CaptureSettings) -> Path:
    """Return where the key lies: never within the capture, which is made to be handed on.

    With the key, weak passwords could be guessed from their fingerprints.
    """
    if settings.seal_key_file:
        return Path(settings.seal_key_file)
    spool = Path(settings.spool.directory).resolve()
    if not spool.is_relative_to(Path(settings.to).resolve()):
        return spool / "seal.key"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "mirrorproxy" / "seal.key"


class _Capture:
    """One run of the command, from bound sockets to the ledger."""

    def __init__(
        self,
        settings: CaptureSettings,
        spool: Claim,
        key: SealKey,
        sockets: Sockets,
        token: str | None,
        control: MakeControl,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._key = key
        self._sockets = sockets
        self._token = token
        self._make_control = control
        self._published = asyncio.Event()
        self._kept = SealPolicy(**msgspec.structs.asdict(settings.seal)).kept()

    async def run(self, *, as_json: bool) -> int:
        settings, sockets, slots = self._settings, self._sockets, self._spool.slots
        supervisor = Supervisor(
            self._plan(),
            counters=self._spool.counters,
            locks=self._spool.locks,
            sockets=sockets.by_slot(slots),
            tap_sockets=dict(zip(slots, sockets.tapping, strict=False)),
            orphans=self._spool.orphans,
            spool=self._spool.spool,
        )
        live = CaptureLive(
            supervisor, {service.name: service.percent for service in settings.services}
        )
        prober = Prober()
        control = self._make_control(settings, self._ground(supervisor, prober, live))
        reports = MirrorReports(
            self._identity(),
            supervisor,
            self._spool.counters,
            prober,
            metrics_text,
            control.status if control else lambda: None,
            live.current,
        )
        admin = None
        if sockets.admin and settings.admin:
            loopback = settings.admin.is_loopback
            admin = AdminServer(
                reports,
                loopback=loopback,
                control=live.endpoint(loopback=loopback, token=self._token),
                traefik=control.document if control else None,
            )
            await admin.start(sockets.admin)
        probing = asyncio.create_task(prober.run())
        greeting = asyncio.create_task(self._greet(supervisor))
        watching = Watching(control) if control else None
        ending = Ending(
            supervisor,
            watching.deregister if watching else None,
            wait_s=settings.drain_wait_s,
        )
        _end_on_signals(ending)
        try:
            if watching:
                await self._know_apps()
            await supervisor.run()
        finally:
            greeting.cancel()
            probing.cancel()
            await ending.close()
            if watching:
                await watching.stop()
            if admin:
                await admin.close()
        return self._conclude(reports, as_json=as_json)

    def _ground(self, supervisor: Supervisor, prober: Prober, live: CaptureLive) -> Ground:
        def publish(topology: Topology) -> None:
            try:
                supervisor.publish(topology)
            except ValueError as error:
                log.error("the apps stay as they were: %s", error)  # noqa: TRY400
                return
            prober.follow(topology)
            self._published.set()

        sockets = self._sockets
        return Ground(
            listen=sockets.listen,
            admin=address_of(sockets.admin) if sockets.admin else None,
            tap=sockets.tap,
            publish=publish,
            follower=live.follower,
        )

    async def _know_apps(self) -> None:
        """Wait until it is known what to serve, but not for long: whoever watches may be away.

        Clients of a mirror that is started again in place of a killed one wait in the backlog
        meanwhile; accepted now, they would be refused for an app that is not known yet.
        """
        try:
            await asyncio.wait_for(self._published.wait(), FIRST_TOPOLOGY_S)
        except TimeoutError:
            log.warning("it is not known yet which apps there are; serving without them")

    def _plan(self) -> Plan:
        settings = self._settings
        worker = WorkerSettings(
            name=settings.name,
            slot=0,
            spool=settings.spool,
            services=settings.services,
            seal=settings.seal,
            seal_key=self._key.hex(),
            server=settings.server,
            client=settings.client,
            strict=settings.strict,
            drain_timeout_s=settings.drain_timeout_s,
            upstream_tls=settings.upstream_tls,
            log_level=settings.log_level,
        )
        shipper = ShipperSettings(
            name=settings.name,
            spool=settings.spool,
            to=settings.to,
            roll_bytes=settings.roll_bytes,
            roll_age_s=settings.roll_age_s,
            ship_timeout_s=settings.ship_timeout_s,
            log_level=settings.log_level,
        )
        follower = settings.access_log and FollowerSettings(
            name=settings.name,
            slot=0,
            spool=settings.spool,
            access_log=settings.access_log,
            seal=settings.seal,
            seal_key=self._key.hex(),
            drain_timeout_s=settings.drain_timeout_s,
            log_level=settings.log_level,
        )
        kind = "follower" if follower else "worker"
        return Plan(
            worker=(sys.executable, "-m", "mirrorproxy.app", kind),
            shipper=(sys.executable, "-m", "mirrorproxy.app", "shipper"),
            worker_settings=lambda slot, live: msgspec.json.encode(
                msgspec.structs.replace(follower, slot=slot)
                if follower
                else msgspec.structs.replace(worker, slot=slot, live=live)
            ),
            shipper_settings=msgspec.json.encode(shipper),
            drain_timeout_s=settings.drain_timeout_s,
            ship_timeout_s=settings.ship_timeout_s,
        )

    def _identity(self) -> Identity:
        settings = self._settings
        return Identity(
            name=settings.name,
            version=__version__,
            started_us=wall_us(),
            listen=str(self._sockets.listen or ""),
            to=settings.to,
            spool=settings.spool.directory,
            services=settings.services,
            seal_key_id=self._key.id,
            kept=tuple(self._kept),
            tap=str(self._sockets.tap) if self._sockets.tap else None,
        )

    async def _greet(self, supervisor: Supervisor) -> None:
        """Say what listens where once every worker serves."""
        await supervisor.wait_ready()
        if supervisor.is_draining:
            return
        settings = self._settings
        lines = [
            f"capture {settings.name}: {self._what()}",
            *(f"  {service.name} -> {service.upstream}" for service in settings.services),
            *([f"  apps tagged in Consul at {settings.consul.url}"] if settings.consul else []),
            *([f"  copies on http://{self._sockets.tap}"] if self._sockets.tap else []),
            f"  records -> {settings.to} (by way of {settings.spool.directory})",
            f"  secrets are sealed with key {self._key.id}",
        ]
        if self._kept:
            lines.append(f"  WARNING: recorded in the clear by choice: {', '.join(self._kept)}")
        if self._sockets.admin:
            admin = address_of(self._sockets.admin)
            lines.append(f"  admin on http://{admin}: /healthz /readyz /metrics /status /control")
        lines.append("  Ctrl-C or SIGTERM ends it")
        _tell("\n".join(lines))

    def _what(self) -> str:
        """Say what the capture listens to."""
        if self._settings.access_log:
            return f"follows {self._settings.access_log.file}"
        count = len(self._sockets.listening)
        return f"{count} worker{'s' if count > 1 else ''} on http://{self._sockets.listen}"

    def _conclude(self, reports: MirrorReports, *, as_json: bool) -> int:
        try:
            ledger = reports.final_ledger()
        except OSError as error:
            raise ConfigError(
                f"the spool cannot be read: {error.strerror}", file=self._settings.spool.directory
            ) from error
        if as_json:
            sys.stdout.write(msgspec.json.encode(ledger).decode() + "\n")
        else:
            _tell(f"capture {self._settings.name} ended\n{describe(ledger)}")
        return 0 if ledger.balanced and not ledger.waiting else EXIT_LOST


def _end_on_signals(ending: Ending) -> None:
    """Begin to end at the first SIGTERM, SIGINT or SIGHUP (a closed terminal)."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # nohup means it: a hang-up that is ignored stays so.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, ending.signal)


def _tell(text: str) -> None:
    # A terminal that was closed, or `2>&1 | head`: nobody reads it, and capturing goes on.
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
