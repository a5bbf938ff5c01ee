"""Correlation: what a target answered takes the place of what production had answered.

Pure. Learns from production's answer to a shot, as it was recorded, and the target's to
the same shot, and puts what it learned into later shots. Each target, and each copy that
it is sent, has a memory of its own. Knows no clock and sends nothing; values that it
holds may be secrets of the target and are never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mirrorproxy.correlation.affinity import UNMISTAKABLE, Keys
from mirrorproxy.correlation.answered_body import Body, Step, Value, places
from mirrorproxy.correlation.answered_values import declared_values, values_of
from mirrorproxy.correlation.carried import Carried
from mirrorproxy.correlation.explain import Explained
from mirrorproxy.correlation.learned import Learned, Limits, Memory
from mirrorproxy.correlation.likeness import likenesses
from mirrorproxy.correlation.links import parts_of, segments_of
from mirrorproxy.correlation.reference import BODY, Change, changed
from mirrorproxy.correlation.tally import READS, REFUSED, Tally
from mirrorproxy.http1.messages import retargeted
from mirrorproxy.marks import PATTERN, is_sealed
from mirrorproxy.replay.answer import Answer
from mirrorproxy.replay.awaited import CARRIED, GIVEN, WEAK, Awaited
from mirrorproxy.replay.flight import Flight, write_head
from mirrorproxy.replay.given import KnownTo, View
from mirrorproxy.rules.declared import NOT_DECLARED, Declared
from mirrorproxy.rules.plan import SKIP_NO_CREDENTIAL
from mirrorproxy.rules.unseal import fill_marks
from mirrorproxy.shot import Shot

_ANY: Keys = (UNMISTAKABLE,)
_VALUE_BYTES: Final = 240
_TOKEN_BYTES: Final = 60
UNSENDABLE: Final = "unsendable"


class Correlation:
    """The correlation of one run; see the module.

    rules: what each says of it, by name; what stands under None holds where no rule took
    an exchange, and for rules that are not there. explained: takes what was
    replaced, None if nobody asked.
    """

    def __init__(
        self,
        *,
        rules: Mapping[str | None, Declared] | None = None,
        limits: Limits | None = None,
        explained: Explained | None = None,
    ) -> None:
        self.limits = Limits() if limits is None else limits
        self.awaited = Awaited()
        self.tally = Tally()
        self.explained = explained
        self._rules = {} if rules is None else rules
        self._views: dict[str, View] = {}
        self._planned = 0

    # -- before it is sent --------------------------------------------------------

    def planned(self, flight: Flight) -> int:
        """Take a planned flight, in captured order; return what is kept for it, in bytes."""
        self._planned += 1
        flight.number = self._planned
        shot = flight.shot
        flight.began_us = shot.started_us
        flight.ended_us = flight.began_us + shot.duration_us
        declared = self._declared(shot)
        if not declared.is_on:
            return 0
        view = self._view(shot)
        segments = segments_of(shot.path)
        values = self._values(shot, segments, KnownTo(view, flight), declared)
        opened: list[str] = []
        if values:
            view.gives = True
            flight.gives = values
            if flight.answer is None:
                flight.answer = Answer()
            self._give(flight, values, segments, view, opened)
        kept = 0
        if view.gives:
            carried = flight.carried = Carried(shot, declared.uses, segments)
            kept = _TOKEN_BYTES * len(carried.tokens) + len(carried.plain)
            if shot.method not in READS:
                self._carry(flight, carried, view, opened)
        if opened:
            flight.opened = opened
        return kept + _VALUE_BYTES * (len(values) + len(opened))

    def _values(
        self, shot: Shot, segments: list[str], known: KnownTo, declared: Declared
    ) -> list[Value]:
        """Return the values of production's answer that are worth learning."""
        recorded = shot.recorded
        if recorded is None or recorded.status >= REFUSED:
            return []
        self.tally.look(shot)
        # Only what is made anew can have a name again that is known already.
        values = values_of(
            recorded, shot.method, shot.path, segments, None if shot.method == "POST" else known
        )
        if declared.learns:
            values += declared_values(recorded, declared.learns)
        return values

    def _give(
        self,
        flight: Flight,
        values: Sequence[Value],
        segments: list[str],
        view: View,
        opened: list[str],
    ) -> None:
        """Tell others of what the answer to a flight gives."""
        is_read = flight.shot.method in READS
        for value in values:
            text = value.text
            # What the request itself carries is not given by its answer, but told again.
            is_echo = text in segments
            if is_read and is_echo:
                continue
            # And what is weak is so for one session first.
            kind = CARRIED if is_echo else WEAK if value.is_weak else GIVEN
            if view.coming.add(flight, text, value.keys, kind):
                opened.append(text)

    def _carry(self, flight: Flight, carried: Carried, view: View, opened: list[str]) -> None:
        """Tell others of what a write carries."""
        coming = view.coming
        texts = [(one.text, one.keys) for one in parts_of(flight.shot.path) if view.is_id(one.text)]
        if carried.plain:
            hits = view.coming.hits(carried.tokens) | view.memory.hits(carried.tokens)
            texts += [(one.text, one.keys) for one in carried.references(hits) if one.part == BODY]
        for text, keys in texts:
            if coming.add(flight, text, keys, CARRIED):
                opened.append(text)

    def _carried(self, flight: Flight) -> Carried:
        """Return what a flight carries, read anew where its body has come meanwhile."""
        carried = flight.carried
        if carried is None or carried.shot is not flight.shot:
            uses = self._declared(flight.shot).uses
            carried = flight.carried = Carried(flight.shot, uses)
        return carried

    def waits(self, flight: Flight, now_s: float) -> bool:
        """Tell whether a flight whose turn has come waits for another's answer."""
        shot = flight.shot
        view = self._view(shot)
        coming = view.coming
        if not coming.open or not self._declared(shot).is_on:
            return False
        before: list[Flight] = []
        carried = self._carried(flight)
        hits = coming.hits(carried.tokens)
        if hits:
            for one in carried.references(hits):
                before += coming.before(flight, one.text, one.keys)
        for mark in _marks_in(shot):
            before += coming.before(flight, mark, _ANY)
        if not before:
            return False
        self.awaited.enter(flight, before, now_s)
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
        memory = self._view(shot).memory
        after = shot
        if memory.pairs and self._declared(shot).is_on:
            carried = self._carried(flight)
            hits = memory.hits(carried.tokens)
            if hits:
                after = self._replaced(shot, carried, memory, hits)
        flight.carried = None
        if shot.sealed:
            filled = self._unsealed(after, memory)
            if filled is None:
                return SKIP_NO_CREDENTIAL
            after = filled
        if after is shot:
            return None
        flight.shot = after
        self.tally.shots += 1
        return None if _write_head_of(flight, shot) else UNSENDABLE

    def _replaced(self, shot: Shot, carried: Carried, memory: Memory, hits: set[str]) -> Shot:
        session = shot.session
        changes: list[Change] = []
        for reference in carried.references(hits):
            learned = memory.find(reference.text, reference.keys, session)
            if learned is None or learned.value == reference.text:
                continue
            written = reference.put(learned.value)
            if written is not None:
                changes.append(Change(reference, written))
                self.tally.replaced[reference.part] += 1
                if self.explained is not None:
                    part, name = reference.part, reference.name
                    self.explained.add(shot, part, name, reference.text, learned)
        return changed(shot, changes, carried.plain) if changes else shot

    def _unsealed(self, shot: Shot, memory: Memory) -> Shot | None:
        values: dict[str, str] = {}
        for mark in _marks_in(shot):
            learned = memory.find(mark, _ANY, shot.session)
            if learned is not None:
                values[mark] = learned.value
                self.tally.replaced["sealed"] += 1
                if self.explained is not None:
                    self.explained.add(shot, "sealed", "", mark, learned)
        return fill_marks(shot, values)

    # -- when it is answered --------------------------------------------------------

    def answered(self, flight: Flight) -> None:
        """Learn from a flight that was answered."""
        values, answer = flight.gives, flight.answer
        if values is None or answer is None or answer.head is None or flight.status >= REFUSED:
            return
        shot = flight.shot
        session, memory = shot.session, self._view(shot).memory
        body = Body(answer.head.headers(), answer.body)
        weak: list[tuple[Value, str]] = []
        has_taught = True
        is_made = shot.method == "POST"
        for value in values:
            if not (is_made or value.is_weak) and memory.knows(value.text, value.keys, None):
                continue
            text = body.at(value)
            if text is None:
                has_taught = False
                continue
            if value.text.startswith("{h1:") and is_sealed(text):
                has_taught = False
                continue
            if text == value.text and _carries(shot, text):
                # It was only told what it had been asked with.
                continue
            if value.is_weak:
                weak.append((value, text))
                continue
            self._learn(memory, value, text, session, shot.exchange_id)
        if weak:
            self._learn_from_lists(memory, weak, body, shot)
        elif has_taught:
            flight.gives = None

    def _learn_from_lists(
        self, memory: Memory, weak: Sequence[tuple[Value, str]], body: Body, shot: Shot
    ) -> None:
        """Learn from the items of lists: none whose values are surely another thing's."""
        session, exchange_id = shot.session, shot.exchange_id
        same: set[tuple[Step, ...]] = set()
        others: set[tuple[Step, ...]] = set()
        if shot.recorded is not None:
            produced = Body(shot.recorded.headers, shot.recorded.body or "")
            items = {_item(value.steps) for value, _ in weak}
            same, others = likenesses(items, produced.document, body.document)
        for value, text in weak:
            if memory.contradicts(value.text, value.keys, text):
                others.add(_item(value.steps))
        for value, text in weak:
            item = _item(value.steps)
            if item in same:
                value.is_weak = False
            if item not in others:
                self._learn(memory, value, text, session, exchange_id)

    def _learn(
        self, memory: Memory, value: Value, text: str, session: str, exchange_id: str
    ) -> None:
        place = "" if self.explained is None else places[value.part, value.steps]
        learned = Learned(value.keys, session, text, value.is_weak, exchange_id, place)
        if memory.learn(value.text, learned) and text != value.text:
            self.tally.learned += 1

    def ended(self, flight: Flight) -> None:
        """Forget what was kept for a flight that has ended."""
        opened = flight.opened
        if opened is not None:
            coming = self._view(flight.shot).coming
            for text in opened:
                coming.drop(flight, text)
            flight.opened = None
        if flight.gives is not None:
            # What others counted on may not be known after all: their answers are read again.
            self._view(flight.shot).told.clear()
            flight.gives = None
        flight.carried = None
        self.awaited.ended(flight)

    @property
    def open_values(self) -> int:
        """How many values are on their way, or carried by writes that are."""
        return sum(len(view.coming.open) for view in self._views.values())

    # -- for others ------------------------------------------------------------------

    def maps(self, shot: Shot, text: str, value: str) -> bool:
        """Tell whether production's value became this one where a shot was sent to."""
        return self._view(shot).memory.maps(text, value, shot.session)

    def to_json(self) -> dict[str, object]:
        """Return the counts, as ``--json`` shows them."""
        return self.tally.to_json(self.limits.expired)

    def _declared(self, shot: Shot) -> Declared:
        rules = self._rules
        return rules.get(shot.rule, NOT_DECLARED) if rules else NOT_DECLARED

    def _view(self, shot: Shot) -> View:
        name = f"{shot.target}\0{shot.copy}" if shot.copy else shot.target
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = View(self.limits)
        return view


def _write_head_of(flight: Flight, before: Shot) -> bool:
    """Write the head of a flight whose shot was another before; return whether that can be done."""
    shot = flight.shot
    if shot.headers is before.headers and shot.body_length == before.body_length:
        head = retargeted(flight.head, shot.method, before.path, shot.path)
        if head is not None:
            flight.head = head
            return True
    return write_head(flight)


def _carries(shot: Shot, text: str) -> bool:
    """Tell whether a request carries a value that its answer may only have repeated."""
    if text in segments_of(shot.path):
        return True
    return shot.method != "POST" and bool(shot.body) and text.encode() in shot.body


def _item(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return where the innermost item of a list stands that a value is in."""
    at = len(steps)
    while at and isinstance(steps[at - 1], str):
        at -= 1
    return steps[:at]


def _marks_in(shot: Shot) -> Sequence[str]:
    if not shot.sealed:
        return ()
    texts = [shot.path, *(value for _, value in shot.headers), shot.body.decode("latin-1")]
    return list(dict.fromkeys(found[0] for text in texts for found in PATTERN.finditer(text)))
