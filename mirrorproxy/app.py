"""Entry points of the child processes: a worker, the follower of a log, and the shipper.

Started by the supervisor as ``python -m mirrorproxy.app worker|follower|shipper``. Chooses
the concrete classes of a process and joins them; what they do is theirs. Both
ignore SIGINT and SIGTERM: a service manager sends those to every process at
once, and only the supervisor knows in which order to end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mirrorproxy.app_sinks import make_sink
from mirrorproxy.capture.app_follower import AppFollower
from mirrorproxy.capture.child import DRAIN, receive_settings
from mirrorproxy.capture.claim import COUNTERS, SLOT_LOCKS
from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.follower import Follower, load_position, position_file
from mirrorproxy.capture.log_recorder import LogRecorder
from mirrorproxy.capture.proxy import Proxy
from mirrorproxy.capture.recorder import Recorder, Sealing, ServicePolicy
from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.capture.seal import Sealer
from mirrorproxy.capture.seal_key import from_hex
from mirrorproxy.capture.seal_policy import SealPolicy
from mirrorproxy.capture.seal_record import RecordSealer
from mirrorproxy.capture.settings import (
    FilterSettings,
    FollowerSettings,
    Mode,
    ServiceSettings,
    ShipperSettings,
    SpoolSettings,
    TlsSettings,
    WorkerSettings,
)
from mirrorproxy.capture.slots import SLOTS, SlotLocks
from mirrorproxy.capture.tee import TeeLimits
from mirrorproxy.capture.worker import Worker
from mirrorproxy.clock import wall_us
from mirrorproxy.errors import MirrorproxyError
from mirrorproxy.http1.origin import parse_origin
from mirrorproxy.http1.pool import Pool
from mirrorproxy.loops import loop_factory
from mirrorproxy.metrics import INDEX, CounterFile, Slot
from mirrorproxy.sources.follow import LogFollower, nothing_read
from mirrorproxy.spool.segment import SegmentWriter
from mirrorproxy.spool.shipper import Shipper
from mirrorproxy.spool.shipper import run as run_shipper

log = logging.getLogger("mirrorproxy")

EXIT_LEFT = 1
EXIT_FAILED = 3

_MAX_FILES = 1 << 20
_GC_ALLOCATIONS = 10_000  # the default of 700 is reached every few dozen requests


def main(argv: Sequence[str] | None = None) -> int:
    """Run a child process and return its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="mirrorproxy.app", description=main.__doc__)
    parser.add_argument("kind", choices=["worker", "follower", "shipper"])
    parser.add_argument("--control", type=int, required=True, metavar="FD")
    parser.add_argument("--listen", type=int, metavar="FD")
    parser.add_argument("--tap", type=int, metavar="FD")
    args = parser.parse_args(argv)
    control = socket.socket(fileno=args.control)
    try:
        settings = receive_settings(control)
        if args.kind == "worker":
            tap = None if args.tap is None else socket.socket(fileno=args.tap)
            return _run_worker(settings, socket.socket(fileno=args.listen), tap, control)
        if args.kind == "follower":
            return _run_follower(settings, control)
        return _run_shipper(settings, control)
    except EOFError:
        return EXIT_FAILED
    except (MirrorproxyError, OSError) as error:
        log.error("%s: %s", args.kind, error)  # noqa: TRY400 - one line says all
        return EXIT_FAILED


def configure_logging(level: str, who: str) -> None:
    """Log lines to standard error, each with the time and who speaks."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format=f"%(asctime)s %(levelname)s {who}: %(message)s",
        force=True,
    )


def _run_worker(
    data: bytes, listening: socket.socket, tap: socket.socket | None, control: socket.socket
) -> int:
    settings = msgspec.json.decode(data, type=WorkerSettings)
    configure_logging(settings.log_level, f"worker {settings.slot}")
    _allow_many_files()
    spool = Path(settings.spool.directory)
    locks = SlotLocks(spool / SLOT_LOCKS)
    if not locks.hold(settings.slot):
        log.error("slot %d is held by another process", settings.slot)
        return EXIT_FAILED
    slot = CounterFile(spool / COUNTERS, SLOTS).slot(settings.slot)
    _run_loop(_work(settings, listening, tap, control, slot))
    locks.close()
    return 0


async def _work(
    settings: WorkerSettings,
    listening: socket.socket,
    tap: socket.socket | None,
    control: socket.socket,
    slot: Slot,
) -> None:
    writer = _writer(settings.spool, settings.slot, slot)
    pools = {
        service.name: _pool(settings, service.upstream, service.tls)
        for service in settings.services
    }
    # Of all apps together: it keeps connections by origin.
    apps_pool = _apps_pool(settings)
    routes = [_route(service) for service in settings.services]
    recorder = _recorder(settings, writer, slot)
    proxy = Proxy(
        Routes(routes),
        recorder,
        lambda route: pools.get(route.service, apps_pool),
        settings.server,
        slot,
        strict=settings.strict,
    )
    follower = AppFollower(
        proxy,
        recorder,
        apps_pool,
        static=routes,
        policies={service.name: _policy(service) for service in settings.services},
        sealing_of=lambda names: Sealing(_sealer(settings, names)),
    )
    follower.apply(settings.live)
    worker = Worker(
        proxy,
        listening,
        control,
        slot,
        drain_timeout_s=settings.drain_timeout_s,
        orphan_s=settings.orphan_s,
        tap=tap,
        follow=follower.hear,
    )
    # What is loaded by now stays for good: collections need not walk over it again.
    gc.collect()
    gc.freeze()
    # What a request leaves behind is freed by its reference counts; cycles are rare.
    gc.set_threshold(_GC_ALLOCATIONS)
    try:
        await worker.run()
    finally:
        writer.close()
        for pool in (*pools.values(), apps_pool):
            await pool.close()


def _writer(spool: SpoolSettings, number: int, slot: Slot) -> SegmentWriter:
    return SegmentWriter(
        Path(spool.directory),
        number,
        max_segment_bytes=spool.segment_bytes,
        max_age_s=spool.segment_age_s,
        limit_bytes=spool.limit_bytes,
        now_us=_Rising(slot[INDEX["segment_us"]]),
    )


def _recorder(settings: WorkerSettings, writer: SegmentWriter, slot: Slot) -> Recorder:
    return Recorder(
        sealer=_sealer(settings),
        writer=writer,
        slot=slot,
        node=f"{settings.name}/{settings.slot}",
        trust_forwarded=not settings.strict,
        limits=TeeLimits(body=settings.spool.body_limit_bytes),
    )


def _sealer(settings: WorkerSettings, names: Sequence[str] = ()) -> Sealer:
    """Return what seals. names: of further secrets, lower-case; they win over a `keep`."""
    seal = settings.seal
    policy = SealPolicy(
        headers=_also_secret(seal.headers, names),
        cookies=_also_secret(seal.cookies, names),
        fields=_also_secret(seal.fields, names),
        basic_user=seal.basic_user,
    )
    return Sealer(policy, from_hex(settings.seal_key))


def _also_secret(modes: Mapping[str, Mode], names: Sequence[str]) -> dict[str, Mode]:
    sealed: dict[str, Mode] = {name: "seal" for name in names if modes.get(name) != "drop"}
    return {**modes, **sealed}


class _Rising:
    """The wall clock, never lower than before: reconciling goes by the order of segments' names."""

    def __init__(self, floor_us: int) -> None:
        self._last_us = floor_us

    def __call__(self) -> int:
        self._last_us = max(wall_us(), self._last_us + 1)
        return self._last_us


def _route(service: ServiceSettings) -> Route:
    origin, base_path = parse_origin(service.upstream)
    return Route(service.name, origin, base_path, service.hosts, service.paths)


def _filters(settings: FilterSettings) -> Filters:
    return Filters(**msgspec.structs.asdict(settings))


def _policy(service: ServiceSettings) -> ServicePolicy:
    return ServicePolicy(
        filters=_filters(service.filters),
        percent=service.percent,
        percent_by=service.percent_by,
        response_body=service.response_body,
    )


def _pool(settings: WorkerSettings, upstream: str, tls: TlsSettings) -> Pool:
    if not upstream.lower().startswith("https:"):
        return Pool(settings.client)
    context = ssl.create_default_context(cafile=tls.ca_file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return Pool(settings.client, context)


def _apps_pool(settings: WorkerSettings) -> Pool:
    tls = settings.upstream_tls
    # By default the pool loads the system's authorities itself, once an instance needs them.
    return Pool(settings.client) if tls == TlsSettings() else _pool(settings, "https:", tls)


def _allow_many_files() -> None:
    """Raise the soft limit of open files: the usual 1,024 are 500 clients."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    except (OSError, ValueError) as error:
        log.warning("cannot raise the limit of open files to %d: %s", soft, error)


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main)


def _run_follower(data: bytes, control: socket.socket) -> int:
    settings = msgspec.json.decode(data, type=FollowerSettings)
    configure_logging(settings.log_level, "follower")
    spool, log_file = Path(settings.spool.directory), Path(settings.access_log.file)
    locks = SlotLocks(spool / SLOT_LOCKS)
    if not locks.hold(settings.slot):
        log.error("slot %d is held by another process", settings.slot)
        return EXIT_FAILED
    slot = CounterFile(spool / COUNTERS, SLOTS).slot(settings.slot)
    stopping = threading.Event()
    threading.Thread(target=_hear, args=(control, stopping), daemon=True).start()
    writer = _writer(settings.spool, settings.slot, slot)
    policy = SealPolicy(**msgspec.structs.asdict(settings.seal))
    sealer = Sealer(policy, from_hex(settings.seal_key))
    kept_in = position_file(spool, log_file)
    recorder = LogRecorder(
        sealer=RecordSealer(sealer, f"{settings.name}/{settings.slot}"),
        writer=writer,
        slot=slot,
        policy=ServicePolicy(
            filters=_filters(settings.access_log.filters),
            percent=settings.access_log.percent,
            percent_by=settings.access_log.percent_by,
        ),
        service=settings.access_log.service,
    )
    follower = Follower(
        LogFollower(log_file, load_position(kept_in) or nothing_read(time.time_ns())),
        recorder,
        writer,
        slot,
        kept_in,
        wait=stopping.wait,
        drain_timeout_s=settings.drain_timeout_s,
    )
    try:
        follower.run()
    finally:
        writer.close()
        locks.close()
    return 0


def _run_shipper(data: bytes, control: socket.socket) -> int:
    settings = msgspec.json.decode(data, type=ShipperSettings)
    configure_logging(settings.log_level, "shipper")
    stopping = threading.Event()
    threading.Thread(target=_hear, args=(control, stopping), daemon=True).start()
    sink = make_sink(settings)
    shipper = Shipper(Path(settings.spool.directory), sink)
    left = run_shipper(shipper, stopping.is_set, settings.ship_timeout_s)
    return EXIT_LEFT if left else 0


def _hear(control: socket.socket, stopping: threading.Event) -> None:
    """Wait for the supervisor's word; without a supervisor the spool must be left to the next."""
    while word := control.recv(1):
        if word == DRAIN:
            stopping.set()
    # Whatever is under way is shipped again: that is what the checkpoint is for.
    os._exit(EXIT_FAILED)


if __name__ == "__main__":
    sys.exit(main())
