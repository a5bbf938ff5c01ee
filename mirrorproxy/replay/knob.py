"""The knob: turns a running replay down, holds it, lets it go on.

Owns what turning means for what is planned already; see
docs/decisions/live-control.md. Does nothing while nobody turns it: an engine
that was never touched asks neither the clock nor a hash for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from mirrorproxy.replay.engine import Engine
from mirrorproxy.replay.valve import FULL_PERCENT, Valve

KnobState = Literal["run", "pause", "stop"]


class Knob:
    """The live knob of one engine.

    clock_s: the engine's own. turn_soon: asks for a turn of the engine at once.
    stop: ends the replay in good order, as a signal does.
    """

    def __init__(
        self,
        engine: Engine,
        clock_s: Callable[[], float],
        turn_soon: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._clock_s = clock_s
        self._turn_soon = turn_soon
        self._stop = stop
        self._paused_s = 0.0
        self.rate_percent = FULL_PERCENT
        self._valve = Valve(FULL_PERCENT)
        self._shares: dict[str, float] = {}

    @property
    def state(self) -> KnobState:
        """What the replay does now; after "stop" it is ending, whoever asked for that."""
        if self._engine.is_stopping:
            return "stop"
        return "pause" if self._engine.is_paused else "run"

    def set_rate(self, percent: float) -> None:
        """Send this share of what is planned from now on.

        percent: 0 to 100. With due times, whole sessions are shed by a hash and
        the rest keeps its pace; at MAX_SPEED nothing is shed: it leaves slower.
        """
        self.rate_percent = percent
        engine = self._engine
        if engine.is_paced:
            self._valve.percent = percent
            self._shut()
        else:
            for name, lane in engine.lanes.items():
                lane.throttle(percent / 100 * self._shares.get(name, 1.0), self._clock_s())
        self._turn_soon()

    def narrow(self, target: str, share: float, reason: str, probes: int = 0) -> None:
        """Send one target this share, 0 to 1, of what `set_rate` leaves.

        reason: why the rest is shed. probes: so many more leave all the same.
        """
        engine = self._engine
        is_less = share < self._shares.get(target, 1.0)
        self._shares[target] = share
        if engine.is_paced:
            self._valve.narrow(target, share, reason)
            self._valve.probes[target] = probes
            self._shut(is_less=is_less)
        else:
            lane = engine.lanes[target]
            lane.throttle(self.rate_percent / 100 * share, self._clock_s())
            lane.probes = probes

    def _shut(self, *, is_less: bool = True) -> None:
        """Let the valve act, on what is due already as well if less is to leave."""
        engine, valve = self._engine, self._valve
        engine.valve = None if valve.is_open else valve
        if engine.valve is None or not is_less:
            return
        # What is due and waits for a limit would otherwise leave for seconds. What waits for
        # others goes first, the last of it before the first, so that none is let go here.
        held = sorted(engine.held(), key=lambda flight: flight.place, reverse=True)
        for flight in (*held, *engine.due_unloaded()):
            refused = valve.refuses(flight.shot)
            if refused is not None:
                engine.leave_out(flight, refused)
        for lane in engine.lanes.values():
            for flight, reason in lane.cull(valve.refuses):
                engine.leave_out(flight, reason)

    def pause(self) -> None:
        """Plan and send nothing more until `resume`; answers are still taken."""
        if self.state == "run":
            self._engine.is_paused = True
            self._paused_s = self._clock_s()

    def resume(self) -> None:
        """Go on as if the pause had not been: all that is to come is due that much later."""
        if self.state == "pause":
            self._engine.shift(self._clock_s() - self._paused_s)
            self._engine.is_paused = False
            self._turn_soon()

    def stop(self) -> None:
        """End the replay: nothing more is sent, answers are waited for. Once is enough."""
        if self.state != "stop":
            self._stop()
