"""Sending shots whose credential is only known at that moment.

Owns the last step before the wire: the credential is put in as a shot leaves, so that
none leaves with one that has expired. A shot whose credential the target refuses is sent
once more with a fresh one. Decides nothing about when a shot is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from mirrorproxy.http1.client import Failure
from mirrorproxy.http1.messages import serialize_request
from mirrorproxy.replay.credentials import Credentials
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.tokens import NO_TOKEN
from mirrorproxy.rules.unseal import fill_late

_UNAUTHORIZED = 401

_GONE = Failure(NO_TOKEN, "the credential expired, and no other could be had")
_UNSENDABLE = Failure("unsendable", "the credential cannot stand where it would go")

Request = Callable[[Flight, bytes, bytes, float | None], None]
"""Puts a flight on its way with this head and body."""


class Landing(Protocol):
    """Hears when a flight has ended; see `replay.flight`."""

    def landed(self, flight: Flight, failure: Failure | None) -> None:
        """Take the flight's end."""


class _OnItsWay:
    """One shot between being sent and its outcome."""

    __slots__ = ("is_again", "landing", "timeout_s", "values")

    def __init__(self, timeout_s: float | None, landing: Landing) -> None:
        self.timeout_s = timeout_s
        self.values: list[str] = []
        self.is_again = False
        self.landing = landing


class LateSender:
    """Puts credentials in and sends; hears of answers before the engine does.

    credentials: None where no rule needs any. engine: hears how a flight ended.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        engine: Landing,
        ledger: Ledger,
        request: Request,
        *,
        clock_s: Callable[[], float],
    ) -> None:
        self._credentials = credentials
        self._engine = engine
        self._ledger = ledger
        self._request = request
        self._clock_s = clock_s
        self._on_its_way: dict[Flight, _OnItsWay] = {}
        self._is_closed = False

    def close(self) -> None:
        """Send nothing more."""
        self._is_closed = True
        self._on_its_way.clear()

    def prepare(self, flight: Flight, then: Callable[[Flight, bool], None]) -> None:
        """Tell whether all that the flight wants can be had, once it can."""
        credentials = self._credentials
        if credentials is None:
            then(flight, False)
            return
        wants = iter(flight.shot.wants)

        def next_one(is_had: bool) -> None:
            if self._is_closed:
                return
            want = next(wants, None) if is_had else None
            if want is None:
                then(flight, is_had)
            else:
                credentials.wait(want, next_one)

        next_one(True)

    def send(self, flight: Flight, timeout_s: float | None) -> None:
        """Send a flight with what it wants as it is now."""
        on_its_way = self._on_its_way[flight] = _OnItsWay(timeout_s, flight.landing)
        flight.landing = self
        if not self._put_in(flight, on_its_way):
            self._hold(flight)

    def landed(self, flight: Flight, failure: Failure | None) -> None:
        """Take the end of a flight; see `flight.Landing`."""
        on_its_way = self._on_its_way.get(flight)
        if (
            on_its_way is not None
            and failure is None
            and flight.status == _UNAUTHORIZED
            # What production refused too is no matter of credentials.
            and flight.shot.status != _UNAUTHORIZED
            and not on_its_way.is_again
            and self._is_worth_another(flight, on_its_way)
        ):
            on_its_way.is_again = True
            self._hold(flight)
            return
        self._end(flight, failure)

    def _is_worth_another(self, flight: Flight, on_its_way: _OnItsWay) -> bool:
        credentials = self._credentials
        assert credentials is not None  # noqa: S101 - it gave the values
        is_worth_it = False
        for want, value in zip(flight.shot.wants, on_its_way.values, strict=True):
            is_worth_it = credentials.rejected(want, value) or is_worth_it
        return is_worth_it

    def _hold(self, flight: Flight) -> None:
        """Send a flight when what it wants is there again."""
        self.prepare(flight, self._again)

    def _again(self, flight: Flight, is_had: bool) -> None:
        on_its_way = self._on_its_way.get(flight)
        if on_its_way is None:
            return
        if is_had and self._put_in(flight, on_its_way):
            return
        # Refused, and no other to be had: what the target answered stands.
        self._end(flight, None if on_its_way.is_again else _GONE)

    def _put_in(self, flight: Flight, on_its_way: _OnItsWay) -> bool:
        """Send a flight with its credentials, or return False if one is not there."""
        credentials, shot = self._credentials, flight.shot
        if credentials is None:
            return False
        values: dict[str, str] = {}
        for want in shot.wants:
            value = credentials.value(want)
            if value is None:
                return False
            values[want.placeholder] = value
        on_its_way.values = list(values.values())
        if on_its_way.is_again:
            self._ledger.resent += 1
            flight.status = 0
            if flight.answer is not None:
                flight.answer.clear()
        written = _written(flight, values)
        if written is None:
            self._end(flight, _UNSENDABLE)
            return True
        head, body = written
        if on_its_way.is_again:
            flight.sent_s = self._clock_s()
        self._request(flight, head, body, on_its_way.timeout_s)
        return True

    def _end(self, flight: Flight, failure: Failure | None) -> None:
        on_its_way = self._on_its_way.pop(flight, None)
        landing = self._engine if on_its_way is None else on_its_way.landing
        landing.landed(flight, failure)


def _written(flight: Flight, values: Mapping[str, str]) -> tuple[bytes, bytes] | None:
    """Return a flight's head and body with values put in, None if that cannot be."""
    shot, head = flight.shot, flight.head
    if shot.is_late_in_head:
        for placeholder, value in values.items():
            head = head.replace(placeholder.encode(), value.encode("latin-1"))
        return head, shot.body
    filled = fill_late(shot, values)
    if filled is None:
        return None
    try:
        head = serialize_request(filled.method, filled.path, filled.headers, filled.body_length)
    except ValueError:
        return None
    return head, filled.body
