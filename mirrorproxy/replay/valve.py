"""The valve: which of the shots that are due still leave when the rate is turned down.

Pure. Whole sessions are left out, by a hash, so that what does leave keeps its
order and production's pace; every worker of a fleet leaves out the same ones.
The lower the percent, the fewer: what leaves at 25 also leaves at 50.
"""

from __future__ import annotations

from mirrorproxy.sampling import fraction
from mirrorproxy.shot import Shot

RATE = "rate"
"""Why the ledger says that such a shot was shed."""

SALT = "mirrorproxy live rate"
"""The valve's own: with the salt of sampling, half of a 50 % sample would be all of it."""

HEAVY_SHARE = 0.05
HEAVY_SHOTS = 20
"""A session with more than this share of the shots, and more than so many, is not left
out as a whole: a load balancer's address may stand for half of all users, and leaving it
out, or in, would not halve anything."""

_WINDOW_SHOTS = 4096


class Valve:
    """Admits a share of shots. percent: 0 to 100, may be set at any time."""

    def __init__(self, percent: float) -> None:
        self.percent = percent
        self._shots_by_session: dict[str, int] = {}
        self._shots = 0

    def admits(self, shot: Shot) -> bool:
        """Return whether a shot that is due may leave."""
        session = shot.session
        count = self._shots_by_session.get(session, 0) + 1
        self._shots_by_session[session] = count
        self._shots += 1
        if self._shots >= _WINDOW_SHOTS:
            self._forget()
        is_heavy = count > HEAVY_SHOTS and count > self._shots * HEAVY_SHARE
        key = shot.exchange_id if is_heavy else session
        if shot.copy:
            # Each copy is a session of its own.
            key = f"{key}/{shot.copy}"
        return fraction(key, SALT) * 100 < self.percent

    def _forget(self) -> None:
        """Halve all counts, so that they follow the traffic and take a bounded memory."""
        halves = {session: n // 2 for session, n in self._shots_by_session.items() if n > 1}
        self._shots_by_session = halves
        self._shots //= 2
