"""The valve: which of the shots that are due still leave when the rate is turned down,
by hand for all targets, or by back-off for one.

Pure. Whole sessions are left out, by a hash, so that what does leave keeps its
order and production's pace; every worker of a fleet leaves out the same ones.
The lower the percent, the fewer: what leaves at 25 also leaves at 50.
"""

from __future__ import annotations

from mirrorproxy.sampling import fraction
from mirrorproxy.shot import Shot

RATE = "rate"
"""Why the ledger says that such a shot was shed."""

BACKOFF = "backoff"
RAMP = "ramp"
"""Why it says so when the target was backed off from, or sent ever more from the start."""

FULL_PERCENT = 100.0

SALT = "mirrorproxy live rate"
"""The valve's own: with the salt of sampling, half of a 50 % sample would be all of it."""

HEAVY_SHARE = 0.05
HEAVY_SHOTS = 20
"""A session with more than this share of the shots, and more than so many, is not left
out as a whole: a load balancer's address may stand for half of all users, and leaving it
out, or in, would not halve anything."""

_WINDOW_SHOTS = 4096


class Valve:
    """Admits a share of shots.

    percent: 0 to 100, of all; may be set at any time, as may what `narrow` says of a target.
    """

    def __init__(self, percent: float) -> None:
        self.percent = percent
        self.probes: dict[str, int] = {}
        self._narrowed: dict[str, tuple[float, str]] = {}
        self._shots_by_session: dict[str, int] = {}
        self._shots = 0

    @property
    def is_open(self) -> bool:
        """Whether everything is admitted."""
        return self.percent >= FULL_PERCENT and not self._narrowed

    def narrow(self, target: str, share: float, reason: str) -> None:
        """Admit a share, 0 to 1, of what `percent` leaves of one target.

        reason: why the ledger says that the rest was shed.
        """
        if share >= 1:
            self._narrowed.pop(target, None)
        else:
            self._narrowed[target] = share, reason

    def admits(self, shot: Shot) -> bool:
        """Return whether a shot that is due may leave."""
        return self.refuses(shot) is None

    def refuses(self, shot: Shot) -> str | None:
        """Return why a shot that is due may not leave, None if it may."""
        narrowed = self._narrowed.get(shot.target)
        if narrowed is None and self.percent >= FULL_PERCENT:
            return None
        place = self._place(shot)
        if place >= self.percent:
            return RATE
        if narrowed is None or place < self.percent * narrowed[0]:
            return None
        if probes := self.probes.get(shot.target):
            self.probes[shot.target] = probes - 1
            return None
        return narrowed[1]

    def _place(self, shot: Shot) -> float:
        """Return from which percent on the shot is admitted."""
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
        return fraction(key, SALT) * 100

    def _forget(self) -> None:
        """Halve all counts, so that they follow the traffic and take a bounded memory."""
        halves = {session: n // 2 for session, n in self._shots_by_session.items() if n > 1}
        self._shots_by_session = halves
        self._shots //= 2
