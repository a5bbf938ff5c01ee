"""Who watches for apps while a capture runs: the seam between the capture and a catalog.

Owns the shape of such a watcher and the choice of it. What it finds it publishes;
what it registers elsewhere it takes back when the mirror leaves.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from mirrorproxy.capture.listeners import Address
from mirrorproxy.config import CaptureSettings
from mirrorproxy.control.kv_words import OnChange
from mirrorproxy.topology import Topology

log = logging.getLogger(__name__)

_AGAIN_S = 1.0


class Control(Protocol):
    """Watches for apps."""

    async def run(self) -> None:
        """Register and watch until cancelled; what comes of it is published."""

    async def close(self) -> None:
        """Deregister. The mirror goes on serving for a while. Called once, after `run` ended."""

    def status(self) -> object:
        """Return what `/status` shows of it: a value that msgspec can write as JSON, no secrets."""

    def document(self) -> object:
        """Return what `/traefik` serves to Traefik's HTTP provider, likewise."""


class Ground(NamedTuple):
    """What a watcher works with.

    listen, admin, tap: where this mirror is bound, None for what it has not.
    publish: makes every worker serve these apps; neither waits nor raises. Clients
    are accepted once something was published, also if it is nothing. follower:
    returns what takes the keys below a prefix and records the shares that they say.
    """

    listen: Address | None
    admin: Address | None
    tap: Address | None
    publish: Callable[[Topology], None]
    follower: Callable[[str], OnChange]


MakeControl = Callable[[CaptureSettings, Ground], Control | None]
"""Makes the watcher that the settings ask for, None if they ask for none. Raises ConfigError."""


def make_control(settings: CaptureSettings, ground: Ground) -> Control | None:
    """Return the watcher that the settings ask for. Raises ConfigError."""
    if settings.consul is None:
        return None
    # By name: py-consul takes its time to load, and few need it.
    module = importlib.import_module("mirrorproxy.commands.capture_consul")
    control: Control = module.CaptureConsul(settings, settings.consul, ground)
    return control


class Watching:
    """Keeps a watcher running until the mirror leaves.

    traffic goes on whatever happens to it: a watcher that fails is started again,
    and the workers serve what it last published.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def deregister(self) -> None:
        """Stop watching, and take back what was registered."""
        await self.stop()
        await self._control.close()

    async def stop(self) -> None:
        """Stop watching."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                await self._control.run()
            except Exception:
                log.exception("watching for apps failed; starting again")
            await asyncio.sleep(_AGAIN_S)
