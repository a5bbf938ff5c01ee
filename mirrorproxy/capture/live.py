"""What changes while a mirror runs: the apps that it serves, and the shares it records.

Values, and their form on the control socket. Always whole, never a change to what
was said before: a worker that missed one, or was restarted, needs nothing else.
"""

from __future__ import annotations

import msgspec

from mirrorproxy.topology import Topology


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it.

    percents: by service or app, 0 to 100; they win over what configuration and
    topology say. percent: the same for every service that percents does not name.
    """

    topology: Topology = Topology()
    percents: dict[str, float] = {}
    percent: float | None = None

    def percent_of(self, service: str, otherwise: float) -> float:
        """Return the share that is recorded of a service. otherwise: what it says itself."""
        every = otherwise if self.percent is None else self.percent
        return self.percents.get(service, every)

    def with_percent(self, service: str | None, percent: float | None) -> Live:
        """Return this with another share of a service, or of all that have none of their own.

        percent: None takes back what was said before.
        Raises ValueError if it is not from 0 to 100.
        """
        if percent is not None and not 0 <= percent <= 100:
            raise ValueError(f"a share is from 0 to 100, not {percent:g}")
        if service is None:
            return msgspec.structs.replace(self, percent=percent)
        percents = {name: share for name, share in self.percents.items() if name != service}
        if percent is not None:
            percents[service] = percent
        return msgspec.structs.replace(self, percents=percents)


def encode(live: Live) -> bytes:
    """Return it as JSON."""
    return msgspec.json.encode(live)


def decode(data: bytes) -> Live:
    """Return what a supervisor said. Raises msgspec.DecodeError (a ValueError)."""
    return msgspec.json.decode(data, type=Live)
