"""Balancing: which instance of an app the next request goes to.

Pure: the time is handed in. An instance that could not be connected to is set
aside for a moment, growing with each failure in a row; then one request at a
time finds out whether it is back. Never answers "none" while there is one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mirrorproxy.capture.routes import Route

ASIDE_S = 1.0
"""For how long an instance is set aside after its first failure in a row; each doubles it."""

MAX_ASIDE_S = 10.0


class Member:
    """One instance in the balance.

    route: how requests get there. outstanding: requests under way, counted by
    whoever sends them. failures: connections in a row that could not be made.
    aside_until: on the clock that `Balance.pick` is asked by.
    """

    __slots__ = ("aside_until", "failures", "outstanding", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.outstanding = 0
        self.failures = 0
        self.aside_until = 0.0

    def failed(self, now: float) -> bool:
        """Note that it could not be connected to; return whether that set it aside anew.

        Failures of attempts that began together count once.
        """
        if self.is_aside(now):
            return False
        self.failures += 1
        self._set_aside(now)
        return True

    def reached(self) -> None:
        """Note that it could be connected to."""
        self.failures = 0
        self.aside_until = 0.0

    def is_aside(self, now: float) -> bool:
        """Whether it should be left alone for now."""
        return self.failures > 0 and now < self.aside_until

    def try_again(self, now: float) -> None:
        """Let whoever asks now be the only one for a while to try an instance that failed."""
        self._set_aside(now)

    def _set_aside(self, now: float) -> None:
        # Beyond 2**4 the bound decides; a float would overflow some day.
        self.aside_until = now + min(MAX_ASIDE_S, ASIDE_S * 2 ** min(self.failures - 1, 4))


class Balance:
    """The instances of one app, in any number.

    routes: one per instance, without repeats.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._members: list[Member] = [Member(route) for route in routes]
        self._next = 0

    def __len__(self) -> int:
        return len(self._members)

    @property
    def members(self) -> tuple[Member, ...]:
        """All instances, in the order given."""
        return tuple(self._members)

    def follow(self, routes: Iterable[Route]) -> None:
        """Have these instances from now on; those that stay keep what is known of them."""
        known = {member.route: member for member in self._members}
        self._members = [known.get(route) or Member(route) for route in routes]

    def pick(self, now: float, tried: Collection[Member] = ()) -> Member | None:
        """Return the instance for a request, None if there is none that was not tried.

        now: seconds on any steady clock. The one with the fewest requests under
        way, in turn where several have as few; those set aside only when all are.
        """
        members = self._members
        count = len(members)
        if count == 1 and not tried:
            return members[0]  # nothing to choose: whether it is back, every request finds out
        best: Member | None = None
        best_is_aside = False
        best_at = 0
        for step in range(count):
            at = (self._next + step) % count
            member = members[at]
            if member in tried:
                continue
            is_aside = member.is_aside(now)
            if (
                best is None
                or (best_is_aside and not is_aside)
                or (best_is_aside == is_aside and member.outstanding < best.outstanding)
            ):
                best, best_is_aside, best_at = member, is_aside, at
        if best is None:
            return None
        self._next = best_at + 1
        if best.failures and not best_is_aside:
            best.try_again(now)
        return best
