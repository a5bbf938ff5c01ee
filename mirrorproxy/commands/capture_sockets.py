"""The sockets of one capture, bound before anything is started."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mirrorproxy.capture.listeners import Address, address_of, bind_alone, bind_shared
from mirrorproxy.config import CaptureSettings
from mirrorproxy.errors import ConfigError


class Sockets(NamedTuple):
    """What is bound. listening, tapping: one per worker; tapping is empty without a tap."""

    listening: list[socket.socket]
    tapping: list[socket.socket]
    admin: socket.socket | None

    @property
    def listen(self) -> Address | None:
        """Where clients are served, None where a log is followed instead."""
        return address_of(self.listening[0]) if self.listening else None

    def by_slot(self, slots: Sequence[int]) -> dict[int, socket.socket | None]:
        """Return the listening socket of each worker; a log's follower has none."""
        if not self.listening:
            return dict.fromkeys(slots)
        return dict(zip(slots, self.listening, strict=True))

    @property
    def tap(self) -> Address | None:
        """Where copies are taken, None without a tap."""
        return address_of(self.tapping[0]) if self.tapping else None


@contextlib.contextmanager
def bound(settings: CaptureSettings, *, beside_others: bool) -> Iterator[Sockets]:
    """Bind all that a capture listens on, and close it in the end.

    beside_others: workers of an earlier supervisor may still listen there.
    Raises ConfigError if an address cannot be had.
    """
    with contextlib.ExitStack() as stack:

        def keep(sockets: list[socket.socket]) -> list[socket.socket]:
            for one in sockets:
                stack.callback(one.close)
            return sockets

        def shared(address: Address | None) -> list[socket.socket]:
            if address is None:
                return []
            return keep(bind_shared(address, settings.workers, beside_others=beside_others))

        listening, tapping = shared(settings.listen), shared(settings.tap)
        admin = keep([_bind_admin(settings.admin)])[0] if settings.admin else None
        yield Sockets(listening, tapping, admin)


def _bind_admin(address: Address) -> socket.socket:
    try:
        return bind_alone(address)
    except ConfigError as error:
        # Nobody may have named this address: say where it comes from.
        raise ConfigError(f"{error.message}; name another, or off", file="--admin") from error
