"""The supervisor: keeps the workers and the shipper of one mirror running, and ends them well.

Owns the listening sockets, the counter file and the life of every child. It
never touches a request: a worker accepts on the socket that it inherited, so
what waits in the backlog of a dead one is served by the next.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from mirrorproxy.capture.child import DRAIN, LIVE, MAX_SETTINGS_BYTES, Child
from mirrorproxy.capture.live import Live, encode
from mirrorproxy.capture.liveness import (
    HEARTBEAT_S,
    ORPHAN_S,
    START_GRACE_S,
    Silence,
)
from mirrorproxy.capture.slots import SlotLocks, reconcile
from mirrorproxy.capture.staff import Member, ShipperProcess, Worker, WorkerStatus, manner
from mirrorproxy.metrics import INDEX, CounterFile
from mirrorproxy.topology import Topology

log = logging.getLogger(__name__)

_MARGIN_S = 2.0
"""How much longer than its own time-out a child may take to end before it is killed."""

_ORPHAN_CHECK_S = 0.5
_START_CHECK_S = 0.02
_DRAIN_RETRY_S = 0.2


class Plan(NamedTuple):
    """What to run. worker, shipper: commands; times in seconds.

    worker_settings: by slot and what is so when the worker is started.
    """

    worker: Sequence[str]
    shipper: Sequence[str]
    worker_settings: Callable[[int, Live], bytes]
    shipper_settings: bytes
    drain_timeout_s: float
    ship_timeout_s: float


class Supervisor:
    """One mirror's processes.

    sockets: a listening socket per worker, by slot; None for one that listens to
    nobody. tap_sockets: likewise, for copies; none without a tap. orphans: slots
    that workers of an earlier supervisor still hold; their numbers are reconciled
    once they let go.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        counters: CounterFile,
        locks: SlotLocks,
        sockets: Mapping[int, socket.socket | None],
        orphans: Sequence[int],
        spool: Path,
        tap_sockets: Mapping[int, socket.socket] | None = None,
    ) -> None:
        self._plan = plan
        self._counters = counters
        self._locks = locks
        self._orphans = list(orphans)
        self._spool = spool
        taps = tap_sockets or {}
        self._workers = [
            Worker(slot, [one for one in (listening, taps.get(slot)) if one])
            for slot, listening in sockets.items()
        ]
        self._live = Live()
        self._leaving = False
        self._shipper = Member()
        self._draining = asyncio.Event()
        self._first_ready = asyncio.Event()
        self._workers_ended = asyncio.Event()
        self._aborted = False
        self._deadline = float("inf")

    @property
    def live(self) -> Live:
        """What the workers go by just now."""
        return self._live

    def publish(self, topology: Topology) -> None:
        """Serve these apps from now on, with every worker, restarted ones included.

        Raises ValueError if it is too large to be sent.
        """
        self._tell(msgspec.structs.replace(self._live, topology=topology))

    def set_percent(self, service: str | None, percent: float | None) -> None:
        """Record another share of a service or app from now on; see `Live.with_percent`.

        Raises ValueError if percent is not from 0 to 100.
        """
        self._tell(self._live.with_percent(service, percent))

    def _tell(self, live: Live) -> None:
        if live == self._live:
            return
        said = encode(live)
        if len(said) > MAX_SETTINGS_BYTES // 2:  # settings hold it too
            raise ValueError(f"a topology of {len(said)} bytes is too large")
        self._live = live
        for worker in self._workers:
            if worker.child:
                worker.child.tell(LIVE, said)
                worker.told = live

    def leave(self) -> None:
        """Say that the end is near, so that no new traffic is sent here; serve on as ever."""
        self._leaving = True

    def drain(self) -> None:
        """Begin to end: workers finish what is in flight, then the shipper ships the rest."""
        if self._draining.is_set():
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + self._plan.drain_timeout_s + _MARGIN_S
        self._draining.set()
        self._first_ready.set()
        for worker in self._workers:
            # Closed here first: then the worker holds the last copy, and can
            # empty the backlog and close it for good.
            for listening in worker.sockets:
                listening.close()
            if worker.child:
                worker.state = "draining"
                worker.child.tell(DRAIN)

    def abort(self) -> None:
        """End every child at once. What was completed is in the spool."""
        self._aborted = True
        self.drain()
        for member in (*self._workers, self._shipper):
            if member.child:
                member.child.kill()

    @property
    def is_leaving(self) -> bool:
        """Whether no new traffic should be sent here, because the end is near or has begun."""
        return self._leaving or self._draining.is_set()

    @property
    def is_draining(self) -> bool:
        """Whether the end has begun."""
        return self._draining.is_set()

    def worker_statuses(self) -> list[WorkerStatus]:
        """Return each worker's state now."""
        now = asyncio.get_running_loop().time()
        statuses = []
        for worker in self._workers:
            numbers = self._counters.slot(worker.slot)
            statuses.append(
                WorkerStatus(
                    slot=worker.slot,
                    pid=worker.pid,
                    state=worker.state,
                    restarts=worker.restarts.count,
                    lived_s=round(now - worker.started, 3) if worker.child else 0.0,
                    open_connections=numbers[INDEX["open_connections"]],
                    open_requests=numbers[INDEX["open_requests"]],
                )
            )
        return statuses

    def shipper_status(self) -> ShipperProcess:
        """Return the shipper's process state now."""
        shipper = self._shipper
        return ShipperProcess(shipper.pid, shipper.state, shipper.restarts.count)

    def unready(self) -> list[str]:
        """Return why the mirror is not ready, one reason each; nothing when it is."""
        if self.is_leaving:
            return ["draining"]
        return [
            f"worker {worker.slot} is {worker.state}"
            for worker in self._workers
            if worker.state != "ready"
        ]

    async def wait_ready(self) -> None:
        """Return when every worker has been ready at once, or the end has begun."""
        await self._first_ready.wait()

    async def run(self) -> None:
        """Keep everything running until drained or aborted.

        An error of our own ends it with the children still running: they go on
        serving for a while, beside a supervisor that takes over.
        """
        tasks = [
            asyncio.create_task(self._keep_shipper()),
            asyncio.create_task(self._follow_orphans()),
            *(asyncio.create_task(self._keep_worker(worker)) for worker in self._workers),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_worker(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        try:
            while not self.is_draining:
                worker.started = loop.time()
                worker.told = self._live
                child = await self._start(
                    worker,
                    (*self._plan.worker, *worker.options),
                    self._plan.worker_settings(worker.slot, self._live),
                    *worker.descriptors,
                )
                if child and worker.told is not self._live:  # it changed meanwhile
                    worker.told = self._live
                    child.tell(LIVE, encode(self._live))
                status = await self._watch(worker, child) if child else None
                await self._settle(worker.slot)
                if self.is_draining:
                    break
                delay_s = worker.restarts.died(loop.time() - worker.started)
                log.warning(
                    "worker %d %s; starting another in %.1f s",
                    worker.slot,
                    manner(status),
                    delay_s,
                )
                await self._pause(delay_s)
        finally:
            worker.state = "ended"
            self._note_ends()

    async def _start(
        self, member: Member, argv: Sequence[str], settings: bytes, *descriptors: int
    ) -> Child | None:
        member.state = "starting"
        try:
            member.child = await Child.start(argv, settings, descriptors)
        except OSError as error:
            log.error("cannot start a process: %s", error.strerror or error)  # noqa: TRY400
            member.state = "waiting"
            return None
        if self._aborted:
            member.child.kill()
        elif self.is_draining and member is not self._shipper:
            member.child.tell(DRAIN)
        return member.child

    async def _watch(self, worker: Worker, child: Child) -> int:
        """Wait for a worker's end; kill it when it is hung."""
        loop = asyncio.get_running_loop()
        numbers = self._counters.slot(worker.slot)
        silence = Silence()
        ended = asyncio.create_task(child.wait())
        before = loop.time()
        try:
            while not ended.done():
                starting = worker.state == "starting"
                await asyncio.wait({ended}, timeout=_START_CHECK_S if starting else HEARTBEAT_S)
                now = loop.time()
                is_ready = numbers[INDEX["ready"]] == 1 and numbers[INDEX["pid"]] == child.pid
                if is_ready and worker.state == "starting":
                    worker.state = "ready"
                    if not self.unready():
                        self._first_ready.set()
                if worker.state == "starting":
                    is_hung = now - worker.started > START_GRACE_S
                else:
                    is_hung = silence.observe(numbers[INDEX["heartbeat_ns"]], now - before)
                before = now
                if (is_hung or now > self._deadline) and not ended.done():
                    log.error("worker %d does not respond; killing it", worker.slot)
                    child.kill()
                    break
            return await ended
        finally:
            worker.child = None
            worker.state = "waiting"
            ended.cancel()

    async def _settle(self, slot: int) -> None:
        """Reconcile a dead worker's numbers; a disk that fails only costs their exactness."""
        try:
            found, lost = await asyncio.to_thread(reconcile, self._counters, slot, self._spool)
        except OSError as error:
            log.warning("cannot reconcile worker %d: %s", slot, error.strerror or error)
            return
        if found or lost:
            log.info("worker %d: %d more captured, %d lost in flight", slot, found, lost)

    async def _follow_orphans(self) -> None:
        """Reconcile each orphan's slot when it lets go. Orphans end by themselves, unless hung."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + ORPHAN_S + self._plan.drain_timeout_s + _MARGIN_S
        while self._orphans and not self._aborted and loop.time() < give_up:
            await asyncio.sleep(_ORPHAN_CHECK_S)
            for slot in [slot for slot in self._orphans if self._locks.is_free(slot)]:
                self._orphans.remove(slot)
                await self._settle(slot)
        if self._orphans:
            log.error("workers of an earlier capture still run, in slots %s", self._orphans)
            self._orphans.clear()
        self._note_ends()

    def _note_ends(self) -> None:
        """Let the shipper finish once nobody writes to the spool any more."""
        if not self._orphans and all(worker.state == "ended" for worker in self._workers):
            self._workers_ended.set()

    async def _keep_shipper(self) -> None:
        """Keep the shipper running until the workers have ended, then let it ship the rest."""
        loop = asyncio.get_running_loop()
        shipper = self._shipper
        child = None
        try:
            while not self._workers_ended.is_set():
                shipper.started = loop.time()
                child = await self._start_shipper()
                status = await self._run_until_workers_end(child) if child else None
                if child and status is None:
                    break
                child = shipper.child = None
                shipper.state = "waiting"
                delay_s = shipper.restarts.died(loop.time() - shipper.started)
                log.warning("the shipper %s; starting another in %.1f s", manner(status), delay_s)
                await self._pause(delay_s)
            await self._drain_shipper(child)
        finally:
            shipper.child = None
            shipper.state = "ended"

    async def _start_shipper(self) -> Child | None:
        child = await self._start(self._shipper, self._plan.shipper, self._plan.shipper_settings)
        if child:
            self._shipper.state = "ready"
        return child

    async def _run_until_workers_end(self, child: Child) -> int | None:
        """Return the shipper's exit status, or None if it outlived the workers."""
        ended = asyncio.create_task(child.wait())
        last = asyncio.create_task(self._workers_ended.wait())
        try:
            await asyncio.wait({ended, last}, return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else None
        finally:
            ended.cancel()
            last.cancel()

    async def _drain_shipper(self, child: Child | None) -> None:
        """Ship what is left, by another shipper if this one dies, until the time is up."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._plan.ship_timeout_s
        while not self._aborted:
            child = child or await self._start_shipper()
            if child:
                self._shipper.state = "draining"
                child.tell(DRAIN)
                try:
                    async with asyncio.timeout_at(give_up + _MARGIN_S):
                        status = await child.wait()
                except TimeoutError:
                    child.kill()
                    status = await child.wait()
                # Other statuses are deaths, which another shipper makes up for.
                if status in (0, 1):
                    return
            if loop.time() >= give_up:
                return
            child = None
            await asyncio.sleep(_DRAIN_RETRY_S)
        if child:
            child.kill()
            await child.wait()

    async def _pause(self, seconds: float) -> None:
        """Sleep, or until the end begins."""
        try:
            await asyncio.wait_for(self._draining.wait(), seconds)
        except TimeoutError:
            pass
