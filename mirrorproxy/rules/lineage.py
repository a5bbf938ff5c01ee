"""Lineage: which tokens are one user's, told by the recorded answers that gave them.

Pure. A login gives an access token and a refresh token, and that one gives the next
two: all of them are one session, which no fingerprint alone shows. Owns, for one run,
what is known of that, in bounded memory. Sees fingerprints, never secrets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from mirrorproxy.marks import PATTERN
from mirrorproxy.record import Credential, Exchange, Response
from mirrorproxy.rules.session import speaking

MAX_TOKENS: Final = 200_000
MAX_GIVEN: Final = 6
"""An answer that gives more secrets is a list of other people's."""

_MARK: Final = "{h1:"
_MAX_STEPS: Final = 64


class Lineage:
    """Takes exchanges in the order in which they were captured.

    limit: how many tokens are remembered; the longest unused are forgotten.
    """

    def __init__(self, limit: int = MAX_TOKENS) -> None:
        self._limit = limit
        # Each token's session, or another token of the same; a session's key stands for itself.
        self._parents: OrderedDict[str, str] = OrderedDict()

    def session(self, exchange: Exchange, own: str) -> str:
        """Return the key of an exchange's session. own: its key if nothing is known of it."""
        who = speaking(exchange)
        session = self._of_body(exchange) if who is None else self._of(who)
        response = exchange.response
        if response is not None and response.status < 400:
            given = given_by(response)
            if given:
                self._join(given, session)
        return own if session is None else session

    def _of(self, who: Credential) -> str:
        if who.subject is None:
            return self._find(who.fingerprint)
        if who.fingerprint in self._parents:
            # Its refresh token has no subject: what was given with it is this user's too.
            first = self._find(who.fingerprint)
            if first != self._find(who.subject):
                self._parents[first] = who.subject
        return self._find(who.subject)

    def _of_body(self, exchange: Exchange) -> str | None:
        """Return whose a token in a form or in JSON is, such as one that asks for the next."""
        for credential in exchange.credentials:
            if credential.place == "body" and credential.fingerprint in self._parents:
                return self._find(credential.fingerprint)
        return None

    def _join(self, given: Sequence[str], session: str | None) -> None:
        fresh = [one for one in given if one not in self._parents]
        if session is None:
            if not fresh:
                return
            session = fresh[0]
        for one in given:
            if one not in self._parents:
                self._parents[one] = session
            elif self._find(one) != session:
                self._parents[one] = one  # given to several: nobody's own
        while len(self._parents) > self._limit:
            self._parents.popitem(last=False)

    def _find(self, key: str) -> str:
        for _ in range(_MAX_STEPS):
            parent = self._parents.get(key)
            if parent is None:
                return key
            self._parents.move_to_end(key)
            if parent == key:
                return key
            key = parent
        return key


def given_by(response: Response) -> list[str]:
    """Return the fingerprints of secrets that an answer gives; none if they are too many."""
    texts = [value for _, value in response.headers if _MARK in value]
    body = response.body
    if body is not None and response.body_encoding != "base64" and _MARK in body:
        texts.append(body)
    found: dict[str, None] = {}
    for text in texts:
        for mark in PATTERN.finditer(text):
            found[mark[0][1:-1]] = None
            if len(found) > MAX_GIVEN:
                return []
    return list(found)
