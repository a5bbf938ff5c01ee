"""What was learned: production's values and what the targets gave in their place.

Pure. Owns the memory of correlation: bounded in number and in bytes, the longest unused
goes first. Values of targets may be secret: they are held here and put into shots, and
nowhere else.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final

from mirrorproxy.replay.affinity import Keys

MAX_LEARNED: Final = 200_000
MAX_BYTES: Final = 64 * 1024 * 1024
_ENTRY_BYTES: Final = 400
_MAX_RIVALS: Final = 16
"""How many meanings of one text are kept: an order's 42, a user's 42, that of another session."""

TOKEN = re.compile(r"[0-9A-Za-z_-]+")


class Learned:
    """One pair. keys: where it may be used. session: where it was learned.

    value: the target's. exchange_id, place: of the answer that it was learned from.
    """

    __slots__ = ("exchange_id", "keys", "place", "session", "value")

    def __init__(self, keys: Keys, session: str, value: str, exchange_id: str, place: str) -> None:
        self.keys = keys
        self.session = session
        self.value = value
        self.exchange_id = exchange_id
        self.place = place


def token_of(text: str) -> str:
    """Return the part of a value that is looked for at first, in whatever is sent."""
    found = TOKEN.search(text)
    return text if found is None else found[0]


class Store:
    """The memory of one run; see the module.

    A view is what a target, or one copy sent to it, has of its own. tokens: what a
    text that is to be sent must hold a part of, for anything here to be in it.
    """

    def __init__(self, max_learned: int = MAX_LEARNED, max_bytes: int = MAX_BYTES) -> None:
        self._max_learned = max_learned
        self._max_bytes = max_bytes
        self._pairs: OrderedDict[tuple[str, str], list[Learned]] = OrderedDict()
        self.tokens: dict[str, int] = {}
        self.count = 0
        self.bytes = 0
        self.expired = 0

    def learn(self, view: str, text: str, learned: Learned, *, is_weak: bool = False) -> bool:
        """Take a pair: the newest of a session wins; return whether it is news.

        is_weak: it only holds where nothing is known yet. What stayed as it was is only
        worth remembering where it takes the place of something else.
        """
        place = (view, text)
        known = self._pairs.get(place)
        if known is None:
            if learned.value == text:
                return False
            self._pairs[place] = [learned]
            token = token_of(text)
            self.tokens[token] = self.tokens.get(token, 0) + 1
            self._grow(text, learned, 1)
            return True
        self._pairs.move_to_end(place)
        for index, one in enumerate(known):
            if one.session == learned.session and _meets(one.keys, learned.keys):
                if one.value == learned.value or is_weak:
                    return False
                known[index] = known[0]
                known[0] = learned
                self.bytes += len(learned.value) - len(one.value)
                return True
        is_same = False
        for one in known:
            if _meets(one.keys, learned.keys):
                if is_weak or one.value == learned.value:
                    is_same = True
                break
        if is_same:
            return False
        known.insert(0, learned)
        if len(known) > _MAX_RIVALS:
            self._shrink(text, known.pop(), 1)
        self._grow(text, learned, 1)
        return True

    def find(self, view: str, text: str, keys: Keys, session: str) -> Learned | None:
        """Return what takes a text's place: the session's own first, then the newest; or None."""
        known = self._pairs.get((view, text))
        if known is None:
            return None
        for key in keys:
            found: Learned | None = None
            for one in known:
                if key in one.keys:
                    if one.session == session:
                        found = one
                        break
                    if found is None:
                        found = one
            if found is not None:
                self._pairs.move_to_end((view, text))
                return found
        return None

    def __contains__(self, text: object) -> bool:
        """Tell whether anything may be known of a text: of its first token."""
        return isinstance(text, str) and token_of(text) in self.tokens

    def maps(self, view: str, text: str, value: str) -> bool:
        """Tell whether a value of a target's is what a text of production's became there."""
        known = self._pairs.get((view, text))
        return known is not None and any(one.value == value for one in known)

    def _grow(self, text: str, learned: Learned, count: int) -> None:
        self.count += count
        self.bytes += _ENTRY_BYTES + len(text) + len(learned.value)
        while self._pairs and (self.count > self._max_learned or self.bytes > self._max_bytes):
            (_, oldest), gone = self._pairs.popitem(last=False)
            self.expired += len(gone)
            for one in gone:
                self._shrink(oldest, one, 1)
            self._forget(oldest)

    def _shrink(self, text: str, learned: Learned, count: int) -> None:
        self.count -= count
        self.bytes -= _ENTRY_BYTES + len(text) + len(learned.value)

    def _forget(self, text: str) -> None:
        token = token_of(text)
        left = self.tokens[token] - 1
        if left:
            self.tokens[token] = left
        else:
            del self.tokens[token]


def _meets(one: Keys, other: Keys) -> bool:
    return any(key in other for key in one)
