"""When a worker counts as hung, and how soon a dead one is started again.

Pure: fed with heartbeats and elapsed times, it owns no clock and no process.
"""

from __future__ import annotations

SILENCE_S = 2.0
"""A worker that has not ticked for this long is killed; it ticks every `HEARTBEAT_S`."""

HEARTBEAT_S = 0.25

START_GRACE_S = 15.0
"""A worker that is not ready after this long is killed: imports from a cold disk take seconds."""

ORPHAN_S = 10.0
"""How long a worker goes on serving when its supervisor has died."""

_STEADY_S = 5.0
_FIRST_DELAY_S = 0.2
_MAX_DELAY_S = 5.0


class Silence:
    """How long a heartbeat has not changed.

    Time counts only as far as the observer itself was awake: after a suspended
    machine or a stopped supervisor wakes, everyone's heartbeat is old, and
    killing all workers then would be the outage.
    """

    def __init__(self, limit_s: float = SILENCE_S) -> None:
        self._limit_s = limit_s
        self._last: int | None = None
        self.silent_s = 0.0

    def observe(self, heartbeat: int, elapsed_s: float) -> bool:
        """Return whether the worker is hung.

        heartbeat: any number that changes while it lives. elapsed_s: since the
        last observation; more than twice `HEARTBEAT_S` counts as that much.
        """
        if heartbeat != self._last:
            self._last = heartbeat
            self.silent_s = 0.0
        else:
            self.silent_s += min(elapsed_s, 2 * HEARTBEAT_S)
        return self.silent_s >= self._limit_s


class Restarts:
    """Delays before a process is started again: none, unless it keeps dying young."""

    def __init__(self) -> None:
        self.count = 0
        self.young = 0

    def died(self, lived_s: float) -> float:
        """Return the seconds to wait after a life of lived_s seconds.

        A first early death costs nothing; each further one in a row doubles the
        wait, from 0.2 s to at most 5 s.
        """
        self.count += 1
        if lived_s >= _STEADY_S:
            self.young = 0
            return 0.0
        self.young += 1
        if self.young == 1:
            return 0.0
        # The exponent is bounded as well as its result: 2.0 ** 2000 is an OverflowError.
        return min(_MAX_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(self.young - 2, 16))
