"""Shots with recorded answers, and what becomes of them in a correlation, step by step."""

from __future__ import annotations

import json

from flights import SOURCE, shot

from mirrorproxy.http1.heads import parse_response
from mirrorproxy.record import HeaderList, Response
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.replay.flight import Flight
from mirrorproxy.shot import Shot


class _Landing:
    def landed(self, flight: Flight, failure: object) -> None:
        raise AssertionError("nothing lands here")


class Correlated:
    """A correlation whose flights go one after the other, ten milliseconds apart."""

    def __init__(self, correlation: Correlation | None = None) -> None:
        self.correlation = correlation or Correlation()
        self._at_s = 0.0

    def plan(
        self,
        method: str,
        path: str,
        answer: object = None,
        *,
        answer_headers: HeaderList | None = None,
        status: int = 200,
        **fields: object,
    ) -> Flight:
        """Plan a shot whose recorded answer is this: bytes as they are, all else as JSON."""
        self._at_s += 0.01
        response = _recorded(answer, status, answer_headers or [])
        one = _shot(self._at_s, method, path, recorded=response, **fields)
        flight = Flight(one, SOURCE, _Landing())
        self.correlation.planned(flight)
        return flight

    def depart(self, flight: Flight) -> Shot | str:
        """Let a flight leave; return what is sent, or why nothing is."""
        assert not self.correlation.waits(flight, 0.0)
        return self.correlation.departing(flight) or flight.shot

    def answer(
        self,
        flight: Flight,
        answer: object = None,
        *,
        headers: HeaderList | None = None,
        status: int = 200,
    ) -> None:
        """Let the target answer, and the flight end."""
        body, lines = _written(answer, headers or [])
        flight.status = status
        if flight.answer is not None:
            head = b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n" % (status, len(body))
            head += b"".join(f"{name}: {value}\r\n".encode() for name, value in lines)
            flight.answer.head = parse_response(head + b"\r\n")
            flight.answer.body = body
        self.correlation.answered(flight)
        self.correlation.ended(flight)

    def teach(
        self,
        method: str,
        path: str,
        produced: object,
        answered: object,
        *,
        produced_headers: HeaderList | None = None,
        answered_headers: HeaderList | None = None,
        **fields: object,
    ) -> None:
        """Let production have answered one thing and the target another."""
        flight = self.plan(method, path, produced, answer_headers=produced_headers, **fields)
        self.depart(flight)
        self.answer(flight, answered, headers=answered_headers)

    def sent(self, method: str, path: str, **fields: object) -> Shot:
        """Return what is sent for a shot without a recorded answer."""
        flight = self.plan(method, path, **fields)
        sent = self.depart(flight)
        assert isinstance(sent, Shot), sent
        self.correlation.ended(flight)
        return sent

    def path(self, path: str, **fields: object) -> str:
        """Return the path that is sent for a path."""
        return self.sent("GET", path, **fields).path

    def body(self, body: str | bytes, path: str = "/x", kind: str = "application/json") -> str:
        """Return the body that is sent for a body."""
        data = body if isinstance(body, bytes) else body.encode()
        sent = self.sent("POST", path, headers=[("Content-Type", kind)], body=data)
        assert sent.body_length == len(sent.body)
        return sent.body.decode("latin-1")

    def header(self, name: str, value: str, path: str = "/x") -> str | None:
        """Return the header that is sent for a header."""
        sent = self.sent("PUT", path, headers=[("Host", "staging"), (name, value)])
        return dict(sent.headers).get(name)


def _written(answer: object, headers: HeaderList) -> tuple[bytes, HeaderList]:
    if answer is None:
        return b"", headers
    if isinstance(answer, bytes):
        return answer, headers
    return json.dumps(answer).encode(), [("Content-Type", "application/json"), *headers]


def _recorded(answer: object, status: int, headers: HeaderList) -> Response:
    body, lines = _written(answer, headers)
    return Response(status, lines, body.decode() or None, "utf8" if body else None, len(body))


def _shot(at_s: float, method: str, path: str, **fields: object) -> Shot:
    body = fields.get("body", b"")
    assert isinstance(body, bytes)
    length = len(body) if body else None
    return shot(at_s, method=method, path=path, body_length=length, **fields)
