"""What was learned: production's values and what the targets gave in their place.

Pure. Owns the memory of correlation: bounded in number and in bytes, the longest unused
goes first. Values of targets may be secret: they are held here and put into shots, and
nowhere else.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final

from mirrorproxy.correlation.affinity import Keys

MAX_LEARNED: Final = 200_000
MAX_BYTES: Final = 128 * 1024 * 1024
_ENTRY_BYTES: Final = 600
_EVERYBODY: Final = "*"
"""The name of no session: what the lists of all of them say."""

TOKEN = re.compile(r"[0-9A-Za-z_-]+")


class Learned:
    """One pair. keys: where it may be used. session: where it was learned.

    value: the target's. is_weak: it may be a mistake, see `Memory.learn`. exchange_id,
    place: of the answer that it was learned from.
    """

    __slots__ = ("exchange_id", "is_weak", "keys", "place", "session", "value")

    def __init__(
        self,
        keys: Keys,
        session: str,
        value: str,
        is_weak: bool = False,
        exchange_id: str = "",
        place: str = "",
    ) -> None:
        self.keys = keys
        self.session = session
        self.value = value
        self.is_weak = is_weak
        self.exchange_id = exchange_id
        self.place = place


def token_of(text: str) -> str:
    """Return the part of a value that is looked for at first, in whatever is sent."""
    if text.isalnum() and text.isascii():
        return text
    found = TOKEN.search(text)
    return text if found is None else found[0]


class Limits:
    """How much all memories of one run hold together, and how much they do."""

    def __init__(self, max_learned: int = MAX_LEARNED, max_bytes: int = MAX_BYTES) -> None:
        self.max_learned = max_learned
        self.max_bytes = max_bytes
        self.count = 0
        self.bytes = 0
        self.expired = 0


class Memory:
    """What one target, or one copy that it is sent, gave in the place of production's values.

    pairs: by production's value, under each key the newest; behind a session's name and a
    NUL what differs there, or did. fragments: the first tokens of those values that are
    more than one token, and how many each begins. What is to be sent holds none of these
    values if it holds no token that is in either.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.pairs: OrderedDict[str, list[Learned]] = OrderedDict()
        self.fragments: dict[str, int] = {}
        self._images: dict[tuple[str, str], str] = {}

    def hits(self, tokens: list[str]) -> set[str]:
        """Return those of the tokens that values here begin with."""
        found: set[str] = self.pairs.keys() & tokens
        if self.fragments:
            found |= self.fragments.keys() & tokens
        return found

    def learn(self, text: str, learned: Learned) -> bool:
        """Take a pair, the newest wins; return whether it is news.

        A weak one holds for its session first, for others only while all say the same, and
        where nothing better is known: not for a value that is known, nor with one that came
        in the place of another value.
        What stayed as it was is remembered too, so that nothing weak takes its place.
        """
        if learned.is_weak:
            return self._learn_weakly(text, learned)
        known = self.pairs.get(text)
        if known is None:
            self._begin(text, [learned])
        else:
            rival = _meeting(known, learned.keys)
            if rival is None:
                known.insert(0, learned)
            elif rival.session == learned.session:
                if rival.value == learned.value:
                    return False
                known.remove(rival)
                self._shrink(text, rival)
                known.insert(0, learned)
                self._keep_own(text, learned, is_new=False)
            else:
                # From here on each session that gave it a meaning keeps its own.
                self._keep_own(text, rival, is_new=False)
                is_news = self._keep_own(text, learned, is_new=True)
                if rival.value == learned.value:
                    return is_news
                known.remove(rival)
                self._shrink(text, rival)
                known.insert(0, learned)
            self.pairs.move_to_end(text)
        self._images[learned.keys[0], learned.value] = text
        self._grow(text, learned)
        return True

    def _learn_weakly(self, text: str, learned: Learned) -> bool:
        known = self.pairs.get(text)
        if known is not None and _meeting(known, learned.keys) is not None:
            return False
        if self._images.get((learned.keys[0], learned.value), text) != text:
            return False
        if known is None:
            if learned.value == text:
                return False
            self._begin(text, [])
        self._share(text, learned)
        return self._keep_own(text, learned, is_new=True)

    def _share(self, text: str, learned: Learned) -> None:
        """Keep what lists of all sessions say alike; once two differ, none is believed."""
        place = f"{_EVERYBODY}\0{text}"
        shared = self.pairs.get(place)
        if shared is None:
            shared = self.pairs[place] = []
        rival = _meeting(shared, learned.keys)
        if rival is None:
            one = Learned(learned.keys, learned.session, learned.value, True)
            one.exchange_id, one.place = learned.exchange_id, learned.place
            shared.append(one)
            self._grow(text, one)
        elif rival.value != learned.value:
            self._limits.bytes -= len(rival.value)
            rival.value = ""

    def _begin(self, text: str, known: list[Learned]) -> None:
        self.pairs[text] = known
        token = token_of(text)
        if token != text:
            self.fragments[token] = self.fragments.get(token, 0) + 1

    def _keep_own(self, text: str, learned: Learned, *, is_new: bool) -> bool:
        """Keep what a session learned; is_new: whether it is kept if it was not before."""
        place = f"{learned.session}\0{text}"
        own = self.pairs.get(place)
        if own is None:
            if not is_new and learned.session == "":
                return False
            own = self.pairs[place] = []
        rival = _meeting(own, learned.keys)
        if rival is not None:
            if rival.value == learned.value and rival.is_weak <= learned.is_weak:
                return False
            own.remove(rival)
            self._shrink(text, rival)
        own.insert(0, learned)
        self._grow(text, learned)
        return True

    def knows(self, text: str, keys: Keys, session: str | None) -> bool:
        """Tell whether it is surely known what takes a text's place under one of these keys.

        session: for whom something weak is enough; None for nobody.
        """
        known = self.pairs.get(text)
        if known is None:
            return False
        if _meeting(known, keys) is not None:
            return True
        own = None if session is None else self.pairs.get(f"{session}\0{text}")
        return own is not None and _meeting(own, keys) is not None

    def find(self, text: str, keys: Keys, session: str) -> Learned | None:
        """Return what takes a text's place, None if nothing is known.

        The session's own comes first, then the newest of all, then what its lists say, then
        what everybody's lists say.
        """
        known = self.pairs.get(text)
        if known is None:
            return None
        own = self.pairs.get(f"{session}\0{text}")
        for key in keys:
            weak: Learned | None = None
            if own is not None:
                for one in own:
                    if key in one.keys:
                        if not one.is_weak:
                            return one
                        weak = one
            for one in known:
                if key in one.keys:
                    self.pairs.move_to_end(text)
                    return one
            if weak is not None:
                return weak
        shared = self.pairs.get(f"{_EVERYBODY}\0{text}")
        found = None if shared is None else _meeting(shared, keys)
        return found if found is not None and found.value else None

    def maps(self, text: str, value: str, session: str) -> bool:
        """Tell whether a value of the target's is what a text of production's became there."""
        known = self.pairs.get(text)
        if known is None:
            return False
        own = self.pairs.get(f"{session}\0{text}", known)
        return any(one.value == value for one in (*known, *own))

    def contradicts(self, text: str, keys: Keys, value: str) -> bool:
        """Tell whether it is surely known that something else takes a text's place."""
        known = self.pairs.get(text)
        if known is None:
            return False
        found = _meeting(known, keys)
        return found is not None and found.value != value

    def _grow(self, text: str, learned: Learned) -> None:
        limits = self._limits
        limits.count += 1
        limits.bytes += _ENTRY_BYTES + len(text) + len(learned.value)
        while self.pairs and (limits.count > limits.max_learned or limits.bytes > limits.max_bytes):
            oldest, gone = self.pairs.popitem(last=False)
            limits.expired += len(gone)
            text = oldest.rpartition("\0")[2]
            for one in gone:
                self._shrink(text, one)
            if text is oldest or text == oldest:
                token = token_of(text)
                if token != text:
                    self.fragments[token] -= 1
                    if not self.fragments[token]:
                        del self.fragments[token]

    def _shrink(self, text: str, learned: Learned) -> None:
        self._limits.count -= 1
        self._limits.bytes -= _ENTRY_BYTES + len(text) + len(learned.value)
        image = (learned.keys[0], learned.value)
        if self._images.get(image) == text:
            del self._images[image]


def _meeting(known: list[Learned], keys: Keys) -> Learned | None:
    """Return the first that has one of these keys."""
    for one in known:
        if one.keys is keys:
            return one
        for key in keys:
            if key in one.keys:
                return one
    return None
