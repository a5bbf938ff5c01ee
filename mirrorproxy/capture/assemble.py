"""Assembling a record: the tap's facts, sealed, become an `Exchange` and its line.

Owns the order of things: seal first, then build, then measure the line. Writes
nothing but a body object that the record turns out to need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mirrorproxy import keys
from mirrorproxy.capture.facts import Facts, recorded_headers
from mirrorproxy.capture.lines import LineReader
from mirrorproxy.capture.ports import BodyFile, Sealer
from mirrorproxy.capture.tap import ExchangeTap
from mirrorproxy.codec import MAX_LINE_BYTES, body_of, encode_body, encode_line
from mirrorproxy.headers import first
from mirrorproxy.http1.heads import ResponseHead
from mirrorproxy.record import VERSION, Credential, Exchange, Request, Response


class RecordTooLarge(Exception):
    """The heads alone pass what a line may hold."""


class Committable(NamedTuple):
    """A record's line, and how to make the body object that it names appear, if any."""

    exchange: Exchange
    line: bytes
    commit: Callable[[], None] | None


def assemble(
    tap: ExchangeTap,
    facts: Facts,
    record_id: str,
    *,
    sealer: Sealer,
    lines: LineReader,
    open_body: Callable[[str], BodyFile],
    node: str,
    duration_us: int,
    failure: str | None,
) -> Committable:
    """Return the record of an exchange, ready to be appended once its body is committed.

    open_body: begins the body object of a reference, for a body that does not
    fit into the line after all.
    Raises RecordTooLarge, and what sealing, open_body and writing raise.
    """
    target, found = sealer.target(tap.head.target.decode("latin-1"))
    credentials = [*found, *facts.credentials]
    exchange = Exchange(
        v=VERSION,
        id=record_id,
        service=tap.service,
        via="inline" if tap.upstream else "tap",
        node=node,
        started_us=tap.started_us,
        duration_us=duration_us,
        client=facts.client,
        scheme=facts.scheme,
        upstream=tap.upstream,
        request=_request(tap, facts, record_id, sealer, target, credentials),
        response=_response(tap, tap.response, sealer, lines) if tap.response is not None else None,
        failure=failure,
        observed=tap.upstream != "",
        credentials=credentials,
    )
    line = encode_line(exchange)
    spill = tap.body.spill if tap.body is not None else None
    commit = spill.commit if spill is not None else None
    if len(line) > MAX_LINE_BYTES:
        return _shorten(exchange, open_body, commit)
    return Committable(exchange, line, commit)


def _request(
    tap: ExchangeTap,
    facts: Facts,
    record_id: str,
    sealer: Sealer,
    target: str,
    credentials: list[Credential],
) -> Request:
    """Return the sealed request; adds to credentials what its body and trailers held."""
    request = Request(
        tap.head.method.decode("latin-1"),
        target,
        "1.1" if tap.head.version else "1.0",
        facts.headers,
        body_bytes=0,
        truncated=not tap.request_complete,
    )
    if tap.whole is not None:
        request.body_bytes = len(tap.whole)
        _seal_body(request, tap.whole, facts, sealer, credentials)
    elif (body := tap.body) is not None:
        body.finish()
        request.body_bytes = body.length
        request.omitted = body.omitted
        if body.is_cut:
            request.truncated = True
        if body.spill is not None:
            request.body_ref = keys.body_ref(tap.started_us, record_id)
            credentials += body.spill.credentials
        elif body.omitted is None:
            _seal_body(request, body.kept(), facts, sealer, credentials)
    if tap.request_trailers:
        trailers = sealer.request("/", tap.request_trailers)
        request.trailers = trailers.headers
        credentials += trailers.credentials
    return request


def _seal_body(
    request: Request, data: bytes, facts: Facts, sealer: Sealer, credentials: list[Credential]
) -> None:
    sealed = sealer.body(data, facts.content_type, facts.content_encoding)
    request.body, request.body_encoding = encode_body(sealed.data or b"")
    request.omitted = sealed.omitted
    credentials += sealed.credentials


def _response(tap: ExchangeTap, head: ResponseHead, sealer: Sealer, lines: LineReader) -> Response:
    headers = recorded_headers(lines.read(head.lines), head.connection_options())
    response = Response(head.status, headers, body_bytes=tap.response_length)
    kept = tap.response_body.kept() if tap.response_body is not None else None
    if kept:
        received = head.headers()
        sealed = sealer.body(
            kept, first(received, "content-type"), first(received, "content-encoding")
        )
        response.body, response.body_encoding = encode_body(sealed.data or b"")
        response.omitted = sealed.omitted
    if tap.response_trailers:
        response.trailers = sealer.response(tap.response_trailers)
    return response


def _shorten(
    exchange: Exchange,
    open_body: Callable[[str], BodyFile],
    commit: Callable[[], None] | None,
) -> Committable:
    """Return a record whose line fits, by moving its body into an object of its own.

    commit: of the object that the body is in already, if it is.
    """
    request, response = exchange.request, exchange.response
    data = body_of(request)
    if data:
        request.body = request.body_encoding = None
        request.body_ref = keys.body_ref(exchange.started_us, exchange.id)
    line = encode_line(exchange)
    if len(line) > MAX_LINE_BYTES and response is not None and response.body is not None:
        response.body = response.body_encoding = None
        line = encode_line(exchange)
    if len(line) > MAX_LINE_BYTES:
        raise RecordTooLarge
    if not data or request.body_ref is None:
        return Committable(exchange, line, commit)
    file = open_body(request.body_ref)
    try:
        file.write(data)
    except BaseException:
        file.discard()
        raise
    return Committable(exchange, line, file.commit)
