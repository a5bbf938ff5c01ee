"""Live control: what can be changed while a capture or a replay runs, and who changed it.

Owns the step from words to the one who acts on them, and the memory of the last
changes. Where words come from is not its business: a request, a key-value store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from mirrorproxy.control.words import CAPTURE_WORDS, REPLAY_WORDS, Reader, State, Value

REMEMBERED_CHANGES = 20


class Ended(Exception):
    """What was asked for comes too late: the replay is ending."""


class ReplayKnob(Protocol):
    """A running replay; see `replay.knob.Knob`."""

    rate_percent: float

    @property
    def state(self) -> State:
        """What it does now."""

    def set_rate(self, percent: float) -> None:
        """Send this share of what is planned, 0 to 100."""

    def pause(self) -> None:
        """Send nothing more for now."""

    def resume(self) -> None:
        """Go on."""

    def stop(self) -> None:
        """End in good order."""


class Percents(Protocol):
    """The shares that a running capture records."""

    def percents(self) -> Mapping[str, float]:
        """Return the share of each service, 0 to 100, as it is now."""

    def set_percent(self, service: str | None, percent: float) -> None:
        """Record this share of one service from now on, or of all."""


class Change(msgspec.Struct, frozen=True):
    """One accepted change. at_us: since 1970; by: who asked, in words; set: what it said."""

    at_us: int
    by: str
    set: dict[str, Value]


class ChangeLog:
    """The last changes. say: takes a line about each; now_us: the wall clock."""

    def __init__(self, say: Callable[[str], None], now_us: Callable[[], int]) -> None:
        self._say = say
        self._now_us = now_us
        self._changes: deque[Change] = deque(maxlen=REMEMBERED_CHANGES)

    def note(self, by: str, values: Mapping[str, Value]) -> None:
        """Take one that was accepted."""
        self._changes.append(Change(self._now_us(), by, dict(values)))
        words = ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {ascii(value)[1:-1]}"
            for name, value in values.items()
        )
        self._say(f"control: {words} (by {by})")

    def last(self) -> list[Change]:
        """Return them, the oldest first."""
        return list(self._changes)


class Controls(Protocol):
    """What one process lets be changed."""

    @property
    def words(self) -> Mapping[str, Reader]:
        """The words that it takes."""

    def current(self) -> dict[str, object]:
        """Return the values now, and the last changes."""

    def change(self, values: Mapping[str, Value], by: str) -> None:
        """Make a change, all of it or nothing, and note it.

        values: as `words` reads them. Raises ValueError, which names the word, or Ended.
        """


class ReplayControls:
    """Turns the knob of a replay."""

    words: Mapping[str, Reader] = REPLAY_WORDS

    def __init__(self, knob: ReplayKnob, changes: ChangeLog) -> None:
        self._knob = knob
        self._changes = changes

    def current(self) -> dict[str, object]:
        """See `Controls`."""
        return {
            "rate_percent": self._knob.rate_percent,
            "state": self._knob.state,
            "changes": self._changes.last(),
        }

    def change(self, values: Mapping[str, Value], by: str) -> None:
        """See `Controls`. The rate is set first: what goes on goes on at the new one."""
        knob = self._knob
        if knob.state == "stop":
            raise Ended("the replay is ending")
        if "rate_percent" in values:
            knob.set_rate(float(values["rate_percent"]))
        match values.get("state"):
            case "run":
                knob.resume()
            case "pause":
                knob.pause()
            case "stop":
                knob.stop()
        self._changes.note(by, values)


class CaptureControls:
    """Sets the shares that a capture records."""

    words: Mapping[str, Reader] = CAPTURE_WORDS

    def __init__(self, percents: Percents, changes: ChangeLog) -> None:
        self._percents = percents
        self._changes = changes

    def current(self) -> dict[str, object]:
        """See `Controls`."""
        return {"percent": dict(self._percents.percents()), "changes": self._changes.last()}

    def change(self, values: Mapping[str, Value], by: str) -> None:
        """See `Controls`."""
        if "percent" not in values:
            raise ValueError("percent: say which share to record, 0 to 100")
        service = values.get("service")
        if service is not None and service not in self._percents.percents():
            known = ", ".join(sorted(self._percents.percents())) or "none yet"
            raise ValueError(f"service: {service!a} is not here; known: {known}")
        name = None if service is None else str(service)
        self._percents.set_percent(name, float(values["percent"]))
        self._changes.note(by, values)
