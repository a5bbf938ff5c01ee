"""The door: accepts clients while there are descriptors for them.

Owns the server on a listening socket, not the socket. Each client may need
another descriptor for the upstream, and records need some; when those kept for
that are all that is left, nobody more is accepted. Who comes then waits in the
kernel's backlog: accepting without a descriptor would cut the connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable

from mirrorproxy.capture.listeners import BACKLOG

log = logging.getLogger(__name__)

QUIET_TURNS = 5
"""Turns of the loop that an accepted connection takes, at most, to get its transport.

asyncio makes it in a task of its own, which fails once the server is closed.
"""

_MIN_KEPT = 32
_KEPT_SHARE = 16  # one in so many is kept
_ROOM_TO_OPEN = 3 * QUIET_TURNS  # the server takes one, and some come while it shuts again
_SILENCE_S = 60.0  # between two warnings


def descriptor_limit() -> int:
    """Return the descriptor from which on none is given to a client any more."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    return soft - max(_MIN_KEPT, soft // _KEPT_SHARE)


class Door:
    """Accepts on a listening socket. limit: of `descriptor_limit`."""

    def __init__(
        self,
        listening: socket.socket,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        limit: int,
    ) -> None:
        self._listening = listening
        self._protocol_factory = protocol_factory
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._shutting: asyncio.Task[None] | None = None
        self._warn_at = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether who comes is accepted."""
        return self._server is not None

    async def open(self) -> None:
        """Accept, also if there is no room. Raises OSError if the socket cannot be served."""
        if self._server is None:
            self._server = await self._loop.create_server(
                self._admit, sock=self._listening.dup(), backlog=BACKLOG
            )

    async def look(self) -> None:
        """Open again if it was shut and there is room; to be called now and then."""
        if self._server is not None or not self._has_room(_ROOM_TO_OPEN):
            return
        try:
            await self.open()
        except OSError as error:
            # Somebody else was quicker to take the descriptors.
            log.warning("cannot accept clients: %s", error.strerror or error)

    def close(self) -> None:
        """Accept nobody more."""
        if self._shutting is not None:
            self._shutting.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _admit(self) -> asyncio.BaseProtocol:
        if self._shutting is None and not self._has_room(1):
            self._shutting = self._loop.create_task(self._shut())
        return self._protocol_factory()

    async def _shut(self) -> None:
        for _ in range(QUIET_TURNS):
            await asyncio.sleep(0)
        self._shutting = None
        self.close()
        if self._loop.time() >= self._warn_at:
            self._warn_at = self._loop.time() + _SILENCE_S
            log.warning("too many open files: new clients wait until some have left")

    def _has_room(self, count: int) -> bool:
        # The kernel gives the lowest number that is free: below it all are taken.
        taken: list[int] = []
        try:
            # Item by item: what was taken before an error is in the list.
            taken.extend(os.dup(self._listening.fileno()) for _ in range(count))
        except OSError:
            return False
        finally:
            for descriptor in taken:
                os.close(descriptor)
        return taken[-1] < self._limit
