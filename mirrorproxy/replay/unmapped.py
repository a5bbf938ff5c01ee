"""Unmapped credentials: whose requests were not sent because nothing replaced theirs.

Owns the counting, by kind of credential and by user, in bounded memory. Sees fingerprints
and the claims that sealing keeps, never a secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mirrorproxy.record import Credential, Exchange
from mirrorproxy.rules.offers import claim_texts
from mirrorproxy.rules.plan import SKIP_NO_CREDENTIAL, Plan
from mirrorproxy.sources.events import CaptureObject

MAX_USERS = 50_000
MAX_ROWS = 10
MAX_SHOWN_USERS = 3
_CLAIMS = ("iss", "aud", "azp", "client_id")


class UnmappedRow(NamedTuple):
    """One kind of credential. users: the most frequent, subject or fingerprint, with counts."""

    place: str
    name: str
    scheme: str | None
    claims: tuple[tuple[str, str], ...]
    requests: int
    users: Sequence[tuple[str, int]]


_Kind = tuple[str, str, str | None, tuple[tuple[str, str], ...]]


class Unmapped:
    """Counts them. No more than MAX_USERS users are told apart: later ones count as a kind."""

    def __init__(self, max_users: int = MAX_USERS) -> None:
        self._max_users = max_users
        self._users: Counter[tuple[_Kind, str]] = Counter()
        self._kinds: Counter[_Kind] = Counter()

    def watching(
        self, planner: Callable[[Exchange, CaptureObject], Plan]
    ) -> Callable[[Exchange, CaptureObject], Plan]:
        """Return a planner that counts what it leaves out for want of a credential."""

        def planned(exchange: Exchange, source: CaptureObject) -> Plan:
            found = planner(exchange, source)
            if any(reason == SKIP_NO_CREDENTIAL for _, reason in found.left_out):
                self.add(exchange)
            return found

        return planned

    def add(self, exchange: Exchange) -> None:
        """Count an exchange's credentials; cookies are taken out, they keep nothing back."""
        for credential in exchange.credentials:
            if credential.place == "cookie":
                continue
            kind = _kind_of(credential)
            if kind not in self._kinds and len(self._kinds) >= self._max_users:
                continue
            self._kinds[kind] += 1
            user = (kind, credential.subject or credential.fingerprint)
            if user in self._users or len(self._users) < self._max_users:
                self._users[user] += 1

    def rows(self) -> list[UnmappedRow]:
        """Return the most frequent kinds, most frequent first."""
        return [
            UnmappedRow(*kind, count, self._most_of(kind))
            for kind, count in self._kinds.most_common(MAX_ROWS)
        ]

    def to_json(self) -> list[dict[str, object]]:
        """Return the rows as `--json` prints them."""
        return [
            {**row._asdict(), "claims": dict(row.claims), "users": dict(row.users)}
            for row in self.rows()
        ]

    def _most_of(self, kind: _Kind) -> list[tuple[str, int]]:
        users = Counter({who: n for (one, who), n in self._users.items() if one == kind})
        return users.most_common(MAX_SHOWN_USERS)


def _kind_of(credential: Credential) -> _Kind:
    claims = tuple(
        (name, " ".join(texts)[:100])
        for name in _CLAIMS
        if (texts := claim_texts(credential, name))
    )
    return credential.place, credential.name, credential.scheme, claims
