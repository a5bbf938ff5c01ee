"""Correlation: what a target answered takes the place of what production had answered.

Pure. Learns from production's answer to a shot, as it was recorded, and the target's to
the same shot, and puts what it learned into later shots. Each target, and each copy that
it is sent, has a memory of its own. Knows no clock and sends nothing; values that it
holds may be secrets of the target and are never shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from mirrorproxy.codec import MalformedRecord, body_of
from mirrorproxy.marks import PATTERN, is_sealed
from mirrorproxy.replay.affinity import UNMISTAKABLE, Keys
from mirrorproxy.replay.answer import Answer
from mirrorproxy.replay.answered_values import Body, Value, values_of
from mirrorproxy.replay.awaited import Awaited
from mirrorproxy.replay.flight import Flight, write_head
from mirrorproxy.replay.learned import Learned, Store
from mirrorproxy.replay.references import (
    Change,
    Reference,
    changed,
    references_of,
    tokens_of,
)
from mirrorproxy.rules.plan import SKIP_NO_CREDENTIAL
from mirrorproxy.rules.unseal import fill_marks
from mirrorproxy.shot import Shot

_VALUE_BYTES: Final = 240
UNSENDABLE: Final = "unsendable"


class Correlator(Protocol):
    """What an engine asks; see `Correlation`."""

    awaited: Awaited

    def planned(self, flight: Flight) -> int:
        """Take a planned flight; return what is kept for it, in bytes."""

    def waits(self, flight: Flight, now_s: float) -> bool:
        """Tell whether a flight whose turn has come waits for another's answer."""

    def overdue(self, now_s: float) -> Flight | None:
        """Return a flight that waited for too long and is to go on; None if there is none."""

    def departing(self, flight: Flight) -> str | None:
        """Put what was learned into a flight; return why it cannot be sent, None if it can."""

    def answered(self, flight: Flight) -> None:
        """Learn from a flight that was answered."""

    def ended(self, flight: Flight) -> None:
        """Forget what was kept for a flight that has ended."""


class Tally:
    """What correlation did. replaced: by place; marks: of those that were sealed."""

    def __init__(self) -> None:
        self.learned = 0
        self.replaced: Counter[str] = Counter()
        self.shots = 0
        self.waited = 0
        self.gave_up = 0
        self.answers = 0
        self.without_body = 0

    def to_json(self, expired: int) -> dict[str, object]:
        """Return the counts. expired: pairs that made room for others."""
        return {
            "learned": self.learned,
            "replaced": dict(self.replaced),
            "shots": self.shots,
            "waited": self.waited,
            "gave_up": self.gave_up,
            "expired": expired,
            "writes": self.answers,
            "writes_without_body": self.without_body,
        }


Told = Callable[[Flight, Reference, Learned], None]


class Correlation:
    """The correlation of one run; see the module.

    told: hears of each replacement, None if nobody asked.
    """

    def __init__(self, *, store: Store | None = None, told: Told | None = None) -> None:
        self.store = Store() if store is None else store
        self.awaited = Awaited()
        self.tally = Tally()
        self._told = told
        self._values: dict[Flight, list[Value]] = {}
        self._tokens: dict[Flight, list[str]] = {}

    # -- before it is sent --------------------------------------------------------

    def planned(self, flight: Flight) -> int:
        """Take a planned flight; return what is kept for it, in bytes."""
        shot = flight.shot
        self.awaited.number(flight)
        recorded = shot.recorded
        if recorded is None or recorded.status >= 400:
            return 0
        try:
            body = body_of(recorded)
        except MalformedRecord:
            body = b""
        if shot.method not in ("GET", "HEAD", "OPTIONS") and recorded.status != 204:
            self.tally.answers += 1
            self.tally.without_body += _lacks_body(body, recorded.body_bytes)
        values = values_of(recorded.headers, body, shot.method, shot.path)
        if not values:
            return 0
        self._values[flight] = values
        if flight.answer is None:
            flight.answer = Answer()
        self.awaited.expect(flight, _view(shot), [(one.keys, one.text) for one in values])
        return _VALUE_BYTES * len(values)

    def waits(self, flight: Flight, now_s: float) -> bool:
        """Tell whether a flight whose turn has come waits for another's answer."""
        if not self.awaited.tokens and not self.store.tokens:
            return False
        shot = flight.shot
        tokens = self._tokens[flight] = tokens_of(shot)
        if self.awaited.tokens.keys().isdisjoint(tokens):
            return False
        wanted: list[tuple[Keys, str]] = [(one.keys, one.text) for one in references_of(shot)]
        wanted += [((UNMISTAKABLE,), mark) for mark in _marks_in(shot)]
        if not self.awaited.enter(flight, _view(shot), wanted, now_s):
            return False
        self.tally.waited += 1
        return True

    def overdue(self, now_s: float) -> Flight | None:
        """Return a flight that waited for too long and is to go on; None if there is none."""
        flight = self.awaited.overdue(now_s)
        if flight is not None:
            self.tally.gave_up += 1
        return flight

    def departing(self, flight: Flight) -> str | None:
        """Put what was learned into a flight; return why it cannot be sent, None if it can."""
        shot = flight.shot
        is_known = False
        if self.store.tokens:
            tokens = self._tokens.pop(flight, None)
            if tokens is None or shot.body_ref is not None:
                tokens = tokens_of(shot)
            is_known = not self.store.tokens.keys().isdisjoint(tokens)
        if not is_known and not shot.sealed:
            return None
        after = shot
        if is_known:
            after = self._replaced(flight, after)
        if shot.sealed:
            filled = self._unsealed(flight, after)
            if filled is None:
                return SKIP_NO_CREDENTIAL
            after = filled
        if after is shot:
            return None
        flight.shot = after
        self.tally.shots += 1
        return None if write_head(flight) else UNSENDABLE

    def _replaced(self, flight: Flight, shot: Shot) -> Shot:
        view, session = _view(shot), shot.session
        changes: list[Change] = []
        for reference in references_of(shot):
            learned = self.store.find(view, reference.text, reference.keys, session)
            if learned is None or learned.value == reference.text:
                continue
            written = reference.put(learned.value)
            if written is not None:
                changes.append(Change(reference, written))
                self.tally.replaced[reference.part] += 1
                if self._told is not None:
                    self._told(flight, reference, learned)
        return changed(shot, changes) if changes else shot

    def _unsealed(self, flight: Flight, shot: Shot) -> Shot | None:
        view = _view(shot)
        values: dict[str, str] = {}
        for mark in _marks_in(shot):
            learned = self.store.find(view, mark, (UNMISTAKABLE,), shot.session)
            if learned is not None:
                values[mark] = learned.value
                self.tally.replaced["sealed"] += 1
        return fill_marks(shot, values)

    # -- when it is answered --------------------------------------------------------

    def answered(self, flight: Flight) -> None:
        """Learn from a flight that was answered."""
        values = self._values.get(flight)
        answer = flight.answer
        if values is None or answer is None or answer.head is None or flight.status >= 400:
            return
        shot = flight.shot
        view, session = _view(shot), shot.session
        body = Body(answer.head.headers(), answer.body)
        store = self.store
        for value in values:
            text = body.at(value)
            if text is None or is_sealed(text):
                continue
            if text == value.text and value.text not in store:
                continue
            learned = Learned(value.keys, session, text, shot.exchange_id, value.place)
            if store.learn(view, value.text, learned, is_weak=value.is_weak):
                self.tally.learned += 1

    def ended(self, flight: Flight) -> None:
        """Forget what was kept for a flight that has ended."""
        self._values.pop(flight, None)
        self._tokens.pop(flight, None)
        self.awaited.ended(flight)

    def maps(self, shot: Shot, text: str, value: str) -> bool:
        """Tell whether production's value became this one where a shot was sent to."""
        return self.store.maps(_view(shot), text, value)


def _view(shot: Shot) -> str:
    """Return whose memory a shot takes part in."""
    return f"{shot.target}\0{shot.copy}" if shot.copy else shot.target


def _marks_in(shot: Shot) -> Sequence[str]:
    if not shot.sealed:
        return ()
    texts = [shot.path, *(value for _, value in shot.headers), shot.body.decode("latin-1")]
    return list(dict.fromkeys(found[0] for text in texts for found in PATTERN.finditer(text)))


def _lacks_body(body: bytes, body_bytes: int | None) -> bool:
    return not body and body_bytes != 0
