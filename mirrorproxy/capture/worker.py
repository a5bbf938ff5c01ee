"""One worker's life: accepts on an inherited socket, shows that it lives, ends well.

Owns the listening server, the heartbeat and the order of draining. What happens
on a connection is `proxy`'s business. It goes on for a while when its
supervisor has died, so that another one can start beside it without a gap.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

from mirrorproxy.capture.child import DRAIN, LIVE, Words
from mirrorproxy.capture.door import QUIET_TURNS, Door, descriptor_limit
from mirrorproxy.capture.liveness import HEARTBEAT_S
from mirrorproxy.metrics import INDEX, Slot

log = logging.getLogger(__name__)

_BACKLOG_TIMEOUT_S = 1.0
_FIRST_REQUEST_S = 0.1
"""What a client accepted at the very end has for its request's first bytes to arrive."""

_POLL_S = 0.01
_READ_BYTES = 1 << 16


class Plane(Protocol):
    """The data plane as far as its life goes; see `proxy.Proxy`."""

    @property
    def active(self) -> int:
        """How many requests are under way."""

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""

    def protocol_factory(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""

    def copies_factory(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection to the tap."""

    def update_gauges(self) -> None:
        """Write the numbers that are not counted as they happen."""

    def drain(self) -> None:
        """Close idle connections, and the others after the answer under way."""

    def close(self) -> None:
        """Abort what is still there."""


class Worker:
    """Serves until told to drain, or until its supervisor has been gone for orphan_s seconds.

    listening, control, tap: inherited sockets; tap is for copies, None without
    one. slot: its numbers. drain_timeout_s: how long what is in flight may take
    once draining began. follow: hears what changes while it runs; see `live`.
    """

    def __init__(
        self,
        plane: Plane,
        listening: socket.socket,
        control: socket.socket,
        slot: Slot,
        *,
        drain_timeout_s: float,
        orphan_s: float,
        tap: socket.socket | None = None,
        follow: Callable[[bytes], None] | None = None,
    ) -> None:
        self._plane = plane
        self._follow = follow
        self._words = Words()
        self._control = control
        self._slot = slot
        self._drain_timeout_s = drain_timeout_s
        self._orphan_s = orphan_s
        self._ending = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tick_handle: asyncio.TimerHandle | None = None
        limit = descriptor_limit()
        self._listening = [listening]
        self._doors = [Door(listening, plane.protocol_factory, limit)]
        if tap is not None:
            self._listening.append(tap)
            self._doors.append(Door(tap, plane.copies_factory, limit))
        self._looking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve, drain, return. Raises OSError if the socket cannot be served."""
        self._control.setblocking(False)
        for door in self._doors:
            await door.open()
        self._loop.add_reader(self._control.fileno(), self._hear)
        self._slot[INDEX["pid"]] = os.getpid()
        self._tick()
        self._slot[INDEX["ready"]] = 1
        try:
            await self._ending.wait()
            await self._drain()
        finally:
            self._shut()
            self._loop.remove_reader(self._control.fileno())
            if self._tick_handle:
                self._tick_handle.cancel()
            self._slot[INDEX["ready"]] = 0

    def _tick(self) -> None:
        self._slot[INDEX["heartbeat_ns"]] = time.monotonic_ns()
        self._plane.update_gauges()
        if not self._ending.is_set() and not all(door.is_open for door in self._doors):
            self._looking = self._loop.create_task(self._look())
        self._tick_handle = self._loop.call_later(HEARTBEAT_S, self._tick)

    def _hear(self) -> None:
        try:
            data = self._control.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            for word, payload in self._words.feed(data):
                if word == DRAIN:
                    self._ending.set()
                elif word == LIVE and self._follow is not None:
                    self._follow(payload)
        else:
            self._loop.remove_reader(self._control.fileno())
            if not self._ending.is_set():
                log.warning("the supervisor is gone; serving for %g s more", self._orphan_s)
                self._loop.call_later(self._orphan_s, self._ending.set)

    async def _look(self) -> None:
        for door in self._doors:
            await door.look()

    def _shut(self) -> None:
        for door in self._doors:
            door.close()
        for listening in self._listening:
            listening.close()

    async def _drain(self) -> None:
        deadline = self._loop.time() + self._drain_timeout_s
        if self._looking is not None:
            await self._looking
        await self._look()
        await self._empty(self._listening)
        self._shut()
        await asyncio.sleep(_FIRST_REQUEST_S)
        self._plane.drain()
        while self._plane.open_connections and self._loop.time() < deadline:  # noqa: ASYNC110 - once
            await asyncio.sleep(_POLL_S)
        if self._plane.active:
            log.warning("%d requests cut off: the drain time-out is over", self._plane.active)
        self._plane.close()
        # Aborted connections end in the next turns of the loop, and count their requests there.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._plane.update_gauges()

    async def _empty(self, backlogs: list[socket.socket]) -> None:
        """Let the servers accept all that waits; a full backlog keeps more from coming.

        A connection that comes now is not answered by the kernel, and its client
        tries again: by then another process listens, or it is refused cleanly.
        """
        waiting = select.poll()
        for backlog in backlogs:
            backlog.listen(0)
            waiting.register(backlog, select.POLLIN)
        give_up = self._loop.time() + _BACKLOG_TIMEOUT_S
        quiet = 0
        while quiet < QUIET_TURNS and self._loop.time() < give_up:
            quiet = 0 if waiting.poll(0) else quiet + 1
            await asyncio.sleep(0)
