"""Staff: the children of one mirror, as their supervisor knows them.

Values and places; what is done about them is the supervisor's business. A
member's place stays while processes come and go in it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Literal

import msgspec

from mirrorproxy.capture.child import Child
from mirrorproxy.capture.live import Live
from mirrorproxy.capture.liveness import Restarts

State = Literal["starting", "ready", "draining", "waiting", "ended"]


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker as `/status` shows it. lived_s: seconds since its last start."""

    slot: int
    pid: int
    state: State
    restarts: int
    lived_s: float
    open_connections: int
    open_requests: int


class ShipperProcess(msgspec.Struct, frozen=True):
    """The shipper's process as `/status` shows it."""

    pid: int
    state: State
    restarts: int


class Member:
    """One child that must always be there, whichever process it is just now."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.state: State = "waiting"
        self.restarts = Restarts()
        self.started = 0.0

    @property
    def pid(self) -> int:
        """Its process, 0 while there is none."""
        return self.child.pid if self.child else 0


class Worker(Member):
    """A worker's place. sockets: where it listens: for clients, and for copies if there is a tap.

    told: what it was last told that changes while it runs.
    """

    def __init__(self, slot: int, sockets: Sequence[socket.socket]) -> None:
        super().__init__()
        self.slot = slot
        self.sockets = tuple(sockets)
        self.told = Live()

    @property
    def options(self) -> tuple[str, ...]:
        """What its command is told about its sockets."""
        names = ("--listen", "--tap")
        return tuple(
            word
            for name, listening in zip(names, self.sockets, strict=False)
            for word in (name, str(listening.fileno()))
        )

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The sockets that its process inherits."""
        return tuple(listening.fileno() for listening in self.sockets)


def manner(status: int | None) -> str:
    """Say how a child ended, None for one that did not start."""
    if status is None:
        return "did not start"
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
