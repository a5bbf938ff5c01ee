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
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from mirrorproxy import __version__, app
from mirrorproxy.capture.claim import Claim, claim
from mirrorproxy.capture.ledger import describe
from mirrorproxy.capture.listeners import Address, address_of, bind_alone, bind_shared
from mirrorproxy.capture.reports import Identity, MirrorReports
from mirrorproxy.capture.seal_key import SealKey, from_env, load_or_create
from mirrorproxy.capture.seal_policy import SealPolicy
from mirrorproxy.capture.settings import FollowerSettings, ShipperSettings, WorkerSettings
from mirrorproxy.capture.supervisor import Plan, Supervisor
from mirrorproxy.clock import wall_us
from mirrorproxy.commands.capture_options import add_options, settings_of
from mirrorproxy.commands.decoding import SEAL_KEY_VARIABLE
from mirrorproxy.config import CaptureSettings
from mirrorproxy.control.admin import AdminServer
from mirrorproxy.control.metrics import Scrape, WorkerSample, render
from mirrorproxy.errors import ConfigError

log = logging.getLogger(__name__)

EXIT_LOST = 1

EPILOG = """\
examples:
  mirrorproxy capture --listen 127.0.0.1:8000 --upstream http://127.0.0.1:8080 --to ./capture
      every request to port 8000 reaches the application on 8080 unchanged, and is recorded

  mirrorproxy capture --listen :8000 --upstream http://app:8080 --to /capture \\
      --percent 10 --percent-by session --response-body
      one session in ten, whole, with the answers' bodies

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


def run(args: argparse.Namespace) -> int:
    """Capture until told to end; return the exit status."""
    settings = settings_of(args, os.environ)
    app.configure_logging(settings.log_level, "supervisor")
    app.check_target(settings.to)
    if settings.access_log and Path(settings.access_log.file).is_dir():
        raise ConfigError("a directory: name the file that is written", file="--access-log")
    with contextlib.ExitStack() as stack:
        spool = claim(Path(settings.spool.directory), settings.workers)
        stack.callback(spool.close)
        key = _seal_key(settings)
        # The workers of a killed supervisor go on serving for a moment: no gap.
        listening = (
            bind_shared(settings.listen, settings.workers, beside_others=bool(spool.orphans))
            if settings.listen
            else []
        )
        for bound in listening:
            stack.callback(bound.close)
        admin = _bind_admin(settings.admin) if settings.admin else None
        if admin:
            stack.callback(admin.close)
        return asyncio.run(_Capture(settings, spool, key, listening, admin).run(as_json=args.json))


def _bind_admin(address: Address) -> socket.socket:
    try:
        return bind_alone(address)
    except ConfigError as error:
        # Nobody may have named this address: say where it comes from.
        raise ConfigError(f"{error.message}; name another, or off", file="--admin") from error


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
        listening: list[socket.socket],
        admin: socket.socket | None,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._key = key
        self._listening = listening
        self._admin = admin
        self._kept = SealPolicy(**msgspec.structs.asdict(settings.seal)).kept()

    async def run(self, *, as_json: bool) -> int:
        supervisor = Supervisor(
            self._plan(),
            counters=self._spool.counters,
            locks=self._spool.locks,
            sockets=self._sockets(),
            orphans=self._spool.orphans,
            spool=self._spool.spool,
        )
        reports = MirrorReports(self._identity(), supervisor, self._spool.counters, _metrics_text)
        _end_on_signals(supervisor)
        admin = None
        if self._admin and self._settings.admin:
            admin = AdminServer(reports, loopback=self._settings.admin.is_loopback)
            await admin.start(self._admin)
        greeting = asyncio.create_task(self._greet(supervisor))
        try:
            await supervisor.run()
        finally:
            greeting.cancel()
            if admin:
                await admin.close()
        return self._conclude(reports, as_json=as_json)

    def _sockets(self) -> dict[int, socket.socket | None]:
        if not self._listening:
            return dict.fromkeys(self._spool.slots)
        return dict(zip(self._spool.slots, self._listening, strict=True))

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
        kind, told = ("follower", follower) if follower else ("worker", worker)
        return Plan(
            worker=(sys.executable, "-m", "mirrorproxy.app", kind),
            shipper=(sys.executable, "-m", "mirrorproxy.app", "shipper"),
            worker_settings=lambda slot: msgspec.json.encode(
                msgspec.structs.replace(told, slot=slot)
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
            listen=str(address_of(self._listening[0])) if self._listening else "",
            to=settings.to,
            spool=settings.spool.directory,
            services=settings.services,
            seal_key_id=self._key.id,
            kept=tuple(self._kept),
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
            f"  records -> {settings.to} (by way of {settings.spool.directory})",
            f"  secrets are sealed with key {self._key.id}",
        ]
        if self._kept:
            lines.append(f"  WARNING: recorded in the clear by choice: {', '.join(self._kept)}")
        if self._admin:
            admin = address_of(self._admin)
            lines.append(f"  admin on http://{admin}: /healthz /readyz /metrics /status")
        lines.append("  Ctrl-C or SIGTERM ends it")
        _tell("\n".join(lines))

    def _what(self) -> str:
        """Say what the capture listens to."""
        if self._settings.access_log:
            return f"follows {self._settings.access_log.file}"
        count = len(self._listening)
        address = address_of(self._listening[0])
        return f"{count} worker{'s' if count > 1 else ''} on http://{address}"

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


def _end_on_signals(supervisor: Supervisor) -> None:
    """Drain at the first SIGTERM, SIGINT or SIGHUP (a closed terminal), abort at the second."""

    def end() -> None:
        if supervisor.is_draining:
            log.warning("ending at once")
            supervisor.abort()
        else:
            log.info("draining: what is in flight is finished; once more ends at once")
            supervisor.drain()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # nohup means it: a hang-up that is ignored stays so.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, end)


def _metrics_text(reports: MirrorReports) -> str:
    shipper = reports.supervisor.shipper_status()
    return render(
        Scrape(
            name=reports.identity.name,
            version=reports.identity.version,
            ready=not reports.unready(),
            started_us=reports.identity.started_us,
            now_us=wall_us(),
            totals=reports.counters.totals(),
            workers=tuple(
                WorkerSample(
                    slot=worker.slot,
                    up=worker.state == "ready",
                    restarts=worker.restarts,
                    open_connections=worker.open_connections,
                    open_requests=worker.open_requests,
                )
                for worker in reports.supervisor.worker_statuses()
            ),
            shipper_up=shipper.state == "ready",
            shipper_restarts=shipper.restarts,
            shipping=reports.shipping(),
        )
    )


def _tell(text: str) -> None:
    # A terminal that was closed, or `2>&1 | head`: nobody reads it, and capturing goes on.
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
