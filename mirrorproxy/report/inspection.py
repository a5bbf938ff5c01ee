"""Inspection: what a capture holds, added up exchange by exchange.

Values in, values out; memory does not grow with the capture: paths beyond
`MAX_ROWS` and fingerprints beyond `MAX_FINGERPRINTS` are counted together.
"""

from __future__ import annotations

import msgspec

from mirrorproxy.record import Exchange, Request, Response
from mirrorproxy.report.shapes import path_shape

MAX_ROWS = 2000
MAX_FINGERPRINTS = 10_000
MAX_DAMAGES = 100
OTHER_PATHS = "(other paths)"


class Row(msgspec.Struct):
    """Requests of one service, method and path shape.

    status: how often by status, or by failure kind where production gave no
    answer. Times are production's, in microseconds.
    """

    service: str
    method: str
    path: str
    exchanges: int = 0
    status: dict[str, int] = {}
    request_bytes: int = 0
    response_bytes: int = 0
    duration_us: int = 0
    max_duration_us: int = 0


class SealedName(msgspec.Struct):
    """One kind of secret: where it stood, under which name, how many different ones.

    distinct counts at most `MAX_FINGERPRINTS`. place: header, cookie, query or body.
    """

    place: str
    name: str
    scheme: str | None
    exchanges: int = 0
    distinct: int = 0
    subjects: int = 0


class DamageFound(msgspec.Struct):
    """A part of a file that could not be read. lines: how many were lost, if known."""

    file: str
    offset: int | None
    reason: str
    lines: int | None = None


class Summary(msgspec.Struct):
    """Everything that `Inspection` found. Times are microseconds since 1970."""

    exchanges: int = 0
    duplicates: int = 0
    first_us: int | None = None
    last_us: int | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    largest_request_bytes: int = 0
    recorded_responses: int = 0
    truncated: int = 0
    omitted: dict[str, int] = {}
    body_objects: int = 0
    services: dict[str, int] = {}
    methods: dict[str, int] = {}
    status: dict[str, int] = {}
    failures: dict[str, int] = {}
    nodes: dict[str, int] = {}
    rows: list[Row] = []
    sealed: list[SealedName] = []
    damages: int = 0
    damaged_lines: int = 0
    first_damages: list[DamageFound] = []


class Inspection:
    """Adds exchanges up. `summary` may be asked for at any time."""

    def __init__(self) -> None:
        self._total = Summary()
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._sealed: dict[tuple[str, str, str | None], SealedName] = {}
        self._fingerprints: set[tuple[str, str, str]] = set()

    def add(self, exchange: Exchange) -> None:
        """Count one exchange."""
        total, response = self._total, exchange.response
        total.exchanges += 1
        ended_us = exchange.started_us + exchange.duration_us
        total.first_us = min(exchange.started_us, total.first_us or exchange.started_us)
        total.last_us = max(ended_us, total.last_us or 0)
        outcome = str(response.status) if response else exchange.failure or "not seen"
        _count(total.services, exchange.service)
        _count(total.methods, exchange.request.method)
        _count(total.status if response else total.failures, outcome)
        _count(total.nodes, exchange.node)
        sent, received = self._message(exchange.request), 0
        total.request_bytes += sent
        total.largest_request_bytes = max(total.largest_request_bytes, sent)
        if response:
            received = self._message(response)
            total.response_bytes += received
            total.recorded_responses += response.body is not None or response.body_ref is not None
        row = self._row(exchange)
        row.exchanges += 1
        _count(row.status, outcome)
        row.request_bytes += sent
        row.response_bytes += received
        row.duration_us += exchange.duration_us
        row.max_duration_us = max(row.max_duration_us, exchange.duration_us)
        self._credentials(exchange)

    def add_duplicate(self) -> None:
        """Count an exchange that was there before; it is not added again."""
        self._total.duplicates += 1

    def add_damage(
        self,
        file: str,
        offset: int | None,
        reason: str,
        lines: int | None,
        *,
        is_shown: bool = True,
    ) -> None:
        """Count a part of a file that could not be read; the first `MAX_DAMAGES` are kept.

        is_shown: whether it is kept at all, rather than only counted.
        """
        self._total.damages += 1
        self._total.damaged_lines += lines or 0
        if is_shown and len(self._total.first_damages) < MAX_DAMAGES:
            self._total.first_damages.append(DamageFound(file, offset, reason, lines))

    def summary(self) -> Summary:
        """Return what was found so far; the most frequent stand first."""
        total = self._total
        total.rows = sorted(
            self._rows.values(), key=lambda row: (-row.exchanges, row.service, row.path, row.method)
        )
        total.sealed = sorted(
            self._sealed.values(), key=lambda name: (-name.exchanges, name.place, name.name)
        )
        return total

    def _message(self, message: Request | Response) -> int:
        self._total.truncated += message.truncated
        self._total.body_objects += message.body_ref is not None
        if message.omitted is not None:
            _count(self._total.omitted, message.omitted)
        return message.body_bytes or 0

    def _row(self, exchange: Exchange) -> Row:
        method, path = exchange.request.method, path_shape(exchange.request.target)
        key = (exchange.service, method, path)
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= MAX_ROWS:
                key = ("", "", OTHER_PATHS)
            row = self._rows.setdefault(key, Row(*key))
        return row

    def _credentials(self, exchange: Exchange) -> None:
        counted = set()
        for credential in exchange.credentials:
            key = (credential.place, credential.name.lower(), credential.scheme)
            found = self._sealed.get(key)
            if found is None:
                if len(self._sealed) >= MAX_ROWS:
                    continue
                found = self._sealed[key] = SealedName(
                    credential.place, credential.name, credential.scheme
                )
            if key not in counted:
                counted.add(key)
                found.exchanges += 1
            found.distinct += self._is_new(found, "secret", credential.fingerprint)
            if credential.subject is not None:
                found.subjects += self._is_new(found, "subject", credential.subject)

    def _is_new(self, found: SealedName, kind: str, fingerprint: str) -> bool:
        key = (f"{found.place} {found.name.lower()} {found.scheme}", kind, fingerprint)
        if key in self._fingerprints or len(self._fingerprints) >= MAX_FINGERPRINTS:
            return False
        self._fingerprints.add(key)
        return True


def _count(counts: dict[str, int], key: str) -> None:
    # A hostile capture could name a million services: beyond the bound they are one.
    if key not in counts and len(counts) >= MAX_ROWS:
        key = "(others)"
    counts[key] = counts.get(key, 0) + 1
