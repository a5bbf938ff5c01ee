"""Ending: the order in which a mirror leaves, so that nobody is turned away.

First it says that it goes, then it serves whoever has not heard of that yet, then
it drains. Owns that order and what a second signal means; draining itself is the
supervisor's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from mirrorproxy.errors import MirrorproxyError

log = logging.getLogger(__name__)

LEAVE_TIMEOUT_S = 5.0
"""For what is to be told elsewhere. A catalog that does not answer must not keep a mirror."""


class Supervisor(Protocol):
    """What is ended; see `supervisor.Supervisor`."""

    def leave(self) -> None:
        """Say that no new traffic should be sent here."""

    def drain(self) -> None:
        """Finish what is in flight."""

    def abort(self) -> None:
        """End at once."""


class Ending:
    """One mirror's end.

    deregister: tells whoever sends traffic here that it should not; may fail.
    wait_s: how long to go on serving after that. deregister_timeout_s: for telling it.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        deregister: Callable[[], Awaitable[None]] | None = None,
        *,
        wait_s: float = 0.0,
        deregister_timeout_s: float = LEAVE_TIMEOUT_S,
    ) -> None:
        self._supervisor = supervisor
        self._deregister = deregister
        self._wait_s = wait_s
        self._timeout_s = deregister_timeout_s
        self._task: asyncio.Task[None] | None = None

    def signal(self) -> None:
        """Begin to end; the second time, end at once."""
        if self._task is not None:
            log.warning("ending at once")
            self._task.cancel()
            self._supervisor.abort()
            return
        self._supervisor.leave()
        self._task = asyncio.get_running_loop().create_task(self._end())

    async def close(self) -> None:
        """Wait for nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _end(self) -> None:
        if self._deregister is not None:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._deregister()
            except Exception as error:  # noqa: BLE001 - whatever it is, the mirror ends
                told = error if isinstance(error, MirrorproxyError) else type(error).__name__
                log.warning("not deregistered: %s", told)
        if self._wait_s > 0:
            log.info("leaving: serving for %g s more, so that traffic goes elsewhere", self._wait_s)
            await asyncio.sleep(self._wait_s)
        log.info("draining: what is in flight is finished; once more ends at once")
        self._supervisor.drain()
