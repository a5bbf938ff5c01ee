"""Order: within a session a shot waits for those that had ended before it began.

Pure: no clock, no I/O. Owns which of the shots whose turn has come are held
back, and for how long: B waits for A exactly when production had ended A
before B began. What overlapped there may overlap here.

Each stream (a session, or one copy of it) keeps the shots that may be on their
way, and behind them, in captured order, those that wait. It is forgotten with
its last shot: what has ended holds nothing back, so memory follows what is
open, never the number of sessions. Why looking at the first that waits is
enough: whoever blocks it ended before it began, hence before all behind it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

from mirrorproxy.replay.flight import Flight
from mirrorproxy.rules.session import SessionOrder

GO = 0
WAIT = 1
SKIP = 2
"""What becomes of a shot whose turn has come; SKIP: its session is not to be gone on with."""

SKEW_US = 5_000
"""How far the clocks of two machines may be apart. The workers of one machine share a clock."""

MAX_OPEN = 64
MAX_WIDTH = 8
"""A key with more open shots than MAX_OPEN is shared by many (a machine's token), if
production ever had more than MAX_WIDTH of them open at once. The second tells it from one
user with a long queue: browsers open six connections to a host."""

MAX_SHARED = 4096
FORGOTTEN = "\0"
"""So many shared keys are known at a time; one that was forgotten is found again."""

MAX_BROKEN = 65_536
IDLE_US = 1_800_000_000
"""How many broken sessions are remembered, the last seen longest, and for how long after
their last request, in captured time: who comes back after half an hour begins anew."""

_FAR_US = 1 << 62


class Stream:
    """The open shots of one session; see the module.

    active: may be on their way. held: wait, in captured order. is_mixed: whether
    they come from more than one machine. is_shared: whether order was given up.
    """

    __slots__ = ("active", "held", "is_mixed", "is_shared", "key", "machine")

    def __init__(self, key: str, flight: Flight) -> None:
        self.key = key
        self.machine: str = flight.shot.machine
        self.active: list[Flight] = [flight]
        self.held: deque[Flight] | None = None  # most sessions never have any
        self.is_mixed = False
        self.is_shared = False


class Order:
    """Tells which shots wait; see the module.

    by_target: whether each target has an order of its own. skips_broken:
    whether the rest of a session is left out once it lacks one of its shots.
    shared: the keys that many share, and how many shots went without order
    for it; those of keys that were forgotten stand under FORGOTTEN. freed: those
    that waited and need not any more; skipped: those that waited and are left
    out; both are to be taken from here. held: how many wait.
    """

    def __init__(
        self,
        *,
        by_target: bool = False,
        skips_broken: bool = False,
        shared: Counter[str] | None = None,
    ) -> None:
        self._by_target = by_target
        self._skips_broken = skips_broken
        self._streams: dict[str, Stream] = {}
        self._broken: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._places = 0
        self.freed: deque[Flight] = deque()
        self.skipped: deque[Flight] = deque()
        self.held = 0
        self.shared: Counter[str] = Counter() if shared is None else shared

    @property
    def open_sessions(self) -> int:
        """How many sessions have open shots; no other is known."""
        return len(self._streams)

    def enter(self, flight: Flight) -> int:
        """Take a shot whose turn has come, in captured order; return GO, WAIT or SKIP.

        One that waits comes out of `freed` or `skipped`, once `ended` was told of others.
        """
        shot = flight.shot
        key = self._key(flight)
        began_us = flight.began_us = shot.started_us
        flight.ended_us = began_us + shot.duration_us
        if self._broken and self._is_broken(key, began_us):
            return SKIP
        stream = self._streams.get(key)
        if stream is None:
            if self.shared and key in self.shared:
                self.shared[key] += 1
            else:
                flight.stream = self._streams[key] = Stream(key, flight)
            return GO
        if stream.machine != shot.machine:
            stream.is_mixed = True
        open_shots = len(stream.active)
        if stream.held:
            open_shots += len(stream.held)
        if open_shots > MAX_OPEN and open_shots % MAX_OPEN == 1 and _is_wide(stream):
            self._share(stream)
            self.shared[key] += 1
            return GO
        flight.stream = stream
        return self._queue(stream, flight)

    def ended(self, flight: Flight, *, breaks: bool) -> None:
        """Take the end of a shot, whether it was sent, or ever entered, or not.

        breaks: whether its session lacks it now, as it was to be sent and got no answer.
        """
        stream = flight.stream
        if breaks and self._skips_broken:
            self._break(flight, stream)
        if stream is None:
            return
        flight.stream = None
        if stream.is_shared:
            return
        held = stream.held
        if flight.is_held and held is not None:
            flight.is_held = False
            self.held -= 1
            held.remove(flight)
        else:
            stream.active.remove(flight)
        if held:
            self._let_go(stream, held)
        elif not stream.active:
            del self._streams[stream.key]

    def clear(self) -> None:
        """Forget everything: nothing more will be sent."""
        for stream in self._streams.values():
            stream.is_shared = True
            stream.held = None
        self._streams.clear()
        self.freed.clear()
        self.skipped.clear()
        self.held = 0

    def _key(self, flight: Flight) -> str:
        shot = flight.shot
        # Each copy is a session of its own. No session's key holds a NUL.
        if self._by_target:
            return f"{shot.session}\0{shot.copy}\0{shot.target}"
        if shot.copy:
            return f"{shot.session}\0{shot.copy}"
        return shot.session

    # -- who waits --------------------------------------------------------------

    def _queue(self, stream: Stream, flight: Flight) -> int:
        self._places += 1
        flight.place = self._places
        if stream.is_mixed:
            self._let_go_mixed(stream, self._hold(stream, flight))
            if flight.is_held:
                return WAIT
            self.freed.pop()  # whom one waits for can have freed nobody else
            return GO
        if _least_end(stream.active) <= flight.began_us:
            self._hold(stream, flight)
            return WAIT
        stream.active.append(flight)
        return GO

    def _hold(self, stream: Stream, flight: Flight) -> deque[Flight]:
        held = stream.held
        if held is None:
            held = stream.held = deque()
        flight.is_held = True
        self.held += 1
        held.append(flight)
        return held

    def _free(self, stream: Stream, flight: Flight) -> None:
        flight.is_held = False
        self.held -= 1
        stream.active.append(flight)
        self.freed.append(flight)

    def _let_go(self, stream: Stream, held: deque[Flight]) -> None:
        if stream.is_mixed:
            self._let_go_mixed(stream, held)
            return
        least_us = _least_end(stream.active)
        while held and held[0].began_us < least_us:
            flight = held.popleft()
            self._free(stream, flight)
            least_us = min(least_us, flight.ended_us)

    def _let_go_mixed(self, stream: Stream, held: deque[Flight]) -> None:
        """Let go with clocks that differ: the first may wait where the one behind it need not."""
        still: list[Flight] = []
        least_us = _least_end(stream.active)
        # From there on all wait, whatever their clocks: somebody surely ended before. Not at that
        # very moment: who was let go past the first may have lasted no time.
        while held and held[0].began_us <= least_us:
            flight = held.popleft()
            if _waits_for_any(flight, stream.active) or _waits_for_any(flight, still):
                still.append(flight)
            else:
                self._free(stream, flight)
            least_us = min(least_us, flight.ended_us)
        held.extendleft(reversed(still))

    # -- keys that many share ------------------------------------------------------

    def _share(self, stream: Stream) -> None:
        """Give up the order of a key; all that waits is let go."""
        if len(self.shared) >= MAX_SHARED:
            shots = self.shared.total()
            self.shared.clear()
            self.shared[FORGOTTEN] = shots
        stream.is_shared = True
        del self._streams[stream.key]
        held = stream.held or ()
        self.shared[stream.key] += len(held)
        for flight in held:
            flight.is_held = False
            flight.stream = None
            self.freed.append(flight)
        self.held -= len(held)
        stream.held = None

    # -- sessions that are not gone on with ------------------------------------------

    def _break(self, flight: Flight, stream: Stream | None) -> None:
        key = self._key(flight)
        # Whom many share must not be stopped by one request of one of them.
        if key in self.shared:
            return
        began_us = flight.shot.started_us
        from_us = min(began_us, self._broken.get(key, (began_us, 0))[0])
        self._broken[key] = (from_us, began_us)
        self._broken.move_to_end(key)
        if len(self._broken) > MAX_BROKEN:
            self._broken.popitem(last=False)
        if stream is None:
            stream = self._streams.get(key)
        held = None if stream is None else stream.held
        if not held:
            return
        for other in held:
            if other is not flight:
                other.is_held = False
                other.stream = None
                self.held -= 1
                self.skipped.append(other)
        held.clear()
        if flight.is_held:
            held.append(flight)

    def _is_broken(self, key: str, began_us: int) -> bool:
        found = self._broken.get(key)
        # What cannot be sent is known ahead of its turn: what began before it goes on.
        if found is None or began_us < found[0]:
            return False
        if began_us - found[1] > IDLE_US:
            del self._broken[key]
            return False
        self._broken[key] = (found[0], began_us)
        self._broken.move_to_end(key)
        return True


def order_of(sessions: SessionOrder, shared: Counter[str]) -> Order | None:
    """Return what keeps the order that rules ask for, None for none. shared: see `Order`."""
    if not sessions.is_kept:
        return None
    return Order(by_target=sessions.by_target, skips_broken=sessions.skips_broken, shared=shared)


def _least_end(active: list[Flight]) -> int:
    least_us = _FAR_US
    for flight in active:
        least_us = min(least_us, flight.ended_us)
    return least_us


def _waits_for_any(flight: Flight, others: list[Flight]) -> bool:
    """Return whether one of the others, that came before it, had ended before it began."""
    began_us, machine = flight.began_us, flight.shot.machine
    for other in others:
        # What cannot be told apart waits: too late is mended by the next answer, too early never.
        skew_us = 0 if other.shot.machine == machine else SKEW_US
        if other.ended_us <= began_us + skew_us and other.place < flight.place:
            return True
    return False


def _is_wide(stream: Stream) -> bool:
    """Return whether production had more than MAX_WIDTH of the open shots open at once."""
    # At the same moment ends come before beginnings.
    moments: list[tuple[int, int]] = []
    for flight in (*stream.active, *(stream.held or ())):
        moments.append((flight.began_us, 1))
        moments.append((flight.ended_us, -1))
    width = 0
    for _, step in sorted(moments, key=lambda moment: (moment[0], moment[1])):
        width += step
        if width > MAX_WIDTH:
            return True
    return False
