"""What answers of production's held that is sealed: a target's own answers may give it.

Pure. Owns, for one run, the marks in the recorded answers of what was planned so far, by
target. A request that holds one of them and nothing else sealed can be planned: what the
target gave in its place is known by the time that it is sent, if all goes well.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from mirrorproxy.marks import PATTERN, contains_mark
from mirrorproxy.record import Response
from mirrorproxy.shot import Shot

MAX_OFFERED: Final = 500_000

_MARK: Final = "{h1:"


class Offered:
    """The marks that targets may have an answer to; the oldest are forgotten."""

    def __init__(self, limit: int = MAX_OFFERED) -> None:
        self._limit = limit
        self._marks: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, shots: Sequence[Shot]) -> None:
        """Take the shots of one exchange: what its answer holds is offered to what comes later."""
        recorded = shots[0].recorded if shots else None
        if recorded is None or recorded.status >= 400:
            return
        for mark in marks_of(recorded):
            for shot in shots:
                self._marks[shot.target, mark] = None
                self._marks.move_to_end((shot.target, mark))
        while len(self._marks) > self._limit:
            self._marks.popitem(last=False)

    def holds(self, target: str, text: str | bytes) -> bool:
        """Tell whether all that is sealed in a text was offered; True if nothing is."""
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        if _MARK in text:
            for found in PATTERN.finditer(text):
                if (target, found[0]) not in self._marks:
                    return False
            text = PATTERN.sub("", text)
        return not contains_mark(text)


def marks_of(response: Response) -> set[str]:
    """Return the marks in a recorded answer."""
    found: set[str] = set()
    for _, value in response.headers:
        if _MARK in value:
            found.update(one[0] for one in PATTERN.finditer(value))
    body = response.body
    if body is not None and response.body_encoding != "base64" and _MARK in body:
        found.update(one[0] for one in PATTERN.finditer(body))
    return found
